//! Fluvio topics as a source and a sink: the only room with Fluvio's client.
//!
//! ```text
//! Batch ─▶ FluvioWriter ─▶ records, dead letters ─▶ then the checkpoint ─▶ topics
//! topic ─▶ a task a partition (stream fetch, committed only) ─▶ bounded queue ─▶ FluvioReader ─▶ Batch
//! topic ─▶ plain fetches ─▶ `tap`, `dead-letter list`, FluvioTail
//! ```
//!
//! **What is promised.** Counts of a Fluvio topic are exact: their position is the partition's offset, and
//! lives with them in Redis. Into Fluvio nothing can be, since it has no transactions and no fence:
//!
//! - *One writer, killed at any moment*: every record and letter once. Records go first, then a checkpoint
//!   with the source's position and where each partition ended. A new life reads what stands behind those
//!   ends, which is what the last write left unfinished, and leaves it out when the source gives it again.
//! - *Not so*: a request that the cluster carries out more than a second after its writer died or gave it up (a
//!   lost connection, a timeout), and a second copy. A copy that was suspended finds out before its next write and ends, but
//!   between that look and the write nothing stops it. Either may double one batch.
//!
//! Hence `delivery: at-least-once`, which the manifest asks for.
//!
//! **No headers.** Fluvio's records have none. A dead letter is a JSON object with the record in it
//! (`letter.rs`); the position is on a topic of its own, one for each writer (`checkpoint.rs`).
//! Timestamps are in the batch and the record, as in Kafka.
//!
//! **Invariants:** nothing of Fluvio's client leaves this crate; every request has a deadline; every queue
//! is bounded; what a cluster sends is decoded in place and bounds-checked (`codec.rs`).
//!
//! Without the feature `client` this crate is empty.
#![cfg(feature = "client")]

mod admin;
mod checkpoint;
mod cluster;
mod codec;
mod config;
mod error;
mod follow;
mod letter;
mod letters;
mod present;
mod reader;
#[cfg(feature = "stand-in")]
pub mod stand_in;
mod tail;
mod writer;

pub use admin::{Shape, TopicSpec, check_config, ensure_topics, survey};
pub use config::{FluvioConfig, checkpoint_topic, dead_letter_topic};
pub use error::is_missing_topic;
pub use follow::{read_all, read_before, read_new};
pub use letter::unpack;
pub use letters::{FluvioLetters, LettersConfig};
pub use reader::{FluvioReader, ReaderConfig, Start};
pub use tail::FluvioTail;
pub use writer::{Compression, FluvioWriter, SETTLE, WriterConfig};
