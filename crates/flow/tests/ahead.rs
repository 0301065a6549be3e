//! What a leg does with what it pulls while it writes.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gristmill_flow::{
    CancellationToken, Leg, NoDeadLetters, Sink, SinkError, Source, SourceError, SourceEvent,
    Transform, TransformError,
};
use gristmill_record::{Batch, Lane, Position, Positions};

fn lane(partition: i32) -> Lane {
    Lane::new("edits", partition)
}

fn batch(partition: i32, from: i64) -> SourceEvent {
    let from = Position::Offset(from);
    let next = Position::Offset(from.offset().unwrap() + 1);
    SourceEvent::Batch(Batch::empty(lane(partition), Some(from), next))
}

/// Gives what is written down, and after each `resume` beyond the first what that brings again.
#[derive(Default)]
struct Script {
    events: VecDeque<SourceEvent>,
    again: VecDeque<Vec<SourceEvent>>,
    resumed: Arc<Mutex<Vec<i32>>>,
}

impl Source for Script {
    async fn next(&mut self) -> Result<SourceEvent, SourceError> {
        Ok(self.events.pop_front().unwrap_or(SourceEvent::End))
    }

    fn reads_ahead(&self) -> bool {
        true
    }

    async fn resume(&mut self, lanes: &[Lane], _: &Positions) -> Result<(), SourceError> {
        let mut resumed = self.resumed.lock().unwrap();
        if !resumed.is_empty() {
            for event in self.again.pop_front().into_iter().flatten().rev() {
                self.events.push_front(event);
            }
        }
        resumed.extend(lanes.iter().map(|lane| lane.partition));
        Ok(())
    }

    fn committed(&mut self, _: &Lane, _: &Position) {}

    async fn close(&mut self) {}
}

/// Counts the batches that it was given.
struct Counting {
    transformed: Arc<AtomicUsize>,
    slow: bool,
}

impl Transform for Counting {
    fn apply(&mut self, batch: Batch) -> Result<Batch, TransformError> {
        self.transformed.fetch_add(1, SeqCst);
        Ok(batch)
    }

    fn is_slow(&self) -> bool {
        self.slow
    }
}

/// Holds positions; a write waits until a batch more than before it was transformed.
struct Waiting {
    transformed: Arc<AtomicUsize>,
    /// Writes that wait for so many transformed batches; then they end.
    until: VecDeque<usize>,
    /// Numbers of the writes that are refused.
    refuse: Vec<usize>,
    writes: usize,
    stored: BTreeMap<i32, i64>,
    written: Arc<Mutex<Vec<(i32, i64)>>>,
}

impl Sink for Waiting {
    async fn positions(&mut self, lanes: &[Lane]) -> Result<Positions, SinkError> {
        let stored = |lane: &Lane| Some(Position::Offset(*self.stored.get(&lane.partition)?));
        let known = lanes.iter();
        Ok(known
            .filter_map(|lane| Some((lane.clone(), stored(lane)?)))
            .collect())
    }

    async fn write(&mut self, batch: &Batch) -> Result<(), SinkError> {
        if let Some(until) = self.until.pop_front() {
            while self.transformed.load(SeqCst) < until {
                tokio::task::yield_now().await;
            }
        }
        self.writes += 1;
        let partition = batch.lane.partition;
        let from = batch.from.as_ref().and_then(Position::offset).unwrap();
        let stored = self.stored.get(&partition).copied().unwrap_or(0);
        if self.refuse.contains(&self.writes) || from != stored {
            return Err(SinkError::Misaligned {
                lane: batch.lane.clone(),
                stored: Some(Position::Offset(stored)),
                reason: "asked to".to_owned(),
            });
        }
        self.stored.insert(partition, from + 1);
        self.written.lock().unwrap().push((partition, from));
        Ok(())
    }
}

/// Run to the end: what was written, and which lanes were resumed.
async fn run(source: Script, until: &[usize], refuse: &[usize]) -> (Vec<(i32, i64)>, Vec<i32>) {
    let (transformed, resumed) = (Arc::default(), source.resumed.clone());
    let written = Arc::default();
    let mut leg = Leg {
        name: "counts".to_owned(),
        source,
        transform: Counting {
            transformed: Arc::clone(&transformed),
            slow: false,
        },
        sink: Waiting {
            transformed,
            until: until.iter().copied().collect(),
            refuse: refuse.to_vec(),
            writes: 0,
            stored: BTreeMap::new(),
            written: Arc::clone(&written),
        },
        dead_letters: NoDeadLetters,
        stats: Arc::default(),
    };
    let stop = CancellationToken::new();
    let ended = tokio::time::timeout(Duration::from_secs(10), leg.run(&stop));
    ended.await.expect("the leg hangs").unwrap();
    let (written, resumed) = (written.lock().unwrap(), resumed.lock().unwrap());
    (written.clone(), resumed.clone())
}

#[tokio::test]
async fn the_next_batch_is_transformed_while_one_is_written() {
    let source = Script {
        events: [SourceEvent::Assigned(vec![lane(0)])]
            .into_iter()
            .chain((0..4).map(|from| batch(0, from)))
            .collect(),
        ..Script::default()
    };
    // The write of each batch ends only once the one behind it was transformed.
    let (written, _) = run(source, &[2, 3, 4], &[]).await;
    assert_eq!(written, [(0, 0), (0, 1), (0, 2), (0, 3)]);
}

#[tokio::test]
async fn a_batch_behind_a_refused_one_comes_again_and_others_are_kept() {
    for ahead in [0, 1] {
        let assigned = SourceEvent::Assigned(vec![lane(0), lane(1)]);
        let mut events = vec![assigned, batch(0, 0)];
        let mut again = vec![batch(0, 0)];
        match ahead {
            // Dropped, since the source gives it again.
            0 => {
                events.push(batch(0, 1));
                again.push(batch(0, 1));
            }
            // Kept, since it does not.
            _ => events.push(batch(1, 0)),
        }
        let source = Script {
            events: events.into(),
            again: [again].into(),
            ..Script::default()
        };
        let (written, resumed) = run(source, &[2], &[1]).await;
        match ahead {
            0 => assert_eq!(written, [(0, 0), (0, 1)]),
            _ => assert_eq!(written, [(1, 0), (0, 0)]),
        }
        assert_eq!(resumed, [0, 1, 0]);
    }
}

#[tokio::test]
async fn an_assignment_that_comes_with_a_refused_write_is_answered() {
    let events = [
        SourceEvent::Assigned(vec![lane(0)]),
        batch(0, 0),
        SourceEvent::Assigned(vec![lane(1)]),
        batch(1, 0),
    ];
    let source = Script {
        events: events.into(),
        again: [vec![batch(0, 0)]].into(),
        ..Script::default()
    };
    let (written, resumed) = run(source, &[], &[1]).await;
    assert_eq!(resumed, [0, 0, 1]);
    assert_eq!(written, [(0, 0), (1, 0)]);
}

/// Tells after how many transformed batches each write ended.
struct Observing(Arc<AtomicUsize>, Arc<Mutex<Vec<usize>>>);

impl Sink for Observing {
    async fn positions(&mut self, _: &[Lane]) -> Result<Positions, SinkError> {
        Ok(Positions::new())
    }

    async fn write(&mut self, _: &Batch) -> Result<(), SinkError> {
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        let transformed = self.0.load(SeqCst);
        self.1.lock().unwrap().push(transformed);
        Ok(())
    }
}

#[tokio::test]
async fn a_slow_transform_works_between_writes() {
    for (slow, expected) in [(false, [2, 3, 3]), (true, [1, 2, 3])] {
        let (transformed, seen) = (Arc::default(), Arc::default());
        let mut leg = Leg {
            name: "counts".to_owned(),
            source: Script {
                events: (0..3).map(|from| batch(0, from)).collect(),
                ..Script::default()
            },
            transform: Counting {
                transformed: Arc::clone(&transformed),
                slow,
            },
            sink: Observing(transformed, Arc::clone(&seen)),
            dead_letters: NoDeadLetters,
            stats: Arc::default(),
        };
        leg.run(&CancellationToken::new()).await.unwrap();
        assert_eq!(*seen.lock().unwrap(), expected, "slow: {slow}");
    }
}
