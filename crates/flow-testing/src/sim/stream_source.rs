//! The stream as a source: resumption, exact or not, and what a rewind brings again.

use std::collections::{BTreeSet, VecDeque};
use std::future::pending;

use gristmill_flow::{Source, SourceError, SourceEvent, TopicTail};
use gristmill_record::{Batch, Lane, Position, Positions, RecordRef, Records, Reject};
use tokio::time::sleep;

use super::broker::{EDITS, PARTITIONS};
use super::stream::{DISORDER_MS, Kind, REWIND_MS, event_id};
use super::topic_writer::stream_position;
use super::world::{Lost, Server, World};
use super::{Mutant, ms};

/// The name of the stream's lane.
pub(super) const STREAM: &str = "stream";

/// Records that one batch takes.
const BATCH: usize = 6;
/// Connections bring some events again.
const REPEATED_PERCENT: u32 = 4;
const CUT_PERCENT: u32 = 4;
const STALL_PERCENT: u32 = 2;

pub(super) struct StreamSource {
    world: World,
    lane: Lane,
    assigned: bool,
    /// `None` until it is resumed.
    reading: Option<Reading>,
}

struct Reading {
    /// The event after the newest one that was delivered or dropped.
    next: usize,
    /// The position that the last batch ended at.
    from: Option<Position>,
    /// What a rewind may bring again: what is in the topic, and
    seen: BTreeSet<usize>,
    /// what went to the dead-letter topic.
    rejected: Vec<usize>,
    /// Where the connection is; `None` if there is none.
    connection: Option<usize>,
}

impl StreamSource {
    pub(super) fn new(world: &World) -> Self {
        Self {
            world: world.clone(),
            lane: Lane::new(STREAM, 0),
            assigned: false,
            reading: None,
        }
    }
}

impl Source for StreamSource {
    async fn next(&mut self) -> Result<SourceEvent, SourceError> {
        if !self.assigned {
            self.assigned = true;
            return Ok(SourceEvent::Assigned(vec![self.lane.clone()]));
        }
        loop {
            let Some(reading) = &mut self.reading else {
                return pending().await;
            };
            self.world.linger(8).await;
            let batch = reading.read(&self.world, &self.lane);
            if let Some(batch) = batch {
                return Ok(SourceEvent::Batch(batch));
            }
            let stall = self.world.lock().fault(STALL_PERCENT);
            sleep(if stall { ms(300) } else { ms(10) }).await;
        }
    }

    async fn resume(&mut self, _lanes: &[Lane], from: &Positions) -> Result<(), SourceError> {
        self.reading = None;
        let from = from.get(&self.lane).cloned();
        let token = from.as_ref().and_then(stream_position);
        let (next, rejected) = token.unwrap_or_default();
        let mut seen: BTreeSet<usize> = rejected.iter().copied().collect();
        let (inexact, since_ms) = {
            let state = self.world.lock();
            (
                state.profile.inexact,
                rewound(&state.stream.events, next, REWIND_MS),
            )
        };
        if inexact && next > 0 {
            let mut visit = |record: RecordRef<'_>| seen.extend(event_id(record.value));
            let mut tail = Tail(self.world.clone());
            // Disorder counts twice: the next connection may be rewound from an event that is
            // stamped earlier than the last one (seed 3873 of `everything`), and what it starts
            // with may be stamped later than what follows.
            tail.read(since_ms - 4 * DISORDER_MS, &mut visit).await?;
        }
        self.reading = Some(Reading {
            next,
            from,
            seen,
            rejected,
            connection: None,
        });
        Ok(())
    }

    fn committed(&mut self, _lane: &Lane, _next: &Position) {}

    async fn close(&mut self) {}
}

impl Reading {
    /// The next batch, if there is anything new. No await: nothing is lost with a dropped call.
    fn read(&mut self, world: &World, lane: &Lane) -> Option<Batch> {
        let mut state = world.lock();
        if self.connection.is_none() || state.fault(CUT_PERCENT) {
            self.connection = Some(self.connect(&state));
        }
        let cursor = self.connection.as_mut()?;
        let available = state.stream.available(state.now_ms(), state.calm);
        let before = self.next;
        let mut records = Records::default();
        let mut rejects = Vec::new();
        let most = state.rng.usize(1..=BATCH);
        while *cursor < available && records.len() + rejects.len() < most {
            let id = *cursor;
            let repeated = state.fault(REPEATED_PERCENT);
            *cursor += usize::from(!repeated);
            let new = match state.profile.inexact {
                true => self.seen.insert(id) || state.is(Mutant::NoDedupe),
                false => id >= self.next,
            };
            if !new {
                continue;
            }
            self.next = self.next.max(id + 1);
            let event = state.stream.events[id];
            let data = state.stream.data(id);
            match event.kind {
                Kind::Canary => {}
                Kind::Oversize => {
                    self.rejected.push(id);
                    rejects.push(Reject {
                        offset: id as i64,
                        timestamp_ms: event.stamp_ms,
                        key: None,
                        value: data.into_bytes(),
                        stage: "sse".to_owned(),
                        reason: "too large".to_owned(),
                    });
                }
                _ => records.push(RecordRef::new(
                    id as i64,
                    event.stamp_ms,
                    None,
                    data.as_bytes(),
                )),
            }
        }
        if self.next == before && records.is_empty() && rejects.is_empty() {
            return None;
        }
        let rejected: Vec<String> = self.rejected.iter().map(ToString::to_string).collect();
        let next = Position::Token(format!("{};{}", self.next, rejected.join(",")).into());
        let from = self.from.replace(next.clone());
        Some(Batch {
            lane: lane.clone(),
            from,
            next,
            records,
            rejects,
        })
    }

    /// Where the server starts.
    fn connect(&self, state: &super::world::State) -> usize {
        if !state.profile.inexact || self.next == 0 {
            return self.next;
        }
        let rewind_ms = if state.is(Mutant::NoRewind) {
            0
        } else {
            REWIND_MS
        };
        state
            .stream
            .index_at(rewound(&state.stream.events, self.next, rewind_ms))
    }
}

/// What an inexact resumption asks for: the last event's id names a millisecond beyond it.
fn rewound(events: &[super::stream::Event], next: usize, rewind_ms: i64) -> i64 {
    let last = next.checked_sub(1).and_then(|last| events.get(last));
    last.map_or(0, |last| last.stamp_ms + 1 - rewind_ms)
}

/// Looks back into the topic.
struct Tail(World);

impl TopicTail for Tail {
    async fn read(
        &mut self,
        since_ms: i64,
        visit: &mut (dyn FnMut(RecordRef<'_>) + Send),
    ) -> Result<u64, SourceError> {
        let mut visited = 0;
        for partition in 0..PARTITIONS {
            let fetched = self
                .0
                .call(Server::Broker, move |state| {
                    state.fetch(EDITS, partition, 0, usize::MAX)
                })
                .await
                .map_err(|Lost| SourceError::Retry {
                    after: ms(10),
                    reason: "no answer while reading the tail".to_owned(),
                })?;
            let mut records: VecDeque<_> = fetched.records.into();
            while records
                .front()
                .is_some_and(|(_, record)| record.timestamp_ms < since_ms)
            {
                records.pop_front();
            }
            for (offset, record) in records {
                visit(RecordRef::new(
                    offset,
                    record.timestamp_ms,
                    None,
                    &record.value,
                ));
                visited += 1;
            }
        }
        Ok(visited)
    }
}
