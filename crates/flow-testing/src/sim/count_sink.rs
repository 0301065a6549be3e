//! The store as a sink: what the Redis sink does, on the model's store.

use std::collections::BTreeMap;

use gristmill_flow::{DeadLetters, Sink, SinkError};
use gristmill_record::{Batch, Lane, Position, Positions};

use super::store::{Answer, Apply};
use super::world::{Lost, Server, World};
use super::{Mutant, ms};

pub(super) struct CountSink {
    world: World,
    /// Next offset of each lane as last read or written.
    known: BTreeMap<Lane, i64>,
    /// Batches (first and next offset) whose outcome nobody told us.
    unsure: BTreeMap<Lane, (Option<i64>, i64)>,
}

impl CountSink {
    pub(super) fn new(world: &World) -> Self {
        Self {
            world: world.clone(),
            known: BTreeMap::new(),
            unsure: BTreeMap::new(),
        }
    }

    async fn apply(&self, mut apply: Apply) -> Result<Answer, Lost> {
        if self.world.lock().is(Mutant::PositionBeforeEffect) {
            let position = Apply {
                counts: BTreeMap::new(),
                ..apply.clone()
            };
            let answer = self
                .world
                .call(Server::Store, move |state| state.apply(&position))
                .await?;
            if answer != Answer::Applied {
                return Ok(answer);
            }
            apply.checked = false;
        }
        self.world
            .call(Server::Store, move |state| state.apply(&apply))
            .await
    }
}

impl Sink for CountSink {
    async fn positions(&mut self, lanes: &[Lane]) -> Result<Positions, SinkError> {
        let offsets = self
            .world
            .call(Server::Store, |state| state.store.offsets.clone())
            .await;
        let offsets = offsets.map_err(|Lost| retry())?;
        let mut positions = Positions::new();
        for lane in lanes {
            match offsets.get(&lane.partition) {
                None => drop(self.known.remove(lane)),
                Some(offset) => {
                    self.known.insert(lane.clone(), *offset);
                    positions.insert(lane.clone(), Position::Offset(*offset));
                }
            }
        }
        Ok(positions)
    }

    async fn write(&mut self, batch: &Batch) -> Result<(), SinkError> {
        let lane = &batch.lane;
        let from = batch.from.as_ref().and_then(Position::offset);
        let next = batch.next.offset().unwrap_or_default();
        let mut counts = BTreeMap::new();
        for record in batch.records.iter() {
            *counts
                .entry(String::from_utf8_lossy(record.value).into_owned())
                .or_default() += 1;
        }
        let doubted = self.unsure.get(lane) == Some(&(from, next));
        let apply = Apply {
            partition: lane.partition,
            from,
            next,
            first: !self.known.contains_key(lane),
            counts,
            checked: !(doubted && self.world.lock().is(Mutant::RetriedBatchTwice)),
        };
        let answer = self.apply(apply).await.map_err(|Lost| {
            self.unsure.insert(lane.clone(), (from, next));
            retry()
        })?;
        match answer {
            Answer::Applied => {}
            Answer::Stored(Some(stored)) if stored == next && doubted => {}
            Answer::Stored(stored) => {
                self.unsure.remove(lane);
                return Err(SinkError::Misaligned {
                    lane: lane.clone(),
                    stored: stored.map(Position::Offset),
                    reason: "someone else went on, or the store was taken back".to_owned(),
                });
            }
            Answer::Uncountable(keys) => {
                let refused =
                    batch.records.iter().enumerate().filter(|(_, record)| {
                        keys.iter().any(|key| key.as_bytes() == record.value)
                    });
                let refused = refused.map(|(index, _)| (index, "uncountable".to_owned()));
                return Err(SinkError::Reject(refused.collect()));
            }
        }
        self.unsure.remove(lane);
        self.known.insert(lane.clone(), next);
        Ok(())
    }

    fn revoked(&mut self, lanes: &[Lane]) {
        for lane in lanes {
            self.known.remove(lane);
            self.unsure.remove(lane);
        }
    }
}

fn retry() -> SinkError {
    SinkError::Retry {
        after: ms(10),
        reason: "no answer of the store".to_owned(),
    }
}

/// [`Mutant::LettersAfterPosition`]: a leg that writes its sink first.
pub(super) struct LettersAfter<K, D>(pub(super) K, pub(super) D);

impl<K: Sink, D: DeadLetters> Sink for LettersAfter<K, D> {
    async fn positions(&mut self, lanes: &[Lane]) -> Result<Positions, SinkError> {
        self.0.positions(lanes).await
    }

    async fn write(&mut self, batch: &Batch) -> Result<(), SinkError> {
        self.0.write(batch).await?;
        self.1.write(batch).await
    }

    fn takes_rejects(&self) -> bool {
        true
    }

    fn revoked(&mut self, lanes: &[Lane]) {
        self.0.revoked(lanes);
        self.1.revoked(lanes);
    }
}
