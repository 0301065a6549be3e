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
//! anything that runs is touched. A restarted stage that fails before its first batch gives way to
//! what ran before it.

use std::collections::BTreeMap;
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
use crate::{Backend, PipelineError, stages};

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
    legs: Legs,
    stop: Stop,
    running: BTreeMap<Id, Running>,
    tasks: JoinSet<(Id, Result<(), LegError>)>,
}

/// A stage's name, and its part's.
type Id = (String, String);

/// A leg at work.
struct Running {
    stage: Stage,
    stats: Arc<LegStats>,
    stop: CancellationToken,
    slot: Slot,
    /// What comes when it has ended, if that was ordered.
    next: Option<Next>,
    /// What ran before it.
    before: Option<Before>,
}

enum Next {
    Start(Box<Stage>),
    Nothing,
}

struct Before {
    stage: Box<Stage>,
    backend: Backend,
}

impl Supervisor {
    pub(crate) fn new(plan: Plan, backend: Backend, legs: Legs, stop: Stop) -> Self {
        Self {
            plan,
            backend,
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
            for part in stage.parts() {
                self.start(stage.clone(), part, None);
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

    fn start(&mut self, stage: Stage, part: Part, before: Option<Before>) {
        let stats = self.legs.enter(&stage).stats.copy(&part.name);
        let (id, stop, slot) = (
            (stage.name.clone(), part.name.clone()),
            self.stop.of(&stage).child_token(),
            Slot::default(),
        );
        let running = Running {
            stage: stage.clone(),
            stats: stats.clone(),
            stop: stop.clone(),
            slot: slot.clone(),
            next: None,
            before,
        };
        self.running.insert(id.clone(), running);
        let (backend, pipeline) = (self.backend.clone(), self.plan.name.clone());
        self.tasks.spawn(async move {
            let result = stages::run(&pipeline, (stage, part), backend, stats, stop, slot).await;
            (id, result)
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
        let stopping = self.stop.of(&running.stage).is_cancelled();
        match (running.next, result) {
            (Some(_), Err(error @ LegError::Fenced(_))) => {
                Err(PipelineError::Stage { stage: name, error })
            }
            (Some(Next::Start(stage)), result) if !stopping => {
                if let Err(error) = result {
                    tracing::warn!(connector = name, %error, "ended with an error, starts anew");
                }
                let before = Before {
                    stage: Box::new(running.stage),
                    backend: self.backend.clone(),
                };
                if let Some(part) = part_of(&stage, &part) {
                    self.start(*stage, part, Some(before));
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
                    self.fall_back(before, &part);
                    Ok(())
                }
                _ => Err(PipelineError::Stage { stage: name, error }),
            },
        }
    }

    fn fall_back(&mut self, before: Before, part: &str) {
        let Before { stage, backend } = before;
        if let Some(planned) = self.plan.stages.iter_mut().find(|s| s.name == stage.name) {
            *planned = (*stage).clone();
        }
        self.backend = backend;
        match part_of(&stage, part) {
            Some(part) => self.start(*stage, part, None),
            // A copy that was new with the change.
            None => {
                if let Some(leg) = self.legs.get(&stage.name) {
                    leg.stats.forget(part);
                }
            }
        }
    }

    /// Go over to `plan`.
    async fn apply(&mut self, plan: Plan, backend: Option<Backend>) -> Result<Changes, ApplyError> {
        if plan.name != self.plan.name {
            return Err(ApplyError::Renamed {
                old: self.plan.name.clone(),
                new: plan.name,
            });
        }
        let mut changes = Changes::between(&self.plan, &plan);
        if let Backend::Local(_) = &self.backend {
            changes.restart_scaled();
        }
        if backend.is_some() {
            changes.restart_all(&self.plan, &plan);
        }
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
        }
        for change in &changes.stages {
            let stage = plan.stages.iter().find(|stage| stage.name == change.stage);
            self.carry_out(change, stage, &mut chains);
        }
        self.plan = plan;
        Ok(changes)
    }

    fn carry_out(
        &mut self,
        change: &Change,
        stage: Option<&Stage>,
        chains: &mut BTreeMap<Id, Chain>,
    ) {
        let parts = stage.map(Stage::parts).unwrap_or_default();
        let mut before = None;
        for ((name, part), running) in &mut self.running {
            if *name != change.stage {
                continue;
            }
            before.get_or_insert_with(|| running.stage.clone());
            if !parts.iter().any(|stays| stays.name == *part) {
                running.next = Some(Next::Nothing);
                running.stop.cancel();
            }
        }
        let Some(stage) = stage else { return };
        for part in parts {
            let id = (stage.name.clone(), part.name.clone());
            let Some(running) = self.running.get_mut(&id) else {
                let before = before.as_ref().map(|before| Before {
                    stage: Box::new(before.clone()),
                    backend: self.backend.clone(),
                });
                self.start(stage.clone(), part, before);
                continue;
            };
            match (chains.remove(&id), &change.kind) {
                (Some(chain), _) if running.next.is_none() => {
                    running.slot.put(chain);
                    self.legs.swapped(stage);
                    running.stage = stage.clone();
                }
                (_, ChangeKind::Scale { .. }) if running.next.is_none() => {
                    running.stage = stage.clone();
                }
                _ => {
                    running.next = Some(Next::Start(Box::new(stage.clone())));
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
