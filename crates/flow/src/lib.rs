//! The seams between sources, transforms and sinks, and the one loop that runs them.
//!
//! ```text
//! Source::next ──Batch──▶ Transform::apply ──Batch──▶ Sink::write (effect + position, one step)
//!      ▲                                                   │
//!      └────────────── committed(lane, next) ◀─────────────┘
//! ```
//!
//! **The position lives with the effect.** A [`Sink`] makes the records' effect and the source's
//! position durable in one atomic step; after a crash the sink says where to go on
//! ([`Sink::positions`]) and the source goes there ([`Source::resume`]). Nothing else stores
//! positions.
//!
//! **Invariants:** no connector, no YAML, no Kafka, no Redis in this crate; the leg reads no clock
//! but tokio's, so that a simulation can drive it on paused time.

mod connector;
mod dead_letter;
mod histogram;
mod leg;
mod refusals;
mod sink;
mod snapshot;
mod source;
mod stats;
mod tail;
mod tap;
mod transform;

pub use connector::Connector;
pub use dead_letter::{DeadLetters, LaneDeadLetters, NoDeadLetters, dead_letter_records, header};
pub use histogram::{Distribution, Histogram};
pub use leg::{Leg, LegError};
pub use refusals::{Refusals, Refused};
pub use sink::{Sink, SinkError};
pub use snapshot::Snapshot;
pub use source::{Source, SourceError, SourceEvent};
pub use stats::{LegStats, Status};
pub use tail::{NoTail, TopicTail};
pub use tap::{Tap, Tapped};
pub use transform::{Identity, Transform, TransformError};

/// Stops a leg between two batches, never within one.
pub use tokio_util::sync::CancellationToken;
