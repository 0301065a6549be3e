//! `gristmill stage`: stages, for the supervisor that started this process. Orders come on
//! standard input, reports go to standard output, log lines to standard error.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use gristmill_deploy::{Deployment, Order, Report, Revision, Worker};
use gristmill_flow::LegError;
use gristmill_runner::{Backend, Bound, Control, Legs, Pipeline, PipelineError, Plan};
use tokio::sync::watch;

use crate::args::StageArgs;
use crate::served::{Listen, Served};
use crate::{Outcome, deployed, logging, output, project};

/// How often the supervisor is told where the stages are.
const REPORT_EVERY: Duration = Duration::from_millis(250);

pub(super) async fn run(args: StageArgs) -> anyhow::Result<Outcome> {
    let mut worker = Worker::enter(&Deployment::at(&args.dir), args.supervisor)?;
    let (error, is_final) = match work(&mut worker, &args).await {
        Ok(()) => (None, false),
        Err(error) => {
            let fenced = |error: &PipelineError| {
                let PipelineError::Stage { error, .. } = error else {
                    return false;
                };
                matches!(error, LegError::Fenced(_))
            };
            let is_final = error.downcast_ref().is_some_and(fenced);
            (Some(logging::redacted(&output::chain(&error))), is_final)
        }
    };
    Report::Ended { error, is_final }.send();
    Ok(Outcome::Done)
}

async fn work(worker: &mut Worker, args: &StageArgs) -> anyhow::Result<()> {
    let mut stages = Stages::load(&args.revision, args.only.clone())?;
    Report::Ready.send();
    match worker.orders.recv().await {
        Some(Order::Go) => {}
        _ => return Ok(()),
    }
    let (plan, revision) = (&stages.plan, &stages.revision);
    let backend = match &revision.local {
        Some(dir) => project::open_local(dir)?,
        None => Backend::cluster(&plan.manifest)?,
    };
    // Embedded counts can be read by this process alone, so it is the one that tells of them. The
    // address is taken before anything runs.
    let listen = match revision.listen {
        Some(addr) if revision.local.is_some() => Listen::On(Bound::to(addr).await?),
        _ => Listen::AsFile,
    };
    let current = Arc::new((plan.manifest.clone(), backend.clone()));
    let mut pipeline = Pipeline::start(plan.clone(), backend);
    let (legs, control) = (pipeline.legs().clone(), pipeline.control());
    let (changes, current) = watch::channel(current);
    let served = if revision.local.is_some() {
        let served = Served::start(&plan.name, &legs, current, listen).await?;
        if let Some(address) = served.address() {
            Report::Serves(address).send();
        }
        Some(served)
    } else {
        None
    };
    let mut ticks = tokio::time::interval(REPORT_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let result = loop {
        tokio::select! {
            result = pipeline.ended() => break result,
            order = worker.orders.recv() => match order {
                Some(Order::Take { number, dir }) => {
                    let taken = stages.take(dir, &control).await;
                    changes.send_modify(|current| {
                        *current = Arc::new((stages.plan.manifest.clone(), current.1.clone()));
                    });
                    let result = taken.map_err(|error| logging::redacted(&output::chain(&error)));
                    Report::Took { number, result }.send();
                }
                Some(Order::Stop { drain_ms }) => {
                    break pipeline.stop(Duration::from_millis(drain_ms)).await;
                }
                Some(Order::Look(wanted)) => {
                    for leg in legs.all() {
                        if let Some(records) = wanted.get(&leg.name) {
                            leg.stats.tap.ask(*records);
                        }
                    }
                }
                Some(Order::Go) => {}
                // The supervisor is gone.
                None => return Ok(()),
            },
            _ = ticks.tick() => report(&legs, served.is_none()),
        }
    };
    report(&legs, served.is_none());
    if let Some(served) = served {
        served.close().await;
    }
    Ok(result?)
}

/// Tell the supervisor of the stages, and of passing records if it is the one that shows them.
fn report(legs: &Legs, shows: bool) {
    let (mut stages, mut tapped) = (BTreeMap::new(), BTreeMap::new());
    for leg in legs.all() {
        // At every report, so that nothing old is left for whoever looks next.
        if shows {
            let records = leg.stats.tap.take();
            if !records.is_empty() {
                tapped.insert(leg.name.clone(), records);
            }
        }
        stages.insert(leg.name, leg.stats.snapshot().redacted(logging::redacted));
    }
    if !tapped.is_empty() {
        Report::Tapped(tapped).send();
    }
    Report::Stages(stages).send();
}

/// What this process runs.
struct Stages {
    only: Vec<String>,
    revision: Revision,
    plan: Plan,
}

impl Stages {
    fn load(dir: &Path, only: Vec<String>) -> anyhow::Result<Self> {
        let revision = Revision::load(dir)?;
        let plan = deployed::plan(&revision, dir, &wanted(&revision, &only), None)?;
        Ok(Self {
            only,
            revision,
            plan,
        })
    }

    /// Go over to the revision in `dir`; what happens, one a line.
    async fn take(&mut self, dir: PathBuf, control: &Control) -> anyhow::Result<Vec<String>> {
        let revision = Revision::load(&dir)?;
        let (before, only) = (self.plan.clone(), self.only.clone());
        let made = tokio::task::spawn_blocking(move || {
            let plan = deployed::plan(&revision, &dir, &wanted(&revision, &only), Some(&before))?;
            anyhow::Ok((revision, plan))
        });
        let (revision, plan) = made.await??;
        let backend = match revision.local {
            None if !plan.manifest.is_on_cluster_of(&self.plan.manifest) => {
                Some(Backend::cluster(&plan.manifest)?)
            }
            _ => None,
        };
        let changes = control.apply(plan.clone(), backend).await?;
        (self.revision, self.plan) = (revision, plan);
        Ok(changes.stages.iter().map(ToString::to_string).collect())
    }
}

/// The stages of `revision` that this process runs: those it was started for, or, where all share
/// one, all.
fn wanted(revision: &Revision, only: &[String]) -> Vec<String> {
    let mut running = revision.running();
    if revision.local.is_none() {
        running.retain(|name| only.contains(name));
    }
    running
}
