//! Where a source is: lanes and the positions in them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// An ordered sequence of records with a position of its own: a topic's partition, or a stream
/// (whose "topic" is the connector's name and whose partition is 0).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lane {
    /// The topic, or the name of the connector that reads the stream.
    pub topic: Arc<str>,
    /// The partition; 0 where the source has none.
    pub partition: i32,
}

impl Lane {
    /// A lane of `topic` and `partition`.
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> Self {
        Self {
            topic: topic.into(),
            partition,
        }
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.topic, self.partition)
    }
}

/// A place between two records of a lane: everything before it has had its effect.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Position {
    /// The offset of the next record to be read (Kafka's convention: last offset + 1).
    Offset(i64),
    /// Whatever the source needs to go on, in its own encoding (UTF-8 text; for SSE a JSON object
    /// with the last event id). Opaque to everyone but the source.
    Token(Arc<str>),
}

impl Position {
    /// The offset, where the position is one.
    pub fn offset(&self) -> Option<i64> {
        match self {
            Self::Offset(offset) => Some(*offset),
            Self::Token(_) => None,
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Offset(offset) => write!(f, "offset {offset}"),
            Self::Token(token) => write!(f, "{token}"),
        }
    }
}

/// A position for each of several lanes; a lane without one has never been written.
pub type Positions = BTreeMap<Lane, Position>;
