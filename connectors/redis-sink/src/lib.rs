//! Running counts in Redis or Valkey, exactly once.
//!
//! ```text
//! Batch ─▶ Coalescer ─▶ one EVALSHA: stored offset == batch.from? ─▶ INCRBY… + next offset
//!                                          └─ no ─▶ Misaligned: the leg goes where Redis says
//! ```
//!
//! With `window` the counts are those of tumbling windows on event time, one hash each, and each
//! partition's mark moves with its position (`windowed.rs`); with `hash` the totals are fields of
//! one hash. With `upsert` the records are changes of a table, whose rows become that hash's fields
//! (`upsert.rs`).
//!
//! The position lives with the counts, in the same database, and changes in the same script. A
//! Redis that loses its newest second, or is restored from a dump, loses both together, and the
//! replay from its position is exact while the topic retains the data. An answer that never came
//! needs no guess: the stored position says whether the batch was applied.
//!
//! **Invariants:** the only room with redis-rs; no password in any message; one round trip a batch.

mod config;
mod health;
mod keys;
mod link;
mod reader;
mod script;
mod sink;
mod upsert;
mod windowed;

pub use config::{Config, ConfigError, LateRule, Upsert, Window};
pub use health::{Examiner, Health};
pub use reader::{ClosedCursor, CountReader, ReadError};
pub use sink::RedisSink;
