//! A topic as a sink: records, rejects and position in one transaction.

use gristmill_flow::{Sink, SinkError, dead_letter_records};
use gristmill_record::{Batch, Lane, Position, Positions, RecordRef};

use super::broker::{Checkpoint, EDITS, LETTERS, PARTITIONS, Stale, Stored};
use super::stream::event_id;
use super::world::{Lost, Server, World};
use super::{Mutant, ms};

/// Writes one topic. Any call without an answer leaves the write in doubt: a new epoch ends
/// whatever is under way, then the checkpoint tells what became of it.
pub(super) struct TopicWriter {
    world: World,
    /// The transactional id.
    id: String,
    topic: &'static str,
    /// This copy, unlike any other.
    copy: u64,
    /// The epoch, as long as the writer is open.
    epoch: Option<u64>,
    /// Whether it was ever open: who shuts it out then has taken over.
    owner: bool,
    writes: u64,
    doubt: Option<(u64, u64)>,
}

impl TopicWriter {
    pub(super) fn new(world: &World, id: String, topic: &'static str) -> Self {
        let copy = world.lock().rng.u64(1..);
        Self {
            world: world.clone(),
            id,
            topic,
            copy,
            epoch: None,
            owner: false,
            writes: 0,
            doubt: None,
        }
    }

    async fn open(&mut self) -> Result<u64, SinkError> {
        if let Some(epoch) = self.epoch {
            return Ok(epoch);
        }
        let id = self.id.clone();
        let opened = self
            .world
            .call(Server::Broker, move |state| state.open_writer(&id))
            .await;
        let (epoch, owner) = opened.map_err(|Lost| self.retry("opening"))?;
        if !self.owner {
            let (id, copy) = (self.id.clone(), self.copy);
            let owned = self
                .world
                .call(Server::Broker, move |state| {
                    state.own_writer(&id, epoch, copy)
                })
                .await;
            if !matches!(owned, Ok(Ok(()))) {
                return Err(self.retry("taking over"));
            }
            self.owner = true;
        } else if owner != Some(self.copy) && !self.world.lock().is(Mutant::NoFence) {
            return Err(SinkError::Fenced(format!(
                "{}: another copy took over",
                self.id
            )));
        }
        self.epoch = Some(epoch);
        Ok(epoch)
    }

    async fn checkpoint(&mut self, lane: &Lane) -> Result<Option<Checkpoint>, SinkError> {
        let (id, lane) = (self.id.clone(), lane.clone());
        let read = self
            .world
            .call(Server::Broker, move |state| state.checkpoint(&id, &lane))
            .await;
        read.map_err(|Lost| self.retry("reading the checkpoint"))
    }

    fn records(&self, batch: &Batch) -> Vec<(&'static str, i32, Stored)> {
        let letters = dead_letter_records(&batch.lane, &batch.rejects);
        let letters = letters.iter().map(|record| (LETTERS, 0, stored(record)));
        let records = batch
            .records
            .iter()
            .map(|record| match event_id(record.value) {
                Some(id) if self.topic == EDITS => (EDITS, id as i32 % PARTITIONS, stored(record)),
                _ => (self.topic, 0, stored(record)),
            });
        letters.chain(records).collect()
    }

    /// Sort out what came back; without an `Ok` the writer must be opened anew.
    async fn done(&mut self, result: Result<Result<(), Stale>, Lost>) -> Result<(), SinkError> {
        match result {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(Stale)) => {
                self.epoch = None;
                // The broker's own doing (a timeout), or another copy's.
                self.open().await?;
            }
            Err(Lost) => self.epoch = None,
        }
        Err(self.retry("writing"))
    }

    fn retry(&self, doing: &str) -> SinkError {
        SinkError::Retry {
            after: ms(10),
            reason: format!("{}: no answer while {doing}", self.id),
        }
    }
}

impl Sink for TopicWriter {
    async fn positions(&mut self, lanes: &[Lane]) -> Result<Positions, SinkError> {
        self.open().await?;
        let mut positions = Positions::new();
        for lane in lanes {
            if let Some(checkpoint) = self.checkpoint(lane).await? {
                positions.insert(lane.clone(), checkpoint.position);
            }
        }
        if self.topic == LETTERS && self.world.lock().is(Mutant::ForgetsLetters) {
            positions.clear();
        }
        if self.topic == LETTERS && self.world.lock().is(Mutant::LettersByOffset) {
            positions.values_mut().for_each(newest_letter);
        }
        Ok(positions)
    }

    async fn write(&mut self, batch: &Batch) -> Result<(), SinkError> {
        let epoch = self.open().await?;
        if let Some(doubt) = self.doubt
            && !self.world.lock().is(Mutant::RetriedBatchTwice)
        {
            let stored = self.checkpoint(&batch.lane).await?;
            self.doubt = None;
            if stored.is_some_and(|stored| stored.write == doubt) {
                return Ok(());
            }
        }
        self.writes += 1;
        let write = (self.copy, self.writes);
        self.doubt = Some(write);
        let (id, records) = (self.id.clone(), self.records(batch));
        let appended = self
            .world
            .call(Server::Broker, move |state| {
                state.append(&id, epoch, records)
            })
            .await;
        self.done(appended).await?;
        let (id, lane) = (self.id.clone(), batch.lane.clone());
        let checkpoint = Checkpoint {
            position: batch.next.clone(),
            write,
        };
        let committed = self
            .world
            .call(Server::Broker, move |state| {
                state.commit(&id, epoch, &lane, checkpoint)
            })
            .await;
        self.done(committed).await?;
        self.doubt = None;
        Ok(())
    }

    fn takes_rejects(&self) -> bool {
        true
    }
}

fn stored(record: RecordRef<'_>) -> Stored {
    let headers = record.headers.iter();
    Stored {
        timestamp_ms: record.timestamp_ms,
        value: record.value.to_vec(),
        headers: headers
            .map(|(name, value)| (name.to_owned(), value.to_vec()))
            .collect(),
    }
}

/// [`Mutant::LettersByOffset`]: the checkpoint of dead letters as a mere offset.
fn newest_letter(checkpoint: &mut Position) {
    let newest = stream_position(checkpoint).and_then(|(_, letters)| letters.into_iter().max());
    *checkpoint = Position::Offset(newest.map_or(0, |newest| newest as i64 + 1));
}

/// The position that a token tells, for the source and for the invariants.
pub(super) fn stream_position(position: &Position) -> Option<(usize, Vec<usize>)> {
    let Position::Token(token) = position else {
        return None;
    };
    let (next, rejected) = token.split_once(';')?;
    let rejected = rejected.split(',').filter(|id| !id.is_empty());
    Some((
        next.parse().ok()?,
        rejected.map(str::parse).collect::<Result<_, _>>().ok()?,
    ))
}
