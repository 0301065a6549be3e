//! Pipelines as supervised background processes.
//!
//! ```text
//! gristmill deploy start ─▶ supervisor (one a pipeline) ─▶ stage's process ─▶ …
//!        list, apply, … ─socket─▶ │  ▲                        ▲ orders  │ reports, log lines
//!                          log ◀──┘  └────────────────────────┴─────────┘
//! ```
//!
//! This room knows processes, locks, logs and the protocol between them, and nothing of what a
//! stage does: who starts one is told with which command.
//!
//! **Invariants:** of a pipeline at most one supervisor runs, and of each of its stages at most one
//! process that was told to go, whatever is killed when: the locks are the system's own
//! ([`Deployment`]), and a stage's process ends with its supervisor ([`Worker`]). Of a change
//! everything that can fail is done before anything that runs is touched.

mod control;
mod error;
mod logs;
mod process;
mod revision;
mod state;
mod supervisor;
mod worker;

pub use control::{DeploymentStatus, Reply, Request, StageStatus};
pub use error::DeployError;
pub use logs::{Line, Reader};
pub use process::{Process, detach};
pub use revision::{Revision, StageEntry};
pub use state::{Deployed, Deployment, Lock, StateDir};
pub use supervisor::{Host, Restarts, Spawn, StageView, Supervisor};
pub use worker::{Order, Report, Worker};

/// Whose a log line is that is of no stage: no stage can have this name.
pub const SUPERVISOR: &str = "-";
