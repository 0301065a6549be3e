//! A look at records as they pass a leg.
//!
//! Nobody looking costs the leg one relaxed load a batch. Whoever looks asks for a few records at a
//! time; the leg copies at most that many, each cut to a bound, and goes on. It never waits: not
//! for room, not for a lock.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use gristmill_record::{Batch, RecordRef};

/// Records that can be asked for at once.
const ASKED_MAX: usize = 16;
/// Bytes of a key or a value that are shown.
const SHOWN_BYTES_MAX: usize = 4 * 1024;

/// Where a leg leaves copies of records that somebody asked for.
#[derive(Debug, Default)]
pub struct Tap {
    /// How many the next batches are to leave; 0 while nobody looks.
    wanted: AtomicUsize,
    left: Mutex<Vec<Tapped>>,
}

/// A copy of a record that passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tapped {
    /// The partition it came from; of a stream always 0.
    pub partition: i32,
    /// Its offset there; of a stream its ordinal in the batch.
    pub offset: i64,
    /// Milliseconds since the epoch; -1 where there is none.
    pub timestamp_ms: i64,
    /// The beginning of its key.
    pub key: Option<Vec<u8>>,
    /// The beginning of its value.
    pub value: Vec<u8>,
    /// Bytes of the whole value.
    pub value_bytes: usize,
}

impl Tap {
    /// Take what was left since the last call, and ask for `records` more.
    pub fn look(&self, records: usize) -> Vec<Tapped> {
        let left = std::mem::take(&mut *self.left.lock().unwrap_or_else(PoisonError::into_inner));
        self.wanted.store(records.min(ASKED_MAX), Relaxed);
        left
    }

    /// Nobody looks any more.
    pub fn close(&self) {
        self.look(0);
    }

    /// `batch` passed.
    pub(crate) fn passed(&self, batch: &Batch) {
        let wanted = self.wanted.load(Relaxed);
        if wanted == 0 || batch.records.is_empty() {
            return;
        }
        // Held for a moment by whoever looks: then another batch will do.
        let Ok(mut left) = self.left.try_lock() else {
            return;
        };
        let from = batch.records.len().saturating_sub(wanted);
        let newest = (from..batch.records.len()).filter_map(|index| batch.records.get(index));
        left.extend(newest.map(|record| Tapped::of(batch.lane.partition, record)));
        let excess = left.len().saturating_sub(ASKED_MAX);
        left.drain(..excess);
        let taken = batch.records.len() - from;
        self.wanted.store(wanted - taken, Relaxed);
    }
}

impl Tapped {
    fn of(partition: i32, record: RecordRef<'_>) -> Self {
        let cut = |bytes: &[u8]| bytes[..bytes.len().min(SHOWN_BYTES_MAX)].to_vec();
        Self {
            partition,
            offset: record.offset,
            timestamp_ms: record.timestamp_ms,
            key: record.key.map(cut),
            value: cut(record.value),
            value_bytes: record.value.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use gristmill_record::{Lane, Position};

    use super::*;

    fn batch(from: i64, records: i64, value: &[u8]) -> Batch {
        let mut batch = Batch::empty(Lane::new("t", 3), None, Position::Offset(from + records));
        for offset in from..from + records {
            batch
                .records
                .push(RecordRef::new(offset, 7, Some(b"k"), value));
        }
        batch
    }

    fn offsets(tap: &Tap, ask: usize) -> Vec<i64> {
        let left = tap.look(ask);
        left.iter().map(|tapped| tapped.offset).collect()
    }

    #[test]
    fn only_what_was_asked_for_is_left() {
        let tap = Tap::default();
        tap.passed(&batch(0, 10, b"v"));
        assert!(offsets(&tap, 3).is_empty());
        tap.passed(&batch(10, 2, b"v"));
        tap.passed(&batch(12, 10, b"v"));
        tap.passed(&batch(22, 10, b"v"));
        assert_eq!(offsets(&tap, 2), [10, 11, 21]);
        tap.close();
        tap.passed(&batch(32, 10, b"v"));
        assert!(offsets(&tap, 0).is_empty());
    }

    #[test]
    fn what_is_left_is_bounded() {
        let tap = Tap::default();
        tap.look(usize::MAX);
        tap.passed(&batch(0, 1_000, &[b'x'; 10_000]));
        let left = tap.look(usize::MAX);
        assert_eq!(left.len(), ASKED_MAX);
        assert_eq!(left[0].partition, 3);
        assert_eq!(left[0].value.len(), SHOWN_BYTES_MAX);
        assert_eq!(left[0].value_bytes, 10_000);
        // Asked again before anything was taken: never more than can be asked for at once.
        tap.passed(&batch(0, 1, b"v"));
        tap.wanted.store(ASKED_MAX, Relaxed);
        tap.passed(&batch(1, 1_000, b"v"));
        assert_eq!(tap.look(0).len(), ASKED_MAX);
    }

    #[test]
    fn a_held_lock_delays_no_batch() {
        let tap = Tap::default();
        tap.look(4);
        let held = tap.left.lock().unwrap();
        tap.passed(&batch(0, 10, b"v"));
        drop(held);
        assert!(offsets(&tap, 0).is_empty());
    }
}
