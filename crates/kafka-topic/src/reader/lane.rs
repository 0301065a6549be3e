//! One partition on its way into batches.

use std::time::Instant;

use gristmill_record::{Batch, Lane, Pool, Position, RecordRef, Records};
use rdkafka::message::{BorrowedMessage, Message};

use crate::messages::Taken;
use crate::native::Headers;

/// A partition that is being read.
#[derive(Debug)]
pub(super) struct Open {
    lane: Lane,
    /// Where the batch that is being gathered starts.
    from: i64,
    /// The offset after the last record taken.
    next: i64,
    records: Records,
    /// When the first of `records` came.
    since: Option<Instant>,
    pool: Pool,
}

impl Open {
    pub(super) fn new(lane: Lane, offset: i64, pool: &Pool) -> Self {
        Self {
            lane,
            from: offset,
            next: offset,
            records: Records::default(),
            since: None,
            pool: pool.clone(),
        }
    }

    pub(super) fn next(&self) -> i64 {
        self.next
    }

    /// Since when something waits to be cut.
    pub(super) fn since(&self) -> Option<Instant> {
        self.since
    }

    /// Take a record in; false if it is from before where this partition was sent to.
    pub(super) fn push(&mut self, message: &Taken<'_>, headers: bool) -> bool {
        if message.offset() < self.next {
            return false;
        }
        if self.since.is_none() {
            self.since = Some(Instant::now());
            self.records = self.pool.records();
        }
        if headers {
            append(&mut self.records, message.record(), message.headers());
        } else {
            self.records.push(message.record());
        }
        self.next = message.offset() + 1;
        true
    }

    /// Bytes of what waits to be cut.
    pub(super) fn bytes(&self) -> usize {
        self.records.bytes()
    }

    pub(super) fn is_full(&self, records_max: usize, bytes_max: usize) -> bool {
        self.records.len() >= records_max || self.records.bytes() >= bytes_max
    }

    /// The batch of what was gathered, if anything was.
    pub(super) fn cut(&mut self) -> Option<Batch> {
        if self.next == self.from {
            return None;
        }
        self.since = None;
        let records = std::mem::take(&mut self.records);
        let from = std::mem::replace(&mut self.from, self.next);
        Some(Batch {
            lane: self.lane.clone(),
            from: Some(Position::Offset(from)),
            next: Position::Offset(self.next),
            records,
            rejects: Vec::new(),
        })
    }

    /// The same, at the partition's end.
    pub(super) fn cut_at(&mut self, end: i64) -> Option<Batch> {
        self.next = self.next.max(end);
        self.cut()
    }

    /// A batch that says only that all is well.
    pub(super) fn nothing(&self) -> Batch {
        let at = Position::Offset(self.from);
        Batch::empty(self.lane.clone(), Some(at.clone()), at)
    }
}

/// Copy a message into `records`.
pub(crate) fn push(records: &mut Records, message: &BorrowedMessage<'_>) {
    let record = RecordRef::new(
        message.offset(),
        message.timestamp().to_millis().unwrap_or(-1),
        message.key(),
        message.payload().unwrap_or_default(),
    );
    append(records, record, Headers::of(message));
}

fn append(records: &mut Records, record: RecordRef<'_>, headers: Headers<'_>) {
    if headers.is_empty() {
        records.push(record);
    } else {
        records.push_with_headers(record, headers);
    }
}
