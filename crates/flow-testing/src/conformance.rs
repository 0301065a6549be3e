//! What every sink and every source must do, as tests to run against each of them.
//!
//! A connector's tests implement [`SinkHarness`] or [`SourceHarness`] and call [`sink`] or
//! [`source`] with a function that makes a harness of its own for each case. Everything panics
//! with the case's name where a promise of [`Sink`](gristmill_flow::Sink) or
//! [`Source`](gristmill_flow::Source) is broken.

mod sinks;
mod sources;

pub use sinks::{SinkHarness, sink};
pub use sources::{SourceHarness, source};
