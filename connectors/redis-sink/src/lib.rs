//! Running counts in Redis or Valkey, exactly once.
//!
//! ```text
//! Batch ─▶ Coalescer ─▶ one EVALSHA: stored offset == batch.from? ─▶ INCRBY… + next offset
//!                                          └─ no ─▶ Misaligned: the leg goes where Redis says
//! ```
//!
//! The position lives with the counts, in the same database, and changes in the same script. A
//! Redis that loses its newest second, or is restored from a dump, loses both together, and the
//! replay from its position is exact while the topic retains the data. An answer that never came
//! needs no guess: the stored position says whether the batch was applied.
//!
//! **Invariants:** the only room with redis-rs; no password in any message; one round trip a batch.

mod config;
mod keys;
mod link;
mod reader;
mod script;
mod sink;

pub use config::{Config, ConfigError};
pub use reader::{CountReader, ReadError};
pub use sink::RedisSink;
