//! A running pipeline: one task a stage, started together, stopped in the records' order.
//!
//! ```text
//! start ─▶ topics made ─▶ every stage runs ─▶ stop: sources first, sinks once they have caught up
//! ```

use std::sync::Arc;
use std::time::Duration;

use gristmill_flow::{CancellationToken, LegError, LegStats, Status};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use crate::plan::{Plan, StageConfig};
use crate::{Backend, stages};

/// How often a stopping or idling pipeline is looked at. Far below any idle time a user would
/// give, far above the cost of reading a few counters.
const POLL: Duration = Duration::from_millis(50);

/// How long lag must stay 0 after the sources ended until the sinks count as caught up: a reader
/// learns of a commit with its next fetch.
const SETTLED: Duration = Duration::from_millis(250);

/// What the outside sees of a stage.
#[derive(Debug, Clone)]
pub struct LegView {
    /// `meta.name`.
    pub name: String,
    /// `meta.type`.
    pub kind: &'static str,
    /// Whether the stage brings records into its topic (or takes them out of it).
    pub is_source: bool,
    /// `meta.topic`.
    pub topic: String,
    /// Its counters and state.
    pub stats: Arc<LegStats>,
}

/// Why a pipeline ended before its time.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// The topics cannot be made.
    #[error("{0}")]
    Topics(String),
    /// A stage failed; the others were stopped in order.
    #[error("{stage}: {error}")]
    Stage {
        /// `meta.name`.
        stage: String,
        /// What happened.
        #[source]
        error: LegError,
    },
    /// A stage's task panicked: a defect of ours.
    #[error("a stage ended in an unforeseen way (please report it): {0}")]
    Panicked(String),
}

/// Stages that run until they are stopped.
///
/// Dropping it aborts the stages at once, which loses nothing: positions live with the effects.
#[derive(Debug)]
pub struct Pipeline {
    legs: Vec<LegView>,
    sources: CancellationToken,
    sinks: CancellationToken,
    task: JoinHandle<Result<(), PipelineError>>,
}

impl Pipeline {
    /// Start every stage of `plan`. Returns at once: waiting for brokers, Redis and streams shows
    /// in the stages' status.
    pub fn start(plan: Plan, backend: Backend) -> Self {
        let legs: Vec<LegView> = plan
            .stages
            .iter()
            .map(|stage| LegView {
                name: stage.name.clone(),
                kind: stage.kind(),
                is_source: matches!(stage.config, StageConfig::Sse(_)),
                topic: stage.topic.clone(),
                stats: Arc::default(),
            })
            .collect();
        let sources = CancellationToken::new();
        let sinks = CancellationToken::new();
        let stop = Stop {
            sources: sources.clone(),
            sinks: sinks.clone(),
        };
        let task = tokio::spawn(run(plan, backend, legs.clone(), stop));
        Self {
            legs,
            sources,
            sinks,
            task,
        }
    }

    /// The stages, in the manifest's order.
    pub fn legs(&self) -> &[LegView] {
        &self.legs
    }

    /// Wait until a stage fails or all have ended.
    ///
    /// # Errors
    /// See [`PipelineError`].
    pub async fn ended(&mut self) -> Result<(), PipelineError> {
        match (&mut self.task).await {
            Ok(result) => result,
            Err(error) => Err(PipelineError::Panicked(error.to_string())),
        }
    }

    /// Stop in order and wait for the end: sources first, then, when the sinks have caught up with
    /// the topics or `drain_deadline` has passed, the sinks. What is left is done next time.
    ///
    /// # Errors
    /// As [`ended`](Self::ended).
    pub async fn stop(&mut self, drain_deadline: Duration) -> Result<(), PipelineError> {
        self.sources.cancel();
        let deadline = Instant::now() + drain_deadline;
        let mut settled: Option<Instant> = None;
        while Instant::now() < deadline && !self.task.is_finished() {
            let caught_up = self.legs.iter().all(|leg| {
                if leg.is_source {
                    is_over(&leg.stats)
                } else {
                    has_caught_up(&leg.stats)
                }
            });
            match (caught_up, settled) {
                (true, Some(since)) if since.elapsed() >= SETTLED => break,
                (true, Some(_)) => {}
                (true, None) => settled = Some(Instant::now()),
                (false, _) => settled = None,
            }
            tokio::time::sleep(POLL).await;
        }
        self.sinks.cancel();
        self.ended().await
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Tells when nothing has moved for a while and nothing is left to do.
#[derive(Debug)]
pub struct Idle {
    after: Duration,
    moved: u64,
    since: Instant,
}

impl Idle {
    /// Idle once nothing has moved for `after`.
    pub fn new(after: Duration) -> Self {
        Self {
            after,
            moved: 0,
            since: Instant::now(),
        }
    }

    /// Look again. Waiting for a broker or for the stream's first answer is not being idle.
    pub fn check(&mut self, legs: &[LegView]) -> bool {
        let moved: u64 = legs
            .iter()
            .map(|leg| {
                let stats = &leg.stats;
                [
                    &stats.records_in,
                    &stats.records_out,
                    &stats.rejected,
                    &stats.duplicates,
                ]
                .into_iter()
                .map(LegStats::get)
                .sum::<u64>()
            })
            .sum();
        let ready = legs.iter().all(|leg| match leg.stats.status() {
            Status::Starting => false,
            // A stream that was served once and is gone (the recording's server has stopped) has
            // nothing more to say; a sink that waits still has work.
            Status::Waiting(_) => leg.is_source && LegStats::get(&leg.stats.records_in) > 0,
            Status::Running => leg.is_source || has_caught_up(&leg.stats),
            Status::Ended | Status::Failed(_) => true,
        });
        if moved != self.moved || !ready {
            self.moved = moved;
            self.since = Instant::now();
        }
        self.since.elapsed() >= self.after
    }
}

fn is_over(stats: &LegStats) -> bool {
    matches!(stats.status(), Status::Ended | Status::Failed(_))
}

fn has_caught_up(stats: &LegStats) -> bool {
    let lag = stats.lag();
    is_over(stats) || (!lag.is_empty() && lag.values().all(|records| *records == 0))
}

/// The two halves of a pipeline that stop one after the other.
#[derive(Clone)]
struct Stop {
    sources: CancellationToken,
    sinks: CancellationToken,
}

impl Stop {
    fn now(&self) {
        self.sources.cancel();
        self.sinks.cancel();
    }
}

async fn run(
    plan: Plan,
    backend: Backend,
    legs: Vec<LegView>,
    stop: Stop,
) -> Result<(), PipelineError> {
    let result = run_stages(&plan, &backend, &legs, &stop).await;
    for leg in legs {
        if !is_over(&leg.stats) {
            leg.stats.set_status(Status::Ended);
        }
    }
    result
}

async fn run_stages(
    plan: &Plan,
    backend: &Backend,
    legs: &[LegView],
    stop: &Stop,
) -> Result<(), PipelineError> {
    let prepared = tokio::select! {
        biased;
        () = stop.sources.cancelled() => return Ok(()),
        prepared = stages::prepare(plan, backend, legs) => prepared,
    };
    prepared.map_err(PipelineError::Topics)?;

    let mut tasks = JoinSet::new();
    for (stage, leg) in plan.stages.iter().cloned().zip(legs) {
        let token = if leg.is_source {
            &stop.sources
        } else {
            &stop.sinks
        }
        .clone();
        let (backend, stats) = (backend.clone(), leg.stats.clone());
        let pipeline = plan.name.clone();
        tasks.spawn(async move {
            let name = stage.name.clone();
            (
                name,
                stages::run(&pipeline, stage, backend, stats, token).await,
            )
        });
    }
    let mut first = Ok(());
    while let Some(joined) = tasks.join_next().await {
        let result = match joined {
            Ok((_, Ok(()))) => continue,
            Ok((stage, Err(error))) => Err(PipelineError::Stage { stage, error }),
            Err(error) => Err(PipelineError::Panicked(error.to_string())),
        };
        if first.is_ok() {
            first = result;
        }
        stop.now();
    }
    first
}
