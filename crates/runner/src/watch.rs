//! What a running pipeline tells the outside over HTTP.
//!
//! ```text
//! GET /              the web page, which asks for the rest
//! GET /metrics       the stages' statistics, for Prometheus
//! GET /healthz       200 until a stage has failed: restart it if not
//! GET /readyz        200 while every stage moves records, else 503 and which one waits for what
//! GET /status        everything at this moment, as JSON
//! GET /events        the same once a second, as Server-Sent Events
//! GET /history       the last hour (?seconds=N for less)
//! GET /tap           records as they pass, as Server-Sent Events; this machine only
//! GET /dead-letters  the newest records that were refused, and why; this machine only
//! GET /counts        all counts (?windows=true: all windows); by the owner's socket only
//! ```

mod access;
mod exposition;
mod history;
mod live;
mod metrics;
mod page;
mod process;
mod sample;
mod sampler;
mod server;
mod status;

pub use server::{Bound, WatchError, WatchServer};
pub use status::{CountsStatus, PipelineStatus, Quantiles, Rates, Rejects, StageStatus};

use std::time::SystemTime;

use gristmill_flow::Status;
use tokio::sync::watch;

use crate::{Current, LegView, Legs};

/// What is told: the stages, and what must not be told about them.
#[derive(Debug, Clone)]
pub struct Watched {
    /// The pipeline's name.
    pub pipeline: String,
    /// Its stages, also while they come and go.
    pub legs: Legs,
    /// Takes secrets out of a text; asked each time, since an edited file brings others.
    pub redact: fn(&str) -> String,
    /// When the run started.
    pub started: SystemTime,
    /// What it runs on, where its counts are to be told.
    pub current: Option<watch::Receiver<Current>>,
}

impl Watched {
    /// False once a stage has failed.
    fn is_healthy(&self) -> bool {
        !self
            .legs
            .all()
            .iter()
            .any(|leg| matches!(leg.stats.status(), Status::Failed(_)))
    }

    /// Whether every stage runs, or has done all that it had to do.
    fn is_ready(&self) -> bool {
        self.legs
            .all()
            .iter()
            .all(|leg| matches!(leg.stats.status(), Status::Running | Status::Ended))
    }

    /// A line for each stage, `name: status`.
    fn states(&self) -> String {
        let line = |leg: &LegView| {
            let (word, reason) = word(&leg.stats.status());
            let reason = reason.map_or_else(String::new, |reason| format!(": {reason}"));
            format!("{}: {word}{reason}\n", leg.name)
        };
        let text: String = self.legs.all().iter().map(line).collect();
        (self.redact)(&text)
    }
}

/// A status in one word, and its reason.
fn word(status: &Status) -> (&'static str, Option<String>) {
    match status {
        Status::Starting => ("starting", None),
        Status::Waiting(reason) => ("waiting", Some(reason.clone())),
        Status::Running => ("running", None),
        Status::Ended => ("ended", None),
        Status::Failed(reason) => ("failed", Some(reason.clone())),
    }
}
