//! What a leg tells the outside while it runs.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

/// Counters and state of one leg; written by the leg and its source, read by whoever watches.
///
/// Counters only grow and are in records unless named otherwise. Relaxed order is enough: each is
/// read alone, for display.
#[derive(Debug, Default)]
pub struct LegStats {
    /// Records pulled from the source.
    pub records_in: AtomicU64,
    /// Bytes pulled from the source.
    pub bytes_in: AtomicU64,
    /// Records whose effect is durable (after transforms).
    pub records_out: AtomicU64,
    /// Records that went to the dead-letter topic.
    pub rejected: AtomicU64,
    /// Batches written.
    pub batches: AtomicU64,
    /// Records the source dropped because it had seen their id.
    pub duplicates: AtomicU64,
    /// Records the source dropped by rule (canaries, error events).
    pub dropped: AtomicU64,
    /// Records that the stream itself skipped, by its own numbering.
    pub gaps: AtomicU64,
    /// Connections the source opened after the first.
    pub reconnects: AtomicU64,
    /// Assignments that changed after the first.
    pub rebalances: AtomicU64,
    /// Milliseconds since the epoch of the newest record whose effect is durable; 0 before any.
    pub newest_ms: AtomicI64,
    lag: Mutex<BTreeMap<i32, i64>>,
    status: Mutex<Status>,
}

/// What a leg is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Status {
    /// Not running yet.
    #[default]
    Starting,
    /// Waiting for something outside to come back: the reason, for a human.
    Waiting(String),
    /// Moving records, or ready to.
    Running,
    /// The source has ended.
    Ended,
    /// Stopped on an error.
    Failed(String),
}

impl LegStats {
    /// What the leg is doing.
    pub fn status(&self) -> Status {
        lock(&self.status).clone()
    }

    /// Say what the leg is doing; true if that is new.
    pub fn set_status(&self, status: Status) -> bool {
        let mut current = lock(&self.status);
        let changed = *current != status;
        *current = status;
        changed
    }

    /// Records of `partition` that are in the topic and not yet pulled.
    pub fn set_lag(&self, partition: i32, records: i64) {
        lock(&self.lag).insert(partition, records);
    }

    /// The partition is no longer ours.
    pub fn clear_lag(&self, partition: i32) {
        lock(&self.lag).remove(&partition);
    }

    /// Lag by partition; empty until the source knows.
    pub fn lag(&self) -> BTreeMap<i32, i64> {
        lock(&self.lag).clone()
    }

    /// Add to a counter.
    pub fn add(counter: &AtomicU64, n: usize) {
        counter.fetch_add(n as u64, Relaxed);
    }

    /// Read a counter.
    pub fn get(counter: &AtomicU64) -> u64 {
        counter.load(Relaxed)
    }
}

/// A poisoned lock still holds plain data that is fit to be read.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
