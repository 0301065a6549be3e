//! What a leg tells the outside while it runs.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use gristmill_record::{Batch, Records};

use crate::histogram::Histogram;
use crate::refusals::Refusals;

/// Milliseconds from an event to its effect: a live stream is at the left, a backlog at the right.
const LATENCY_MS: &[u64] = &[
    10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 300_000, 3_600_000,
];
/// Records of a batch.
const BATCH_RECORDS: &[u64] = &[0, 1, 10, 50, 100, 500, 1_000, 5_000, 10_000];
/// Microseconds of one step of the loop.
const STEP_US: &[u64] = &[
    100, 500, 1_000, 5_000, 10_000, 50_000, 100_000, 500_000, 1_000_000, 5_000_000,
];

/// Counters and state of one leg; written by the leg and its source, read by whoever watches.
///
/// Counters only grow and are in records unless named otherwise. Relaxed order is enough: each is
/// read alone, for display.
#[derive(Debug)]
pub struct LegStats {
    /// Records pulled from the source.
    pub records_in: AtomicU64,
    /// Bytes pulled from the source.
    pub bytes_in: AtomicU64,
    /// Records whose effect is durable (after transforms).
    pub records_out: AtomicU64,
    /// Bytes of the records whose effect is durable.
    pub bytes_out: AtomicU64,
    /// Records that went to the dead-letter topic.
    pub rejected: AtomicU64,
    /// Batches written.
    pub batches: AtomicU64,
    /// Records the source dropped because it had seen their id.
    pub duplicates: AtomicU64,
    /// Records the source dropped by rule (canaries, error events).
    pub dropped: AtomicU64,
    /// Records that came after their window had closed and are counted as such.
    pub late: AtomicU64,
    /// Records that the stream itself skipped, by its own numbering.
    pub gaps: AtomicU64,
    /// Connections the source opened after the first.
    pub reconnects: AtomicU64,
    /// Assignments that changed after the first.
    pub rebalances: AtomicU64,
    /// Partitions of the topic that a sink reads, over all members of its consumer group; 0 where
    /// that is not known.
    pub partitions: AtomicU64,
    /// Milliseconds since the epoch of the newest record whose effect is durable; 0 before any.
    pub newest_ms: AtomicI64,
    /// Milliseconds since the epoch when the source last gave an event (with its position: an id
    /// or an offset); 0 before any, or without a clock.
    pub last_event_ms: AtomicI64,
    /// Times that the leg waited for something outside.
    pub waits: AtomicU64,
    /// Records of each batch written.
    pub batch_records: Histogram,
    /// Milliseconds from each record's own time to its durable effect; nothing without a clock.
    pub latency_ms: Histogram,
    /// Microseconds that each batch spent in the transform.
    pub transform_us: Histogram,
    /// Microseconds that the write of each batch took, waits for a retry not included.
    pub write_us: Histogram,
    /// Rejects by stage and kind of reason.
    pub refusals: Refusals,
    clock_ms: Option<fn() -> i64>,
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

impl Default for LegStats {
    fn default() -> Self {
        Self {
            records_in: AtomicU64::default(),
            bytes_in: AtomicU64::default(),
            records_out: AtomicU64::default(),
            bytes_out: AtomicU64::default(),
            rejected: AtomicU64::default(),
            batches: AtomicU64::default(),
            duplicates: AtomicU64::default(),
            dropped: AtomicU64::default(),
            late: AtomicU64::default(),
            gaps: AtomicU64::default(),
            reconnects: AtomicU64::default(),
            rebalances: AtomicU64::default(),
            partitions: AtomicU64::default(),
            newest_ms: AtomicI64::default(),
            last_event_ms: AtomicI64::default(),
            waits: AtomicU64::default(),
            batch_records: Histogram::new(BATCH_RECORDS),
            latency_ms: Histogram::new(LATENCY_MS),
            transform_us: Histogram::new(STEP_US),
            write_us: Histogram::new(STEP_US),
            refusals: Refusals::default(),
            clock_ms: None,
            lag: Mutex::default(),
            status: Mutex::default(),
        }
    }
}

impl LegStats {
    /// Statistics with a wall clock (milliseconds since the epoch), which latencies need. The leg
    /// itself must not look at one: a simulation runs it on time of its own.
    pub fn with_clock(clock_ms: fn() -> i64) -> Self {
        Self {
            clock_ms: Some(clock_ms),
            ..Self::default()
        }
    }

    /// These came from the source.
    pub(crate) fn pulled(&self, records: &Records) {
        Self::add(&self.records_in, records.len());
        Self::add(&self.bytes_in, records.bytes());
        if let Some(clock) = self.clock_ms.filter(|_| !records.is_empty()) {
            self.last_event_ms.store(clock(), Relaxed);
        }
    }

    /// The transform took this long for a batch.
    pub(crate) fn transformed(&self, took: Duration) {
        self.transform_us.add(took.as_micros() as u64);
    }

    /// The effect of `batch` is durable; its write took this long.
    pub(crate) fn written(&self, batch: &Batch, took: Duration) {
        Self::add(&self.records_out, batch.records.len());
        Self::add(&self.bytes_out, batch.records.bytes());
        Self::add(&self.rejected, batch.rejects.len());
        Self::add(&self.batches, 1);
        self.batch_records.add(batch.records.len() as u64);
        self.write_us.add(took.as_micros() as u64);
        for reject in &batch.rejects {
            self.refusals.add(&reject.stage, &reject.reason);
        }
        let times = batch.records.iter().map(|record| record.timestamp_ms);
        if let Some(newest) = times.clone().max() {
            self.newest_ms.fetch_max(newest, Relaxed);
        }
        if let Some(clock) = self.clock_ms {
            let now = clock();
            // -1 is no time at all; an event from the future has no latency yet.
            let known = times.filter(|at| *at >= 0);
            let late = known.map(|at| u64::try_from(now - at).unwrap_or(0));
            self.latency_ms.add_all(late);
        }
    }
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
