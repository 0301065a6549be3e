//! Embedded topics and counts: the seams of Kafka and Redis on one directory, no server.
//!
//! ```text
//! source ─▶ LocalWriter ─▶ topics.redb ─▶ LocalReader ─▶ LocalCounts ─▶ counts.redb
//!           (records, dead letters,   │   (all partitions)  (counts and next offset
//!            position: one commit)    └▶ LocalTail, read     of a partition: one commit)
//! ```
//!
//! Topics and counts are two databases, so the two legs of a pipeline do not queue for one writer.
//! A commit that returned survives `kill -9` and power loss. Memory is bounded by the databases'
//! caches (16 MiB in all) and one batch for each reader and writer.
//!
//! **Invariants:** one process at a time on a directory; effect and position in one commit; no
//! retention: embedded topics grow until their directory is deleted.

mod chunk;
mod counts;
mod error;
mod lock;
mod log;
mod murmur2;
mod offsets;
mod position;
mod reader;
mod tail;
mod windows;
mod writer;

pub use counts::LocalCounts;
pub use error::LocalError;
pub use log::{LocalLog, Slice, TopicInfo};
pub use reader::{LocalReader, ReaderConfig, Start};
pub use tail::LocalTail;
pub use windows::LocalWindows;
pub use writer::{LocalWriter, WriterConfig};
