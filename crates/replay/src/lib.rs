//! Generated recentchange events, and an SSE server over them or over a recording.
//!
//! ```text
//! Generator ──┐
//! .sse ───────┼─▶ log (index → event) ─▶ cursor ─▶ feed (pace, faults) ─▶ HTTP body
//! .ndjson ────┘         ▲
//!                       └─ Last-Event-ID, since ─▶ place in the log
//! ```
//!
//! The log never changes while it is served: an event has one index, one id and one sequence of
//! bytes, whoever asks and whenever. That makes a run against this server checkable: what must
//! have arrived is known from the options alone ([`Tally::of`]).
//!
//! **Invariants:** no randomness but from seeds; no clock but tokio's for pacing, and the wall
//! clock only when [`ServerOptions::stamp`] asks for it; nothing is buffered beyond one chunk a
//! connection.

mod error;
mod event_id;
mod generator;
mod log;
mod recording;
mod server;

pub use error::ReplayError;
pub use generator::{Event, Generator, GeneratorOptions, Tally};
pub use server::{AtEnd, Faults, Resume, Server, ServerOptions, Source, Stats};
