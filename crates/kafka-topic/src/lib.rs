//! Kafka topics as a source and a sink: the only room with rdkafka.
//!
//! ```text
//! Batch ─▶ TopicWriter ─▶ one transaction: records, dead letters, checkpoint ─▶ topics
//! topic ─▶ reader thread (BaseConsumer, read_committed) ─▶ bounded queue ─▶ TopicReader ─▶ Batch
//! topic ─▶ Follower (no group) ─▶ `tap`, `dead-letter list`, KafkaTail
//! ```
//!
//! The writer keeps the source's position on a compacted checkpoint topic, in the same
//! transaction as the records; the reader keeps none: the sink behind it says where to go on. What
//! the reader commits to its consumer group is for lag tools only.
//!
//! **Invariants:** nothing of Kafka's client leaves this crate; no call that may block on a broker
//! runs on a runtime worker; every queue is bounded in records and bytes.

mod admin;
mod checkpoint;
mod config;
mod context;
mod error;
mod follow;
mod messages;
mod native;
mod reader;
mod security;
mod survey;
mod tail;
mod writer;

pub use admin::{TopicSpec, TopicState, ensure_topics};
pub use config::{ConfigError, KafkaConfig};
pub use error::is_missing_topic;
pub use follow::{FollowConfig, Follower, From, Until};
pub use reader::{ReaderConfig, Start, TopicReader};
pub use security::{Sasl, Security, Tls};
pub use survey::{Cluster, TopicShape, survey, try_group, try_transactions};
pub use tail::KafkaTail;
pub use writer::{Compression, Delivery, Oversize, TopicWriter, WriterConfig};
