//! A look at records as they pass a leg.
//!
//! Nobody looking costs the leg one relaxed load a batch. Whoever looks asks for a few records at a
//! time; the leg copies at most that many, each cut to a bound, and goes on. It never waits: not
//! for room, not for a lock.
//!
//! Who looks may be in another process, which has a tap of its own: what is [`wanted`](Tap::wanted)
//! there is [asked](Tap::ask) for here, and what is [left](Tap::take) here [comes](Tap::arrived)
//! there.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use gristmill_record::{Batch, RecordRef};
use serde::{Deserialize, Serialize};

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

/// A copy of a record that passed, for people to read: what is no UTF-8 in it is U+FFFD.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tapped {
    /// The partition it came from; of a stream always 0.
    pub partition: i32,
    /// Its offset there; of a stream its ordinal in the batch.
    pub offset: i64,
    /// Milliseconds since the epoch; -1 where there is none.
    pub timestamp_ms: i64,
    /// The beginning of its key.
    pub key: Option<String>,
    /// The beginning of its value.
    pub value: String,
    /// Bytes of the whole value.
    pub value_bytes: usize,
}

impl Tap {
    /// Take what was left since the last call, and ask for `records` more.
    pub fn look(&self, records: usize) -> Vec<Tapped> {
        let left = self.take();
        self.ask(records);
        left
    }

    /// Take what was left since the last call.
    pub fn take(&self) -> Vec<Tapped> {
        std::mem::take(&mut *self.left.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Have the next batches leave `records`.
    pub fn ask(&self, records: usize) {
        self.wanted.store(records.min(ASKED_MAX), Relaxed);
    }

    /// How many were asked for and have not passed.
    pub fn wanted(&self) -> usize {
        self.wanted.load(Relaxed)
    }

    /// `tapped` passed elsewhere.
    pub fn arrived(&self, tapped: Vec<Tapped>) {
        if self.wanted() == 0 {
            return;
        }
        leave(
            &mut self.left.lock().unwrap_or_else(PoisonError::into_inner),
            tapped,
        );
    }

    /// Nobody looks any more.
    pub fn close(&self) {
        self.look(0);
    }

    /// `batch` passed.
    pub(crate) fn passed(&self, batch: &Batch) {
        let wanted = self.wanted();
        if wanted == 0 || batch.records.is_empty() {
            return;
        }
        // Held for a moment by whoever looks: then another batch will do.
        let Ok(mut left) = self.left.try_lock() else {
            return;
        };
        let from = batch.records.len().saturating_sub(wanted);
        let newest = (from..batch.records.len()).filter_map(|index| batch.records.get(index));
        let newest = newest.map(|record| Tapped::of(batch.lane.partition, record));
        leave(&mut left, newest);
        let taken = batch.records.len() - from;
        self.wanted.store(wanted - taken, Relaxed);
    }
}

/// Keep no more of them than can be asked for at once.
fn leave(left: &mut Vec<Tapped>, tapped: impl IntoIterator<Item = Tapped>) {
    left.extend(tapped);
    let excess = left.len().saturating_sub(ASKED_MAX);
    left.drain(..excess);
}

impl Tapped {
    fn of(partition: i32, record: RecordRef<'_>) -> Self {
        let cut = |bytes: &[u8]| {
            let shown = &bytes[..bytes.len().min(SHOWN_BYTES_MAX)];
            String::from_utf8_lossy(shown).into_owned()
        };
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
    fn another_process_is_looked_into_through_two_taps() {
        let (here, there) = (Tap::default(), Tap::default());
        assert!(here.look(2).is_empty());
        there.ask(here.wanted());
        there.passed(&batch(0, 10, b"v"));
        here.arrived(there.take());
        assert_eq!(offsets(&here, 2), [8, 9]);
        // Nobody looks any more: what was under way is not kept for whoever looks next.
        here.close();
        there.ask(2);
        there.passed(&batch(10, 10, b"v"));
        here.arrived(there.take());
        assert!(offsets(&here, 2).is_empty());
        here.arrived(vec![Tapped::of(0, RecordRef::new(0, 0, None, b"v")); 100]);
        assert_eq!(here.take().len(), ASKED_MAX);
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
