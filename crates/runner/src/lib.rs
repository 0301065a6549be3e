//! From a validated manifest to running legs: which source, transform and sink make a leg, where
//! topics and counts live, what is reported and watched, and how everything stops without loss.
//!
//! ```text
//! Manifest ─▶ Plan (typed configs, built SmartModules) ─▶ Pipeline (one task a leg) ─▶ Report
//! ```
//!
//! To add a connector: its crate implements [`gristmill_flow::Connector`] and a seam; add it to
//! [`registry`], to the match in `plan.rs` and to the one in `stages.rs`.

mod backend;
mod browse;
mod changes;
mod counts;
mod doctor;
pub mod export;
#[cfg(feature = "fluvio")]
mod fluvio;
mod legs;
mod look_back;
mod modules;
mod pipeline;
mod plan;
pub mod registry;
mod remains;
mod report;
mod stages;
mod supervisor;
mod swap;
mod thread;
mod watch;

pub use backend::{Backend, BackendError, CountStore, Counted, LOCAL_DIR, Window};
pub use browse::{BrowseError, DeadLetter, Visit, browse, dead_letters, replay_dead_letters};
pub use changes::{Change, ChangeKind, Changes};
pub use counts::{Current, LiveCounts};
pub use doctor::{Finding, Patient, Site, Verdict, examine};
pub use legs::{LegView, Legs};
pub use modules::{ModuleSources, compiled_modules_dir, module_sources};
pub use pipeline::{Control, Idle, Pipeline, PipelineError};
pub use plan::{Plan, PlanError, Stage, StageConfig};
pub use remains::remains;
pub use report::{Report, StageReport};
pub use supervisor::ApplyError;
pub use watch::{
    Bound, CountsStatus, PipelineStatus, Quantiles, Rates, Rejects, StageStatus, WatchError,
    WatchServer, Watched,
};
