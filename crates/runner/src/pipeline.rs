//! A running pipeline: one task a stage, started together, stopped in the records' order.
//!
//! ```text
//! start ─▶ topics made ─▶ every stage runs ─▶ stop: sources first, sinks once they have caught up
//! ```

use std::time::Duration;

use gristmill_flow::{LegError, LegStats, Status};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::supervisor::{self, Order, Stop, Supervisor};
use crate::{ApplyError, Backend, Changes, LegView, Legs, Plan};

/// How often a stopping or idling pipeline is looked at. Far below any idle time a user would
/// give, far above the cost of reading a few counters.
const POLL: Duration = Duration::from_millis(50);

/// How long lag must stay 0 after the sources ended until the sinks count as caught up: a reader
/// learns of a commit with its next fetch.
const SETTLED: Duration = Duration::from_millis(250);

/// A killed member of a consumer group keeps its partitions for its session timeout (10 s unless
/// set otherwise), and the others learn of the rebalance with a heartbeat (2 s): who wants to know
/// that nothing is left to do waits for longer than both, as those partitions may be ours then.
const TAKEN_OVER: Duration = Duration::from_secs(15);

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
    legs: Legs,
    stop: Stop,
    control: Control,
    task: JoinHandle<Result<(), PipelineError>>,
}

impl Pipeline {
    /// Start every stage of `plan`. Returns at once: waiting for brokers, Redis and streams shows
    /// in the stages' status.
    pub fn start(plan: Plan, backend: Backend) -> Self {
        let legs = Legs::of(&plan.stages);
        let stop = Stop::default();
        let (orders, received) = mpsc::channel(1);
        let supervisor = Supervisor::new(plan, backend, legs.clone(), stop.clone());
        let views = legs.clone();
        let task = tokio::spawn(async move {
            let result = supervisor.run(received).await;
            supervisor::settle(&views);
            result
        });
        Self {
            legs,
            stop,
            control: Control { orders },
            task,
        }
    }

    /// The stages, in the manifest's order.
    pub fn legs(&self) -> &Legs {
        &self.legs
    }

    /// Changes what runs.
    pub fn control(&self) -> Control {
        self.control.clone()
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
        self.stop.sources.cancel();
        let deadline = Instant::now() + drain_deadline;
        let mut settled: Option<Instant> = None;
        while Instant::now() < deadline && !self.task.is_finished() {
            let caught_up = self.legs.all().iter().all(|leg| {
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
        self.stop.sinks.cancel();
        self.ended().await
    }
}

/// Changes what a pipeline runs. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Control {
    orders: mpsc::Sender<Order>,
}

impl Control {
    /// Go over to `plan`, without loss: other transforms are put in between two batches, any other
    /// change of a stage restarts that stage at its stored position, all other stages run on.
    /// `backend` is the cluster if that is another one now; every stage restarts then. Returns
    /// once everything is under way; how it goes on shows in the stages' status.
    ///
    /// # Errors
    /// See [`ApplyError`]; everything runs on as it was.
    pub async fn apply(&self, plan: Plan, backend: Option<Backend>) -> Result<Changes, ApplyError> {
        let (reply, answer) = oneshot::channel();
        let order = Order {
            plan,
            backend,
            reply,
        };
        let sent = self.orders.send(order).await;
        sent.map_err(|_| ApplyError::Ending)?;
        answer.await.map_err(|_| ApplyError::Ending)?
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
        let after = if legs.iter().any(partitions_are_elsewhere) {
            self.after.max(TAKEN_OVER)
        } else {
            self.after
        };
        self.since.elapsed() >= after
    }
}

fn is_over(stats: &LegStats) -> bool {
    matches!(stats.status(), Status::Ended | Status::Failed(_))
}

/// Whether some of the partitions that a sink shares are not ours: another process's, or, until its
/// session times out, a member's that was killed.
fn partitions_are_elsewhere(leg: &LegView) -> bool {
    let partitions = LegStats::get(&leg.stats.partitions);
    !leg.is_source
        && leg.stats.status() == Status::Running
        && (leg.stats.lag().len() as u64) < partitions
}

fn has_caught_up(stats: &LegStats) -> bool {
    let lag = stats.lag();
    is_over(stats) || (!lag.is_empty() && lag.values().all(|records| *records == 0))
}
