//! What a leg tells the outside while it runs.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gristmill_record::{Batch, Records};

use crate::histogram::Histogram;
use crate::refusals::Refusals;
use crate::tap::Tap;

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

/// Counters and state of a stage; written by its legs and their sources, read by whoever watches.
///
/// A stage that runs in several [copies](Self::copy) has one set of counters, to which all of them
/// add. State and lag are each copy's own; the stage's are made of them.
#[derive(Debug, Default)]
pub struct LegStats {
    counters: Arc<Counters>,
    /// Batches that this copy wrote.
    batches_here: AtomicU64,
    lag: Mutex<BTreeMap<i32, i64>>,
    status: Mutex<Status>,
    copies: Mutex<BTreeMap<String, Arc<LegStats>>>,
}

/// What only grows, in records unless named otherwise. Relaxed order is enough: each is read alone,
/// for display.
#[derive(Debug)]
pub struct Counters {
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
    /// Partitions that a sink's source shares with the other members of its consumer group, as the
    /// source itself found them: all of the topic's, or those that its configuration names; 0 until
    /// it knows.
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
    /// Microseconds until the leg saw that a batch was written, waits for a retry not included:
    /// under a backlog the transform of the batch behind it is part of that.
    pub write_us: Histogram,
    /// Rejects by stage and kind of reason.
    pub refusals: Refusals,
    /// Copies of records whose effect is durable, for whoever looks.
    pub tap: Tap,
    clock_ms: Option<fn() -> i64>,
}

/// What a leg is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
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

impl Default for Counters {
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
            tap: Tap::default(),
            clock_ms: None,
        }
    }
}

impl LegStats {
    /// Statistics with a wall clock (milliseconds since the epoch), which latencies need. The leg
    /// itself must not look at one: a simulation runs it on time of its own.
    pub fn with_clock(clock_ms: fn() -> i64) -> Self {
        let counters = Counters {
            clock_ms: Some(clock_ms),
            ..Counters::default()
        };
        Self {
            counters: Arc::new(counters),
            ..Self::default()
        }
    }

    /// The statistics of copy `name` of this stage, which starts now: whatever an earlier copy of
    /// this name said of its state is forgotten, what it counted stays.
    #[must_use]
    pub fn copy(&self, name: &str) -> Arc<Self> {
        let copy = Arc::new(Self {
            counters: Arc::clone(&self.counters),
            ..Self::default()
        });
        lock(&self.copies).insert(name.to_owned(), Arc::clone(&copy));
        copy
    }

    /// Copy `name` is no longer a part of this stage.
    pub fn forget(&self, name: &str) {
        lock(&self.copies).remove(name);
    }

    /// Batches that this copy wrote since it started; `batches` are those of all copies.
    pub fn batches_here(&self) -> u64 {
        Self::get(&self.batches_here)
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
        Self::add(&self.batches_here, 1);
        self.batch_records.add(batch.records.len() as u64);
        self.write_us.add(took.as_micros() as u64);
        let now = self.clock_ms.map(|clock| clock());
        self.refusals.written(batch, now.unwrap_or_default());
        self.tap.passed(batch);
        let times = batch.records.iter().map(|record| record.timestamp_ms);
        if let Some(newest) = times.clone().max() {
            self.newest_ms.fetch_max(newest, Relaxed);
        }
        if let Some(now) = now {
            // -1 is no time at all; an event from the future has no latency yet.
            let known = times.filter(|at| *at >= 0);
            let late = known.map(|at| u64::try_from(now - at).unwrap_or(0));
            self.latency_ms.add_all(late);
        }
    }

    /// What the leg is doing. Of several copies it is what most needs to be known: one that failed,
    /// one that waits, one that starts; ended is a stage whose copies all have.
    pub fn status(&self) -> Status {
        let copies = lock(&self.copies);
        let most = copies
            .values()
            .map(|copy| copy.status())
            .max_by_key(urgency);
        most.unwrap_or_else(|| lock(&self.status).clone())
    }

    /// Say what the leg is doing, or what all copies do; true if that is new.
    pub fn set_status(&self, status: Status) -> bool {
        for copy in lock(&self.copies).values() {
            copy.set_status(status.clone());
        }
        let mut current = lock(&self.status);
        let changed = *current != status;
        *current = status;
        changed
    }

    /// Records of `partition` that are in the topic and not yet pulled.
    pub fn set_lag(&self, partition: i32, records: i64) {
        lock(&self.lag).insert(partition, records);
    }

    /// The lag of every partition, those that are not in it being no longer ours.
    pub(crate) fn set_lags(&self, lags: BTreeMap<i32, i64>) {
        *lock(&self.lag) = lags;
    }

    /// The partition is no longer ours.
    pub fn clear_lag(&self, partition: i32) {
        lock(&self.lag).remove(&partition);
    }

    /// Lag by partition, of all copies; empty until the source knows.
    pub fn lag(&self) -> BTreeMap<i32, i64> {
        let mut all = lock(&self.lag).clone();
        for copy in lock(&self.copies).values() {
            for (partition, records) in copy.lag() {
                // On its way from one copy to the other both may name it.
                let lag = all.entry(partition).or_insert(records);
                *lag = records.max(*lag);
            }
        }
        all
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

impl Deref for LegStats {
    type Target = Counters;

    fn deref(&self) -> &Counters {
        &self.counters
    }
}

fn urgency(status: &Status) -> u8 {
    match status {
        Status::Ended => 0,
        Status::Running => 1,
        Status::Starting => 2,
        Status::Waiting(_) => 3,
        Status::Failed(_) => 4,
    }
}

/// A poisoned lock still holds plain data that is fit to be read.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_is_the_sum_of_its_copies() {
        let stage = LegStats::default();
        let waiting = || Status::Waiting("no broker".to_owned());
        stage.set_status(waiting());
        assert_eq!(stage.status(), waiting(), "before any copy");
        let (a, b) = (stage.copy("1"), stage.copy("2"));
        assert_eq!(stage.status(), Status::Starting);
        for (copy, partition, lag) in [(&a, 0, 5), (&b, 1, 7), (&b, 0, 3)] {
            LegStats::add(&copy.records_in, 10);
            copy.set_lag(partition, lag);
            copy.set_status(Status::Running);
        }
        assert_eq!(LegStats::get(&stage.records_in), 30);
        assert_eq!(stage.lag(), [(0, 5), (1, 7)].into());
        assert_eq!(b.lag(), [(0, 3), (1, 7)].into(), "its own");
        a.clear_lag(0);
        assert_eq!(stage.lag(), [(0, 3), (1, 7)].into());

        for (copy, status, expect) in [
            (&a, Status::Ended, Status::Running),
            (&a, waiting(), waiting()),
            (
                &b,
                Status::Failed("x".to_owned()),
                Status::Failed("x".to_owned()),
            ),
        ] {
            copy.set_status(status);
            assert_eq!(stage.status(), expect);
        }
        stage.forget("2");
        assert_eq!(stage.status(), waiting());
        assert_eq!(
            LegStats::get(&stage.records_in),
            30,
            "what was counted stays"
        );
        let again = stage.copy("1");
        assert_eq!(stage.status(), Status::Starting);
        assert_eq!((again.batches_here(), stage.lag().len()), (0, 0));
        stage.set_status(Status::Ended);
        assert_eq!(again.status(), Status::Ended);
    }
}
