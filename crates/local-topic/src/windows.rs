//! Tumbling windows on disk: what the Redis sink does with `window`, without Redis.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gristmill_counter::{Increments, Mark, Marks, WindowCounter, WindowCounts};
use gristmill_flow::{LegStats, Sink, SinkError};
use gristmill_record::{Batch, Lane, Positions};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};

use crate::counts::id;
use crate::offsets::{OFFSETS, bounds, elsewhere, misaligned, positions};
use crate::writer::blocking;
use crate::{LocalError, LocalLog};

type WindowKey<'a> = (&'a str, i64, i64, &'a [u8]);

/// (pipeline/connector, end, start, key) → count.
const WINDOWS: TableDefinition<WindowKey<'static>, i64> = TableDefinition::new("windows");
/// (pipeline/connector, when it expires, end, start) of each closed window.
const EXPIRES: TableDefinition<(&str, i64, i64, i64), ()> = TableDefinition::new("expires");
/// (pipeline/connector, topic, partition) → highest event time; [`NO_MARK`] before any.
const MARKS: TableDefinition<(&str, &str, i32), i64> = TableDefinition::new("marks");
/// pipeline/connector → all windows that end by then are final.
const CLOSED: TableDefinition<&str, i64> = TableDefinition::new("closed");
/// (pipeline/connector, key) → records that came too late.
const LATE: TableDefinition<(&str, &[u8]), i64> = TableDefinition::new("late");

const NO_MARK: i64 = i64::MIN;

/// Counts the records of a topic in windows, exactly once.
#[derive(Debug)]
pub struct LocalWindows {
    log: LocalLog,
    id: String,
    counter: WindowCounter,
    marks: Marks,
    keep_ms: i64,
    stats: Arc<LegStats>,
    now_ms: fn() -> i64,
}

/// One counted batch on its way to the thread that commits it.
struct Commit {
    id: String,
    lane: Lane,
    from: Option<i64>,
    next: i64,
    size_ms: i64,
    grace_ms: i64,
    keep_ms: i64,
    now_ms: i64,
    windows: BTreeMap<i64, Increments>,
    late: Increments,
    /// New marks: the lane's, and those of quiet lanes.
    marks: Vec<(Lane, Option<i64>)>,
}

enum Outcome {
    Applied,
    Stored(i64),
    /// Windows and keys whose count would overflow.
    Overflow(HashSet<(i64, Vec<u8>)>),
}

impl LocalWindows {
    /// The windows of `connector` of `pipeline` in the directory of `log`. `stats` tells how far
    /// each partition is read; `now_ms` is the wall clock.
    pub fn new(
        log: LocalLog,
        (pipeline, connector): (&str, &str),
        counter: WindowCounter,
        (keep, idle): (Duration, Duration),
        stats: Arc<LegStats>,
        now_ms: fn() -> i64,
    ) -> Self {
        Self {
            log,
            id: id(pipeline, connector),
            counter,
            marks: Marks::new(idle),
            keep_ms: i64::try_from(keep.as_millis()).unwrap_or(i64::MAX / 4),
            stats,
            now_ms,
        }
    }
}

pub(crate) fn create_tables(db: &Database) -> Result<(), redb::Error> {
    let txn = db.begin_read()?;
    if txn.open_table(LATE).is_ok() {
        return Ok(());
    }
    let txn = db.begin_write()?;
    txn.open_table(WINDOWS)?;
    txn.open_table(EXPIRES)?;
    txn.open_table(MARKS)?;
    txn.open_table(CLOSED)?;
    txn.open_table(LATE)?;
    txn.commit()?;
    Ok(())
}

/// Windows that end after `after_ms`, in the order of their ends.
pub(crate) fn read(
    log: &LocalLog,
    id: &str,
    after_ms: i64,
) -> Result<Vec<WindowCounts>, LocalError> {
    let read = || -> Result<_, redb::Error> {
        let txn = log.counts_db().begin_read()?;
        let closed = txn.open_table(CLOSED)?.get(id)?.map(|edge| edge.value());
        let table = txn.open_table(WINDOWS)?;
        let mut windows: Vec<WindowCounts> = Vec::new();
        let from = after_ms.saturating_add(1);
        for row in table.range((id, from, i64::MIN, &[][..])..)? {
            let (key, count) = row?;
            let (owner, end_ms, start_ms, key) = key.value();
            if owner != id {
                break;
            }
            let same = windows
                .last()
                .is_some_and(|last| (last.end_ms, last.start_ms) == (end_ms, start_ms));
            if !same {
                windows.push(WindowCounts {
                    start_ms,
                    end_ms,
                    closed: closed.is_some_and(|edge| end_ms <= edge),
                    counts: BTreeMap::new(),
                });
            }
            if let Some(window) = windows.last_mut() {
                let key = String::from_utf8_lossy(key).into_owned();
                window.counts.insert(key, count.value());
            }
        }
        Ok(windows)
    };
    read().map_err(LocalError::storage(log.dir()))
}

/// Up to when windows are final.
pub(crate) fn edge(log: &LocalLog, id: &str) -> Result<Option<i64>, LocalError> {
    let read = || -> Result<_, redb::Error> {
        let txn = log.counts_db().begin_read()?;
        Ok(txn.open_table(CLOSED)?.get(id)?.map(|edge| edge.value()))
    };
    read().map_err(LocalError::storage(log.dir()))
}

pub(crate) fn read_late(log: &LocalLog, id: &str) -> Result<BTreeMap<String, i64>, LocalError> {
    let read = || -> Result<_, redb::Error> {
        let txn = log.counts_db().begin_read()?;
        let mut late = BTreeMap::new();
        for row in txn.open_table(LATE)?.range((id, &[][..])..)? {
            let (key, count) = row?;
            let (owner, key) = key.value();
            if owner != id {
                break;
            }
            late.insert(String::from_utf8_lossy(key).into_owned(), count.value());
        }
        Ok(late)
    };
    read().map_err(LocalError::storage(log.dir()))
}

/// Partitions that have an owner hold windows open from now on; what is stored of each.
fn register(log: &LocalLog, id: &str, lanes: &[Lane]) -> Result<Vec<Mark>, redb::Error> {
    let txn = log.counts_db().begin_write()?;
    let mut marks = Vec::new();
    {
        let closed_ms = txn.open_table(CLOSED)?.get(id)?.map(|edge| edge.value());
        let mut table = txn.open_table(MARKS)?;
        for lane in lanes {
            let key = (id, &*lane.topic, lane.partition);
            let stored = table.get(key)?.map(|mark| mark.value());
            if stored.is_none() {
                table.insert(key, NO_MARK)?;
            }
            let at_ms = stored.filter(|mark| *mark != NO_MARK);
            marks.push(Mark { at_ms, closed_ms });
        }
    }
    txn.commit()?;
    Ok(marks)
}

/// Dropping the transaction before its commit undoes it.
fn commit(log: &LocalLog, work: &Commit) -> Result<Outcome, redb::Error> {
    let txn = log.counts_db().begin_write()?;
    {
        let lane = (&*work.id, &*work.lane.topic, work.lane.partition);
        let mut offsets = txn.open_table(OFFSETS)?;
        if let Some(stored) = elsewhere(&offsets, lane, work.from)? {
            return Ok(Outcome::Stored(stored));
        }
        let mut windows = txn.open_table(WINDOWS)?;
        let mut overflow = HashSet::new();
        for (start, keys) in &work.windows {
            for (key, increment) in keys {
                let row = (&*work.id, start + work.size_ms, *start, key.as_slice());
                let count = windows.get(row)?.map_or(0, |count| count.value());
                match count.checked_add_unsigned(*increment) {
                    Some(count) => {
                        windows.insert(row, count)?;
                    }
                    None => {
                        overflow.insert((*start, key.clone()));
                    }
                }
            }
        }
        if !overflow.is_empty() {
            return Ok(Outcome::Overflow(overflow));
        }
        let mut late = txn.open_table(LATE)?;
        for (key, increment) in &work.late {
            let row = (&*work.id, key.as_slice());
            let count = late.get(row)?.map_or(0, |count| count.value());
            late.insert(row, count.saturating_add_unsigned(*increment))?;
        }
        offsets.insert(lane, work.next)?;
        let mut marks = txn.open_table(MARKS)?;
        for (lane, mark) in &work.marks {
            let key = (&*work.id, &*lane.topic, lane.partition);
            marks.insert(key, mark.unwrap_or(NO_MARK))?;
        }
    }
    close(&txn, work)?;
    txn.commit()?;
    Ok(Outcome::Applied)
}

/// What every partition has passed is final; what was final for long enough goes.
fn close(txn: &WriteTransaction, work: &Commit) -> Result<(), redb::Error> {
    let id = &*work.id;
    let marks = txn.open_table(MARKS)?;
    let mut lowest = i64::MAX;
    for row in marks.range((id, &*work.lane.topic, i32::MIN)..=(id, &*work.lane.topic, i32::MAX))? {
        lowest = lowest.min(row?.1.value());
    }
    if lowest == NO_MARK {
        return Ok(());
    }
    let edge = lowest.saturating_sub(work.grace_ms);
    let mut closed = txn.open_table(CLOSED)?;
    let before = closed.get(id)?.map(|edge| edge.value());
    if before.is_some_and(|before| edge <= before) {
        return Ok(());
    }
    closed.insert(id, edge)?;
    let mut windows = txn.open_table(WINDOWS)?;
    let mut expires = txn.open_table(EXPIRES)?;
    let from = before.map_or(i64::MIN, |before| before.saturating_add(1));
    let expiry = work.now_ms.saturating_add(work.keep_ms);
    let first: WindowKey<'_> = (id, from, i64::MIN, &[]);
    let last: WindowKey<'_> = (id, edge.saturating_add(1), i64::MIN, &[]);
    for row in windows.range(first..last)? {
        let (key, _) = row?;
        let (_, end, start, _) = key.value();
        expires.insert((id, expiry, end, start), ())?;
    }
    let mut expired = Vec::new();
    let old = (id, i64::MIN, i64::MIN, i64::MIN)..=(id, work.now_ms, i64::MAX, i64::MAX);
    for row in expires.range(old)? {
        let (_, expiry, end, start) = row?.0.value();
        expired.push((expiry, end, start));
    }
    for (expiry, end, start) in expired {
        expires.remove((id, expiry, end, start))?;
        let first: WindowKey<'_> = (id, end, start, &[]);
        let last: WindowKey<'_> = (id, end, start.saturating_add(1), &[]);
        windows.retain_in(first..last, |_, _| false)?;
    }
    Ok(())
}

impl Sink for LocalWindows {
    async fn positions(&mut self, lanes: &[Lane]) -> Result<Positions, SinkError> {
        let (log, id, ours) = (self.log.clone(), self.id.clone(), lanes.to_vec());
        let marks =
            blocking(move || register(&log, &id, &ours).map_err(LocalError::storage(log.dir())))
                .await?;
        for (lane, mark) in lanes.iter().zip(marks) {
            self.marks.set(lane.clone(), mark, Instant::now());
        }
        positions(&self.log, &self.id, lanes)
    }

    async fn write(&mut self, batch: &Batch) -> Result<(), SinkError> {
        let (from, next) = bounds(batch)?;
        let now_ms = (self.now_ms)();
        let lag = self.stats.lag();
        let done = |partition: i32| lag.get(&partition) == Some(&0);
        let quiet = self.marks.quiet(&batch.lane, Instant::now(), done);
        self.counter
            .count(batch, self.marks.get(&batch.lane), now_ms);
        if !self.counter.refused().is_empty() {
            let refused = self.counter.refused().iter();
            let refused = refused.map(|r| (r.index, r.reason.clone()));
            return Err(SinkError::Reject(refused.collect()));
        }
        let moved = quiet
            .iter()
            .map(|(lane, to_ms)| (lane.clone(), Some(*to_ms)));
        let own = (batch.lane.clone(), self.counter.mark_ms());
        let rules = self.counter.rules();
        let work = Commit {
            id: self.id.clone(),
            lane: batch.lane.clone(),
            from,
            next,
            size_ms: rules.size_ms,
            grace_ms: rules.grace_ms,
            keep_ms: self.keep_ms,
            now_ms,
            windows: self.counter.windows(),
            late: self.counter.late().clone(),
            marks: moved.chain([own]).collect(),
        };
        let log = self.log.clone();
        let outcome =
            blocking(move || commit(&log, &work).map_err(LocalError::storage(log.dir()))).await?;
        match outcome {
            Outcome::Applied => {
                for (lane, to_ms) in quiet {
                    self.marks.moved(&lane, to_ms);
                }
                let mark_ms = self.counter.mark_ms();
                self.marks.advance(&batch.lane, mark_ms, Instant::now());
                let late: u64 = self.counter.late().values().sum();
                LegStats::add(&self.stats.late, late as usize);
                Ok(())
            }
            Outcome::Stored(stored) => Err(misaligned(batch, stored)),
            Outcome::Overflow(bad) => Err(SinkError::Reject(self.counter.records_where(
                batch,
                |start, key| {
                    bad.contains(&(start, key.to_vec()))
                        .then(|| format!("the count of `{}` would overflow", key.escape_ascii()))
                },
            ))),
        }
    }

    fn revoked(&mut self, lanes: &[Lane]) {
        lanes.iter().for_each(|lane| self.marks.forget(lane));
    }
}
