//! Topics with transactions: what Kafka promises of them, and no more.
//!
//! A transaction's records lie in their partitions from the moment they are appended, and a reader
//! of committed records stops before the first of an open one. A marker ends it, with an offset of
//! its own. A writer is known by its transactional id; opening it anew ends what the last life left
//! open and shuts that life out.

use std::collections::BTreeMap;

use gristmill_record::{Lane, Position};

use super::Mutant;
use super::world::State;

/// Partitions of the topic.
pub(super) const PARTITIONS: i32 = 3;
/// The topic that events go to.
pub(super) const EDITS: &str = "edits";
/// Where rejects of both legs go; one partition.
pub(super) const LETTERS: &str = "edits.dead-letter";
/// When the broker aborts a transaction of a writer that is heard of no more.
const TRANSACTION_TIMEOUT_MS: u64 = 1_000;

#[derive(Default)]
pub(super) struct Broker {
    partitions: BTreeMap<(&'static str, i32), Vec<Slot>>,
    writers: BTreeMap<String, Writer>,
}

/// A record as the broker keeps it.
#[derive(Debug, Clone, Default)]
pub(super) struct Stored {
    pub(super) timestamp_ms: i64,
    pub(super) value: Vec<u8>,
    pub(super) headers: Vec<(String, Vec<u8>)>,
}

struct Slot {
    /// `None` for a marker.
    record: Option<Stored>,
    state: SlotState,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum SlotState {
    Open,
    Committed,
    Aborted,
}

#[derive(Default)]
struct Writer {
    epoch: u64,
    /// The copy that opened it last.
    owner: Option<u64>,
    open: Option<Transaction>,
    checkpoints: BTreeMap<Lane, Checkpoint>,
}

struct Transaction {
    since_ms: u64,
    slots: Vec<(&'static str, i32, usize)>,
}

/// What a writer stores of a lane.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Checkpoint {
    pub(super) position: Position,
    /// Which write it was: no two are the same.
    pub(super) write: (u64, u64),
}

/// The caller's epoch is over: another life or another copy opened the writer.
#[derive(Debug)]
pub(super) struct Stale;

/// Records of a partition and the offset behind them.
pub(super) struct Fetched {
    pub(super) records: Vec<(i64, Stored)>,
    pub(super) next: i64,
}

impl State {
    /// Open the writer: its new epoch, and the copy that owns it.
    pub(super) fn open_writer(&mut self, id: &str) -> (u64, Option<u64>) {
        self.end_transaction(id, SlotState::Aborted);
        let writer = self.broker.writers.entry(id.to_owned()).or_default();
        writer.epoch += 1;
        (writer.epoch, writer.owner)
    }

    /// From now on the writer is `copy`'s.
    pub(super) fn own_writer(&mut self, id: &str, epoch: u64, copy: u64) -> Result<(), Stale> {
        self.writer(id, epoch)?.owner = Some(copy);
        Ok(())
    }

    /// Append records to the writer's transaction, which begins if there is none.
    pub(super) fn append(
        &mut self,
        id: &str,
        epoch: u64,
        records: Vec<(&'static str, i32, Stored)>,
    ) -> Result<(), Stale> {
        let since_ms = self.now_ms();
        self.writer(id, epoch)?;
        let mut slots = Vec::with_capacity(records.len());
        for (topic, partition, record) in records {
            let log = self
                .broker
                .partitions
                .entry((topic, partition))
                .or_default();
            slots.push((topic, partition, log.len()));
            log.push(Slot {
                record: Some(record),
                state: SlotState::Open,
            });
        }
        let writer = self.writer(id, epoch)?;
        let open = writer.open.get_or_insert(Transaction {
            since_ms,
            slots: Vec::new(),
        });
        open.slots.extend(slots);
        Ok(())
    }

    /// Commit the writer's transaction with a checkpoint of `lane`, in one step.
    pub(super) fn commit(
        &mut self,
        id: &str,
        epoch: u64,
        lane: &Lane,
        checkpoint: Checkpoint,
    ) -> Result<(), Stale> {
        let writer = self.writer(id, epoch)?;
        if writer.open.is_none() {
            // The broker timed it out.
            return Err(Stale);
        }
        writer.checkpoints.insert(lane.clone(), checkpoint.clone());
        let committed = self.end_transaction(id, SlotState::Committed);
        self.note(|| {
            format!(
                "commit {id} {lane}: {} records, {checkpoint:?}",
                committed.len()
            )
        });
        self.check_commit(committed, lane, &checkpoint.position);
        Ok(())
    }

    pub(super) fn checkpoint(&self, id: &str, lane: &Lane) -> Option<Checkpoint> {
        self.broker.writers.get(id)?.checkpoints.get(lane).cloned()
    }

    /// Committed records from `from` on, at most `max` of them.
    pub(super) fn fetch(
        &mut self,
        topic: &'static str,
        partition: i32,
        from: i64,
        max: usize,
    ) -> Fetched {
        self.time_out_transactions();
        let dirty = self.is(Mutant::ReadUncommitted) && topic == EDITS;
        let mut fetched = Fetched {
            records: Vec::new(),
            next: from,
        };
        let Some(log) = self.broker.partitions.get(&(topic, partition)) else {
            return fetched;
        };
        for slot in log.iter().skip(from as usize) {
            if slot.state == SlotState::Open && !dirty || fetched.records.len() == max {
                break;
            }
            if let Some(record) = &slot.record
                && (slot.state == SlotState::Committed || dirty)
            {
                fetched.records.push((fetched.next, record.clone()));
            }
            fetched.next += 1;
        }
        fetched
    }

    /// The offset behind the last committed record or marker.
    pub(super) fn end_offset(&mut self, partition: i32) -> i64 {
        self.time_out_transactions();
        let log = self.broker.partitions.get(&(EDITS, partition));
        let stable = log.map(|log| log.iter().take_while(|slot| slot.state != SlotState::Open));
        stable.map_or(0, |stable| stable.count() as i64)
    }

    /// The committed records of the topic below `end`.
    pub(super) fn committed_below(
        &self,
        partition: i32,
        end: i64,
    ) -> impl Iterator<Item = (i64, &Stored)> {
        let log = self.broker.partitions.get(&(EDITS, partition));
        let slots = log.into_iter().flatten().enumerate().take(end as usize);
        slots
            .filter(|(_, slot)| slot.state == SlotState::Committed)
            .filter_map(|(offset, slot)| Some((offset as i64, slot.record.as_ref()?)))
    }

    fn writer(&mut self, id: &str, epoch: u64) -> Result<&mut Writer, Stale> {
        let fenced = !self.is(Mutant::NoFence);
        match self.broker.writers.get_mut(id) {
            Some(writer) if writer.epoch == epoch || !fenced => Ok(writer),
            _ => Err(Stale),
        }
    }

    /// Put an end to the writer's open transaction. Returns where its records are.
    fn end_transaction(&mut self, id: &str, end: SlotState) -> Vec<(&'static str, i32, usize)> {
        let open = self
            .broker
            .writers
            .get_mut(id)
            .and_then(|writer| writer.open.take());
        let slots = open.map(|open| open.slots).unwrap_or_default();
        let mut touched: Vec<(&'static str, i32)> = Vec::new();
        for (topic, partition, index) in &slots {
            if let Some(log) = self.broker.partitions.get_mut(&(*topic, *partition)) {
                log[*index].state = end;
            }
            if !touched.contains(&(topic, *partition)) {
                touched.push((topic, *partition));
            }
        }
        for place in touched {
            let log = self.broker.partitions.entry(place).or_default();
            log.push(Slot {
                record: None,
                state: end,
            });
        }
        slots
    }

    fn time_out_transactions(&mut self) {
        let now_ms = self.now_ms();
        let old = |writer: &Writer| {
            writer
                .open
                .as_ref()
                .is_some_and(|open| open.since_ms + TRANSACTION_TIMEOUT_MS < now_ms)
        };
        let ids: Vec<String> = self
            .broker
            .writers
            .iter()
            .filter(|(_, w)| old(w))
            .map(|(id, _)| id.clone())
            .collect();
        for id in ids {
            self.note(|| format!("broker: transaction of {id} timed out"));
            self.end_transaction(&id, SlotState::Aborted);
            if let Some(writer) = self.broker.writers.get_mut(&id) {
                writer.epoch += 1;
            }
        }
    }

    pub(super) fn record(
        &self,
        (topic, partition, index): (&'static str, i32, usize),
    ) -> Option<&Stored> {
        self.broker
            .partitions
            .get(&(topic, partition))?
            .get(index)?
            .record
            .as_ref()
    }
}
