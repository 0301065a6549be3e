//! Server-Sent Events as a source of records.
//!
//! ```text
//! HTTP ▶ transport ▶ sanitize ▶ eventsource-client ▶ session: inspect, dedupe, gaps ▶ outbox ▶ SseSource
//! ```
//! The [`Config`] is the `sse:` section of a connector config. [`SseSource`] gives one lane, named
//! after the connector; a record's value is its event's data byte for byte, its key and timestamp
//! come from JSON pointers, and [`header`] names its headers. A position is the last event id with
//! what resumption needs beside it.
//!
//! **Invariants:** nothing here knows the topic that it writes to but by [`TopicTail`]; header
//! values are in no log and no error; every buffer is bounded by `event-bytes-max` or
//! `batch.bytes`.
//!
//! [`TopicTail`]: gristmill_flow::TopicTail

mod backoff;
mod config;
mod dedupe;
mod extract;
mod inspect;
mod lanes;
mod mark;
mod outbox;
mod pace;
mod recall;
mod resume;
mod sanitize;
mod session;
mod source;
mod transport;

pub use config::{Batching, Config, ConfigError, Dedupe, Retry, Scalar, Streams};
pub use resume::position;
pub use session::header;
pub use source::SseSource;
