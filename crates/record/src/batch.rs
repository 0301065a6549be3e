//! What one turn of a leg moves.

use crate::{Lane, Position, Records};

/// Records of one lane, between two positions.
///
/// An empty batch is meaningful: it carries the position past records that were filtered out (or
/// past a transaction's control markers).
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Where the records come from.
    pub lane: Lane,
    /// The position the batch starts at: the `next` of the batch before it in this lane, or the
    /// position that the source was resumed at. Not the first record's offset, which may be later
    /// (compaction, control records). `None` only for a source that has no position before its
    /// first record, such as an SSE stream that starts live.
    pub from: Option<Position>,
    /// The position that is reached when the batch's effect is durable.
    pub next: Position,
    /// The records, in the lane's order.
    pub records: Records,
    /// Records that a source or a transform refused, with the reason. They go to the dead-letter
    /// topic durably before, or in the same step as, the position passes them.
    pub rejects: Vec<Reject>,
}

impl Batch {
    /// A batch without records that moves `lane` from `from` to `next`.
    pub fn empty(lane: Lane, from: Option<Position>, next: Position) -> Self {
        Self {
            lane,
            from,
            next,
            records: Records::default(),
            rejects: Vec::new(),
        }
    }
}

/// A record that could not be processed, on its way to the dead-letter topic.
///
/// Rejects are the exception, so unlike [`Records`] they own their bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// Offset of the record in the batch's lane (for a stream: its ordinal in the batch).
    pub offset: i64,
    /// The record's timestamp, milliseconds since the epoch.
    pub timestamp_ms: i64,
    /// The record's key as it was before the step that refused it.
    pub key: Option<Vec<u8>>,
    /// The record's value as it was before the step that refused it; cut where `reason` says so.
    pub value: Vec<u8>,
    /// Which step refused it: `sse`, a SmartModule's name, `redis`.
    pub stage: String,
    /// Why, for a human: one line, no secrets.
    pub reason: String,
}
