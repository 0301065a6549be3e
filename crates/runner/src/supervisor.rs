//! The task that keeps a pipeline's stages: it starts them, notices their ends, and carries out
//! changes.
//!
//! ```text
//! Control::apply ─▶ Changes ─▶ Swap: a chain is made, and put into the leg's slot
//!                          ├─▶ Restart: the leg ends after its write; then the new one starts
//!                          └─▶ Start, Stop
//! ```
//!
//! A stage runs as one leg or several: the copies of a sink, the streams of a source.
//!
//! **Invariants:** of a stage's part at most one leg runs. Everything that can fail is made before
//! anything that runs is touched. A changed stage of which a part fails before that part's first
//! batch goes back to what ran before, all of it: what the plan says is what all parts run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use gristmill_flow::{CancellationToken, LegError, LegStats, Status};
use gristmill_smartengine::{Chain, EngineError};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, JoinSet};

use crate::changes::{Change, ChangeKind, Changes};
use crate::legs::Legs;
use crate::plan::{Part, Plan, Stage};
use crate::swap::Slot;
use crate::{Backend, PipelineError, stages, thread};

/// How long brokers may take to make a changed plan's topics.
const PREPARE_MAX: Duration = Duration::from_secs(15);

/// Why a change was not carried out: everything runs on as it was.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// `meta.name` is another.
    #[error(
        "`meta.name` is now `{new}`, it was `{old}`: positions go by the pipeline's name. Stop \
         `gristmill up` and start it again if it is to be another pipeline"
    )]
    Renamed {
        /// What runs.
        old: String,
        /// What was asked for.
        new: String,
    },
    /// Its topics cannot be made.
    #[error("{0}")]
    Topics(String),
    /// A stage's transforms do not start.
    #[error("{stage}: transforms: {error}")]
    Transforms {
        /// `meta.name`.
        stage: String,
        /// What happened.
        #[source]
        error: EngineError,
    },
    /// The pipeline is ending.
    #[error("the pipeline is ending")]
    Ending,
}

/// A changed plan, and where to say what came of it.
pub(crate) struct Order {
    pub(crate) plan: Plan,
    /// Another cluster, if it is another.
    pub(crate) backend: Option<Backend>,
    pub(crate) reply: oneshot::Sender<Result<Changes, ApplyError>>,
}

/// The two halves of a pipeline that stop one after the other.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop {
    pub(crate) sources: CancellationToken,
    pub(crate) sinks: CancellationToken,
}

impl Stop {
    pub(crate) fn now(&self) {
        self.sources.cancel();
        self.sinks.cancel();
    }

    fn of(&self, stage: &Stage) -> &CancellationToken {
        match stage.is_source() {
            true => &self.sources,
            false => &self.sinks,
        }
    }
}

pub(crate) struct Supervisor {
    plan: Plan,
    backend: Backend,
    /// Counts the backends: tells this one from those before it.
    era: u64,
    legs: Legs,
    stop: Stop,
    running: BTreeMap<Id, Running>,
    tasks: JoinSet<(Id, Result<(), LegError>)>,
}

/// A stage's name, and its part's.
type Id = (String, String);

/// What the parts of a stage run, and on what.
struct Version {
    stage: Stage,
    backend: Backend,
    era: u64,
}

/// A leg at work.
struct Running {
    version: Arc<Version>,
    stats: Arc<LegStats>,
    stop: CancellationToken,
    slot: Slot,
    /// What comes when it has ended, if that was ordered.
    next: Option<Next>,
    /// What its stage goes back to if it fails before its first batch.
    before: Option<Arc<Version>>,
}

enum Next {
    Start {
        version: Arc<Version>,
        before: Option<Arc<Version>>,
    },
    Nothing,
}

impl Running {
    /// What this part is to run; `None` if it is to go.
    fn wanted(&self) -> Option<&Version> {
        match &self.next {
            None => Some(&self.version),
            Some(Next::Start { version, .. }) => Some(version),
            Some(Next::Nothing) => None,
        }
    }
}

impl Supervisor {
    pub(crate) fn new(plan: Plan, backend: Backend, legs: Legs, stop: Stop) -> Self {
        Self {
            plan,
            backend,
            era: 0,
            legs,
            stop,
            running: BTreeMap::new(),
            tasks: JoinSet::new(),
        }
    }

    /// Until every stage has ended: by itself, because `stop` said so, or because one failed.
    pub(crate) async fn run(
        mut self,
        mut orders: mpsc::Receiver<Order>,
    ) -> Result<(), PipelineError> {
        let legs = self.legs.all();
        let prepared = tokio::select! {
            biased;
            () = self.stop.sources.cancelled() => return Ok(()),
            prepared = stages::prepare(&self.plan, &self.backend, &legs) => prepared,
        };
        prepared.map_err(PipelineError::Topics)?;
        for stage in self.plan.stages.clone() {
            let version = self.version(&stage);
            for part in stage.parts() {
                self.start(version.clone(), part, None);
            }
        }
        let mut first = Ok(());
        loop {
            tokio::select! {
                joined = self.tasks.join_next() => match joined {
                    None => return first,
                    Some(joined) => {
                        if let Err(error) = self.ended(joined) {
                            if first.is_ok() {
                                first = Err(error);
                            }
                            self.stop.now();
                        }
                    }
                },
                Some(order) = orders.recv() => {
                    let result = match self.stop.sources.is_cancelled() {
                        true => Err(ApplyError::Ending),
                        false => self.apply(order.plan, order.backend).await,
                    };
                    // Whoever asked may have gone.
                    let _ = order.reply.send(result);
                }
            }
        }
    }

    /// `stage` on the present backend.
    fn version(&self, stage: &Stage) -> Arc<Version> {
        Arc::new(Version {
            stage: stage.clone(),
            backend: self.backend.clone(),
            era: self.era,
        })
    }

    fn start(&mut self, version: Arc<Version>, part: Part, before: Option<Arc<Version>>) {
        let (stage, backend) = (version.stage.clone(), version.backend.clone());
        let stats = self.legs.enter(&stage).stats.copy(&part.name);
        let (id, stop, slot) = (
            (stage.name.clone(), part.name.clone()),
            self.stop.of(&stage).child_token(),
            Slot::default(),
        );
        let running = Running {
            version,
            stats: stats.clone(),
            stop: stop.clone(),
            slot: slot.clone(),
            next: None,
            before,
        };
        self.running.insert(id.clone(), running);
        let pipeline = self.plan.name.clone();
        let name = stage.name.clone();
        self.tasks.spawn(async move {
            let leg = move || async move {
                stages::run(&pipeline, (stage, part), backend, stats, stop, slot).await
            };
            (id, thread::run(&name, leg).await)
        });
    }

    /// A leg has ended.
    fn ended(
        &mut self,
        joined: Result<(Id, Result<(), LegError>), JoinError>,
    ) -> Result<(), PipelineError> {
        let (id, result) = joined.map_err(|error| PipelineError::Panicked(error.to_string()))?;
        let Some(running) = self.running.remove(&id) else {
            return Ok(());
        };
        let (name, part) = id;
        let stopping = self.stop.of(&running.version.stage).is_cancelled();
        match (running.next, result) {
            (Some(_), Err(error @ LegError::Fenced(_))) => {
                Err(PipelineError::Stage { stage: name, error })
            }
            (Some(Next::Start { version, before }), result) if !stopping => {
                if let Err(error) = result {
                    tracing::warn!(connector = name, %error, "ended with an error, starts anew");
                }
                if let Some(part) = part_of(&version.stage, &part) {
                    self.start(version, part, before);
                }
                Ok(())
            }
            (Some(_), _) => {
                // One copy fewer: what is left of it must not look like a part of the stage.
                if let Some(stage) = self.plan.stages.iter().find(|stage| stage.name == name)
                    && part_of(stage, &part).is_none()
                    && let Some(leg) = self.legs.get(&name)
                {
                    leg.stats.forget(&part);
                }
                Ok(())
            }
            (None, Ok(())) => Ok(()),
            (None, Err(error)) => match running.before {
                Some(before) if !stopping && running.stats.batches_here() == 0 => {
                    tracing::error!(connector = name, %error, "fails as changed, goes on as it was");
                    self.go_back(&running.version, before, &part);
                    Ok(())
                }
                _ => Err(PipelineError::Stage { stage: name, error }),
            },
        }
    }

    /// `part` has failed as changed: its stage goes back to `before`. All of it, also parts that do
    /// work: a later change is told by what the plan says, and finds them only if they run that.
    fn go_back(&mut self, failed: &Version, before: Arc<Version>, part: &str) {
        let name = before.stage.name.clone();
        if let Some(planned) = self.plan.stages.iter_mut().find(|s| s.name == name) {
            *planned = before.stage.clone();
        }
        let has_groups = matches!(before.backend, Backend::Kafka(_));
        let kind = match ChangeKind::between(&failed.stage, &before.stage) {
            // Copies that ran on when others came run on when these go.
            Some(kind @ ChangeKind::Scale { .. }) if has_groups && failed.era == before.era => kind,
            _ => ChangeKind::Restart(Vec::new()),
        };
        if part_of(&before.stage, part).is_none()
            && let Some(leg) = self.legs.get(&name)
        {
            // It was new with the change.
            leg.stats.forget(part);
        }
        let change = Change { stage: name, kind };
        self.carry_out(&change, Some(before), &mut BTreeMap::new(), false);
    }

    /// Go over to `plan`.
    async fn apply(&mut self, plan: Plan, backend: Option<Backend>) -> Result<Changes, ApplyError> {
        if plan.name != self.plan.name {
            return Err(ApplyError::Renamed {
                old: self.plan.name.clone(),
                new: plan.name,
            });
        }
        let mut changes = match &self.backend {
            Backend::Local(_) => {
                let mut changes = Changes::between(&self.plan, &plan);
                changes.restart_scaled();
                changes
            }
            Backend::Kafka(_) => Changes::on_a_cluster(&self.plan, &plan),
            // Copies share a topic's partitions by count, as they do embedded.
            #[cfg(feature = "fluvio")]
            Backend::Fluvio(_) => {
                let mut changes = Changes::on_a_cluster(&self.plan, &plan);
                changes.restart_scaled();
                changes
            }
        };
        let elsewhere = self.elsewhere();
        changes.restart_on_another(&self.plan, &plan, |stage| {
            backend.is_some() || elsewhere.contains(stage)
        });
        let touches = |change: &Change| change.kind != ChangeKind::Swap;
        if changes.stages.iter().any(touches) {
            let target = backend.as_ref().unwrap_or(&self.backend);
            let prepared = stages::prepare(&plan, target, &[]);
            match tokio::time::timeout(PREPARE_MAX, prepared).await {
                Ok(prepared) => prepared.map_err(ApplyError::Topics)?,
                Err(_) => {
                    let text = "the brokers do not answer: its topics cannot be made";
                    return Err(ApplyError::Topics(text.to_owned()));
                }
            }
        }
        let mut chains = BTreeMap::new();
        for change in changes.stages.iter().filter(|change| !touches(change)) {
            if let Some(stage) = plan.stages.iter().find(|stage| stage.name == change.stage) {
                for part in stage.parts() {
                    chains.insert((stage.name.clone(), part.name), chain(stage).await?);
                }
            }
        }
        // Nothing can fail from here on.
        if let Some(backend) = backend {
            self.backend = backend;
            self.era += 1;
        }
        for change in &changes.stages {
            let stage = plan.stages.iter().find(|stage| stage.name == change.stage);
            let version = stage.map(|stage| self.version(stage));
            self.carry_out(change, version, &mut chains, true);
        }
        self.plan = plan;
        Ok(changes)
    }

    /// Stages that went back, and with that to another backend than the present one.
    fn elsewhere(&self) -> BTreeSet<String> {
        let running = self.running.iter().filter(|(_, running)| {
            let wanted = running.wanted();
            wanted.is_some_and(|version| version.era != self.era)
        });
        running.map(|((name, _), _)| name.clone()).collect()
    }

    /// Have the parts of a stage go over to `version`, or end. If they `can_go_back` they do so if
    /// they fail.
    fn carry_out(
        &mut self,
        change: &Change,
        version: Option<Arc<Version>>,
        chains: &mut BTreeMap<Id, Chain>,
        can_go_back: bool,
    ) {
        let parts = { version.as_ref() }.map(|version| version.stage.parts());
        let parts = parts.unwrap_or_default();
        let mut present = None;
        for ((name, part), running) in &mut self.running {
            if *name != change.stage {
                continue;
            }
            present.get_or_insert_with(|| running.version.clone());
            if !parts.iter().any(|stays| stays.name == *part) {
                running.next = Some(Next::Nothing);
                running.stop.cancel();
            }
        }
        let Some(version) = version else { return };
        let stage = &version.stage;
        for part in parts {
            let id = (stage.name.clone(), part.name.clone());
            let Some(running) = self.running.get_mut(&id) else {
                let before = present.clone().filter(|_| can_go_back);
                self.start(version.clone(), part, before);
                continue;
            };
            match (chains.remove(&id), &change.kind) {
                (Some(chain), _) if running.next.is_none() => {
                    running.slot.put(chain);
                    self.legs.swapped(stage);
                    running.version = version.clone();
                }
                (_, ChangeKind::Scale { .. }) if running.next.is_none() => {
                    running.version = version.clone();
                }
                _ => {
                    running.next = Some(Next::Start {
                        version: version.clone(),
                        before: can_go_back.then(|| running.version.clone()),
                    });
                    running.stop.cancel();
                }
            }
        }
    }
}

fn part_of(stage: &Stage, name: &str) -> Option<Part> {
    stage.parts().into_iter().find(|part| part.name == name)
}

/// The stage's transforms, ready to be put in.
async fn chain(stage: &Stage) -> Result<Chain, ApplyError> {
    let steps = stage.steps.clone();
    let made = tokio::task::spawn_blocking(move || Chain::new(steps)).await;
    match made {
        Ok(Ok(chain)) => Ok(chain),
        Ok(Err(error)) => Err(ApplyError::Transforms {
            stage: stage.name.clone(),
            error,
        }),
        // The runtime is going down.
        Err(_) => Err(ApplyError::Ending),
    }
}

/// What is not at work any more must not look as if it were.
pub(crate) fn settle(legs: &Legs) {
    for leg in legs.all() {
        if !matches!(leg.stats.status(), Status::Ended | Status::Failed(_)) {
            leg.stats.set_status(Status::Ended);
        }
    }
}
