//! The batch that is being filled.

use std::time::Duration;

use gristmill_record::{Batch, Lane, Position, RecordRef, Records, Reject};
use tokio::time::Instant;

use crate::config::Batching;

/// A batch that has this part of its records when `linger` is over is filling fast: it may wait
/// for `linger_max`, as larger steps are cheaper.
const BUSY_FRACTION: usize = 16;
/// How long a position waits that only passed events that are not taken; nobody misses it, and an
/// early step would cost a commit.
const POSITION_LINGER: Duration = Duration::from_secs(1);

/// Collects records until time, number or bytes say that they are a batch.
#[derive(Debug)]
pub(crate) struct Outbox {
    lane: Lane,
    bounds: Batching,
    from: Option<Position>,
    records: Records,
    rejects: Vec<Reject>,
    reject_bytes: usize,
    /// When the first record or reject came.
    opened: Option<Instant>,
    /// When the position first went on.
    moved: Option<Instant>,
}

impl Outbox {
    /// An empty one that starts at `from`.
    pub(crate) fn new(lane: Lane, bounds: Batching, from: Option<Position>) -> Self {
        Self {
            lane,
            bounds,
            from,
            records: Records::default(),
            rejects: Vec::new(),
            reject_bytes: 0,
            opened: None,
            moved: None,
        }
    }

    pub(crate) fn push<'h>(
        &mut self,
        record: RecordRef<'_>,
        headers: impl IntoIterator<Item = (&'h str, &'h [u8])>,
    ) {
        self.opened.get_or_insert_with(Instant::now);
        self.records.push_with_headers(record, headers);
    }

    pub(crate) fn reject(&mut self, reject: Reject) {
        self.opened.get_or_insert_with(Instant::now);
        self.reject_bytes += reject.value.len();
        self.rejects.push(reject);
    }

    /// The position went on, with or without a record.
    pub(crate) fn moved(&mut self) {
        if self.opened.is_none() {
            self.moved.get_or_insert_with(Instant::now);
        }
    }

    /// No further record goes in.
    pub(crate) fn is_full(&self) -> bool {
        self.records.len() + self.rejects.len() >= self.bounds.records
            || self.records.bytes() + self.reject_bytes >= self.bounds.bytes.as_u64() as usize
    }

    /// When it is to be sent, full or not; `None` while there is nothing to send.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let Some(opened) = self.opened else {
            return self.moved.map(|moved| moved + POSITION_LINGER);
        };
        let busy = self.records.len() >= (self.bounds.records / BUSY_FRACTION).max(1);
        let quiet_end = opened + self.bounds.linger;
        Some(if busy {
            opened + self.bounds.linger_max
        } else {
            quiet_end
        })
    }

    /// Whether there is anything to send.
    pub(crate) fn is_empty(&self) -> bool {
        self.opened.is_none() && self.moved.is_none()
    }

    /// The batch up to `next`; what follows goes into another.
    pub(crate) fn cut(&mut self, next: Position) -> Batch {
        let from = self.from.replace(next.clone());
        // The next batch will be of about this size.
        let room = Records::with_capacity(self.records.len(), self.records.bytes());
        (self.opened, self.moved, self.reject_bytes) = (None, None, 0);
        Batch {
            lane: self.lane.clone(),
            from,
            next,
            records: std::mem::replace(&mut self.records, room),
            rejects: std::mem::take(&mut self.rejects),
        }
    }
}
