//! Running counts on disk: what the Redis sink does, without Redis.

use std::collections::{BTreeMap, HashMap};

use gristmill_counter::{Coalescer, KeyTemplate};
use gristmill_flow::{Sink, SinkError};
use gristmill_record::{Batch, Lane, Positions};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

use crate::offsets::{OFFSETS, bounds, elsewhere, misaligned, positions};
use crate::writer::blocking;
use crate::{LocalError, LocalLog};

/// (pipeline/connector, key) → count.
const COUNTS: TableDefinition<(&str, &[u8]), i64> = TableDefinition::new("counts");

/// Counts the records of a topic, exactly once: counts and next offset of a partition in one
/// commit.
#[derive(Debug)]
pub struct LocalCounts {
    log: LocalLog,
    id: String,
    coalescer: Coalescer,
}

/// What became of a commit.
enum Outcome {
    Applied,
    Stored(i64),
    /// Keys whose count would overflow.
    Overflow(Vec<Vec<u8>>),
}

/// One coalesced batch on its way to the thread that commits it.
struct Commit {
    id: String,
    lane: Lane,
    from: Option<i64>,
    next: i64,
    increments: Vec<(Vec<u8>, u64)>,
}

impl LocalCounts {
    /// The counts of `connector` of `pipeline` in the directory of `log`; a second life under the
    /// same names goes on where the first one stopped.
    pub fn new(log: LocalLog, pipeline: &str, connector: &str, template: KeyTemplate) -> Self {
        Self {
            log,
            id: id(pipeline, connector),
            coalescer: Coalescer::new(template),
        }
    }

    /// Every key with its count; bytes that are no UTF-8 show as U+FFFD.
    ///
    /// # Errors
    /// [`LocalError::Storage`].
    pub fn counts(&self) -> Result<BTreeMap<String, i64>, LocalError> {
        read(&self.log, &self.id)
    }
}

/// Under what name a connector's counts are stored.
pub(crate) fn id(pipeline: &str, connector: &str) -> String {
    format!("{pipeline}/{connector}")
}

pub(crate) fn create_tables(db: &Database) -> Result<(), redb::Error> {
    let txn = db.begin_read()?;
    if txn.open_table(OFFSETS).is_ok() {
        return Ok(());
    }
    let txn = db.begin_write()?;
    txn.open_table(COUNTS)?;
    txn.open_table(OFFSETS)?;
    txn.commit()?;
    Ok(())
}

pub(crate) fn read(log: &LocalLog, id: &str) -> Result<BTreeMap<String, i64>, LocalError> {
    let read = || -> Result<_, redb::Error> {
        let txn = log.counts_db().begin_read()?;
        let table = txn.open_table(COUNTS)?;
        let mut counts = BTreeMap::new();
        for row in table.range((id, &[][..])..)? {
            let (key, count) = row?;
            let (owner, key) = key.value();
            if owner != id {
                break;
            }
            counts.insert(String::from_utf8_lossy(key).into_owned(), count.value());
        }
        Ok(counts)
    };
    read().map_err(LocalError::storage(log.dir()))
}

/// Dropping the transaction before its commit undoes it.
fn commit(log: &LocalLog, work: &Commit) -> Result<Outcome, redb::Error> {
    let lane = (&*work.id, &*work.lane.topic, work.lane.partition);
    let txn = log.counts_db().begin_write()?;
    {
        let mut offsets = txn.open_table(OFFSETS)?;
        if let Some(stored) = elsewhere(&offsets, lane, work.from)? {
            return Ok(Outcome::Stored(stored));
        }
        let mut counts = txn.open_table(COUNTS)?;
        let mut overflow = Vec::new();
        for (key, increment) in &work.increments {
            let row = (&*work.id, key.as_slice());
            let count = counts.get(row)?.map_or(0, |count| count.value());
            match count.checked_add_unsigned(*increment) {
                Some(count) => {
                    counts.insert(row, count)?;
                }
                None => overflow.push(key.clone()),
            }
        }
        if !overflow.is_empty() {
            return Ok(Outcome::Overflow(overflow));
        }
        offsets.insert(lane, work.next)?;
    }
    txn.commit()?;
    Ok(Outcome::Applied)
}

impl Sink for LocalCounts {
    async fn positions(&mut self, lanes: &[Lane]) -> Result<Positions, SinkError> {
        positions(&self.log, &self.id, lanes)
    }

    async fn write(&mut self, batch: &Batch) -> Result<(), SinkError> {
        let (from, next) = bounds(batch)?;
        self.coalescer.count(batch);
        let refused = self.coalescer.refused();
        if !refused.is_empty() {
            let refused = refused.iter().map(|r| (r.index, r.reason.to_string()));
            return Err(SinkError::Reject(refused.collect()));
        }
        let increments = self.coalescer.increments();
        let work = Commit {
            id: self.id.clone(),
            lane: batch.lane.clone(),
            from,
            next,
            increments: increments.map(|(key, n)| (key.to_vec(), n)).collect(),
        };
        let log = self.log.clone();
        let outcome =
            blocking(move || commit(&log, &work).map_err(LocalError::storage(log.dir()))).await?;
        match outcome {
            Outcome::Applied => Ok(()),
            Outcome::Stored(stored) => Err(misaligned(batch, stored)),
            Outcome::Overflow(keys) => {
                let keys: HashMap<Vec<u8>, ()> = keys.into_iter().map(|key| (key, ())).collect();
                Err(SinkError::Reject(self.coalescer.records_where(
                    batch,
                    |key| {
                        keys.contains_key(key).then(|| {
                            format!("the count of `{}` would overflow", key.escape_ascii())
                        })
                    },
                )))
            }
        }
    }
}
