//! The topic as a source: lanes that come and go, and batches read ahead.

use std::collections::{BTreeMap, VecDeque};

use gristmill_flow::{Source, SourceError, SourceEvent};
use gristmill_record::{Batch, Lane, Position, Positions, RecordRef, Records};
use tokio::time::sleep;

use super::broker::{EDITS, Fetched};
use super::ms;
use super::world::{Lost, Server, World};

/// Records that one batch takes.
const BATCH: usize = 8;
/// Batches read ahead of each fetch.
const AHEAD: usize = 3;
/// How often `next` asks the group; between, the member believes what it knew.
const HEARTBEAT_PERCENT: u32 = 50;

pub(super) struct GroupReader {
    world: World,
    member: u64,
    /// Partitions that we believe to own; with an offset once they are resumed.
    lanes: BTreeMap<i32, Option<i64>>,
    ahead: VecDeque<Batch>,
}

impl GroupReader {
    pub(super) fn new(world: &World) -> Self {
        let member = world.lock().rng.u64(1..1_000_000);
        Self {
            world: world.clone(),
            member,
            lanes: BTreeMap::new(),
            ahead: VecDeque::new(),
        }
    }

    /// What the group changed.
    fn heartbeat(&mut self) -> Option<SourceEvent> {
        let mut state = self.world.lock();
        if !state.calm && !state.percent(HEARTBEAT_PERCENT) {
            return None;
        }
        let now = state.heartbeat(self.member);
        drop(state);
        let gone: Vec<i32> = self
            .lanes
            .keys()
            .copied()
            .filter(|p| !now.contains(p))
            .collect();
        if !gone.is_empty() {
            self.lanes.retain(|partition, _| !gone.contains(partition));
            self.ahead
                .retain(|batch| !gone.contains(&batch.lane.partition));
            return Some(SourceEvent::Revoked(gone.into_iter().map(lane).collect()));
        }
        let new: Vec<i32> = now
            .into_iter()
            .filter(|p| !self.lanes.contains_key(p))
            .collect();
        if new.is_empty() {
            return None;
        }
        self.lanes
            .extend(new.iter().map(|partition| (*partition, None)));
        Some(SourceEvent::Assigned(new.into_iter().map(lane).collect()))
    }

    /// Read ahead in all lanes, with one call.
    async fn fetch(&mut self) -> Result<(), SourceError> {
        let mut asked: Vec<(i32, i64, [usize; AHEAD])> = Vec::new();
        for (partition, offset) in &self.lanes {
            if let Some(offset) = offset {
                let mut state = self.world.lock();
                asked.push((
                    *partition,
                    *offset,
                    [(); AHEAD].map(|()| state.rng.usize(1..=BATCH)),
                ));
            }
        }
        if asked.is_empty() {
            return Ok(());
        }
        let fetched = self.world.call(Server::Broker, move |state| {
            let mut batches = Vec::new();
            for (partition, mut offset, most) in asked {
                for most in most {
                    let fetched = state.fetch(EDITS, partition, offset, most);
                    let from = std::mem::replace(&mut offset, fetched.next);
                    if from < fetched.next {
                        batches.push((partition, from, fetched));
                    }
                }
            }
            batches
        });
        let fetched = fetched.await.map_err(|Lost| SourceError::Retry {
            after: ms(5),
            reason: format!("no answer while fetching {EDITS}"),
        })?;
        for (
            partition,
            from,
            Fetched {
                records: fetched,
                next,
            },
        ) in fetched
        {
            let mut records = Records::default();
            for (at, record) in &fetched {
                records.push(RecordRef::new(
                    *at,
                    record.timestamp_ms,
                    None,
                    &record.value,
                ));
            }
            let (from, to) = (Position::Offset(from), Position::Offset(next));
            self.ahead.push_back(Batch {
                records,
                ..Batch::empty(lane(partition), Some(from), to)
            });
            self.lanes.insert(partition, Some(next));
        }
        Ok(())
    }
}

impl Source for GroupReader {
    async fn next(&mut self) -> Result<SourceEvent, SourceError> {
        loop {
            if let Some(event) = self.heartbeat() {
                return Ok(event);
            }
            if !self.ahead.is_empty() {
                self.world.linger(3).await;
            }
            // Taken after the last await: a dropped call loses nothing.
            if let Some(batch) = self.ahead.pop_front() {
                return Ok(SourceEvent::Batch(batch));
            }
            self.fetch().await?;
            if self.ahead.is_empty() {
                sleep(ms(15)).await;
            }
        }
    }

    fn reads_ahead(&self) -> bool {
        true
    }

    async fn resume(&mut self, lanes: &[Lane], from: &Positions) -> Result<(), SourceError> {
        self.world.linger(3).await;
        for lane in lanes {
            // A lane that was taken from us meanwhile: its `Revoked` is on its way.
            let Some(offset) = self.lanes.get_mut(&lane.partition) else {
                continue;
            };
            *offset = Some(from.get(lane).and_then(Position::offset).unwrap_or(0));
            self.ahead.retain(|batch| batch.lane != *lane);
        }
        Ok(())
    }

    fn committed(&mut self, _lane: &Lane, _next: &Position) {}

    async fn close(&mut self) {
        self.world.linger(3).await;
        self.world.lock().leave(self.member);
    }
}

fn lane(partition: i32) -> Lane {
    Lane::new(EDITS, partition)
}
