//! The batch that is being filled.

use std::time::Duration;

use gristmill_record::{Batch, Lane, Pool, Position, RecordRef, Records, Reject};
use tokio::time::Instant;

use crate::config::Batching;

/// A batch that has this part of its records when `linger` is over is filling fast: it may wait
/// for `linger_max`, as larger steps are cheaper.
const BUSY_FRACTION: usize = 16;
/// Buffers kept for later batches: while one is written and one waits, a third is filled.
const BUFFERS_KEPT_MAX: usize = 2;
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
    pool: Pool,
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
            pool: Pool::new(BUFFERS_KEPT_MAX),
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

    /// When it is to be sent, full or not; `None` while there is nothing to send. `free` is since
    /// when the sink is done with what came before, `linger` how long records gather from then on.
    ///
    /// Records gather from one commit to the next, not from the first of them: the first after a
    /// silence goes at once, and a commit that took long is not followed by another before the
    /// brokers have finished with it (they would let it wait, and it would come no sooner).
    pub(crate) fn deadline(&self, free: Instant, linger: Duration) -> Option<Instant> {
        let Some(opened) = self.opened else {
            return self.moved.map(|moved| moved + POSITION_LINGER);
        };
        let busy = self.records.len() >= (self.bounds.records / BUSY_FRACTION).max(1);
        Some(if busy {
            opened + self.bounds.linger_max
        } else {
            opened.max(free + linger)
        })
    }

    /// Whether there is anything to send.
    pub(crate) fn is_empty(&self) -> bool {
        self.opened.is_none() && self.moved.is_none()
    }

    /// The batch up to `next`; what follows goes into another.
    pub(crate) fn cut(&mut self, next: Position) -> Batch {
        let from = self.from.replace(next.clone());
        let room = self.pool.records();
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

#[cfg(test)]
mod tests {
    use super::*;

    fn outbox(records: usize) -> Outbox {
        let bounds = Batching {
            records: 100,
            ..Batching::default()
        };
        let mut outbox = Outbox::new(Lane::new("stream", 0), bounds, None);
        for n in 0..records {
            let none: [(&str, &[u8]); 0] = [];
            outbox.push(RecordRef::new(n as i64, 0, None, b"v"), none);
        }
        outbox
    }

    #[tokio::test(start_paused = true)]
    async fn records_gather_from_one_commit_to_the_next() {
        let (linger, linger_max) = (Duration::from_millis(50), Batching::default().linger_max);
        let now = Instant::now();
        assert_eq!(outbox(0).deadline(now, linger), None);
        // The sink became free when the batch was open already, as it was opened, long before.
        let ago = now - linger / 5;
        assert_eq!(outbox(1).deadline(now, linger), Some(now + linger));
        assert_eq!(outbox(1).deadline(ago, linger), Some(ago + linger));
        assert_eq!(outbox(1).deadline(now - 2 * linger, linger), Some(now));
        // Many at once wait for more, whenever the sink became free.
        assert_eq!(outbox(50).deadline(ago, linger), Some(now + linger_max));
    }

    #[tokio::test(start_paused = true)]
    async fn a_position_alone_is_in_no_hurry() {
        let mut outbox = outbox(0);
        outbox.moved();
        let now = Instant::now();
        assert_eq!(
            outbox.deadline(now, Duration::ZERO),
            Some(now + POSITION_LINGER)
        );
    }
}
