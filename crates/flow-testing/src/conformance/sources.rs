//! The suite for sources: those that read a topic, and those that read a stream.

use std::collections::BTreeMap;
use std::time::Duration;

use gristmill_flow::{Source, SourceError, SourceEvent};
use gristmill_record::{Lane, Position, Positions};
use tokio::time::{Instant, timeout};

/// A group may need seconds to hand out its partitions.
const PATIENCE: Duration = Duration::from_secs(60);
/// Long enough to see that nothing comes.
const SILENCE: Duration = Duration::from_millis(300);

/// A topic or a stream of its own, and a source that reads it.
pub trait SourceHarness {
    /// The source under test.
    type Source: Source;

    /// A source at the beginning. Called again it is the next life of the same connector.
    fn open(&mut self) -> impl Future<Output = Self::Source>;

    /// Append a record for each of `values` to a partition, durably.
    fn append(&mut self, partition: i32, values: &[String]) -> impl Future<Output = ()>;

    /// The partitions of the topic; 1 for a stream.
    fn partitions(&self) -> i32;

    /// What the first batch of a lane says it starts at, where no position was stored.
    fn start(&self) -> Option<Position> {
        Some(Position::Offset(0))
    }

    /// The place between the first `n` values of a partition and the others.
    fn position(&self, n: usize) -> Position {
        Position::Offset(n as i64)
    }
}

/// Run every case, each on a harness (a topic that is empty) that `make` makes for the case's name.
///
/// # Panics
/// Where the source breaks a promise.
pub async fn source<H: SourceHarness>(mut make: impl AsyncFnMut(&'static str) -> H) {
    everything_once_in_order(make("everything").await).await;
    resumes_exactly(make("resumes").await).await;
    goes_back_on_request(make("goes-back").await).await;
    waits_for_more(make("waits").await).await;
    a_dropped_call_loses_nothing(make("dropped-calls").await).await;
}

/// What was read of each partition, checked on the way.
#[derive(Default)]
struct Reading {
    start: Option<Position>,
    at: BTreeMap<Lane, Option<Position>>,
    values: BTreeMap<i32, Vec<String>>,
}

impl Reading {
    fn of(harness: &impl SourceHarness) -> Self {
        Self {
            start: harness.start(),
            ..Self::default()
        }
    }

    fn len(&self) -> usize {
        self.values.values().map(Vec::len).sum()
    }

    /// Take an event: answer assignments with `from`, check batches for gaps.
    async fn take(
        &mut self,
        case: &str,
        source: &mut impl Source,
        from: &Positions,
        event: Result<SourceEvent, SourceError>,
    ) {
        match event {
            Ok(SourceEvent::Assigned(lanes)) => {
                loop {
                    match source.resume(&lanes, from).await {
                        Ok(()) => break,
                        Err(SourceError::Retry { after, .. }) => tokio::time::sleep(after).await,
                        Err(error) => panic!("{case}: resume: {error}"),
                    }
                }
                for lane in lanes {
                    let at = from.get(&lane).cloned().or_else(|| self.start.clone());
                    self.at.insert(lane, at);
                }
            }
            Ok(SourceEvent::Batch(batch)) => {
                let at = self.at.get(&batch.lane).cloned();
                assert!(at.is_some(), "{case}: {} was not assigned", batch.lane);
                let from = batch.from.clone();
                assert_eq!(Some(&from), at.as_ref(), "{case}: {} has a gap", batch.lane);
                // A stream's positions are its own business.
                let offsets = match (&from, &batch.next) {
                    (Some(Position::Offset(first)), Position::Offset(next)) => *first..*next,
                    (None | Some(Position::Token(_)), Position::Token(_)) => i64::MIN..i64::MAX,
                    bounds => panic!("{case}: positions of two kinds: {bounds:?}"),
                };
                let values = self.values.entry(batch.lane.partition).or_default();
                for record in batch.records.iter() {
                    assert!(
                        offsets.contains(&record.offset),
                        "{case}: offset {} outside {offsets:?}",
                        record.offset
                    );
                    values.push(String::from_utf8_lossy(record.value).into_owned());
                }
                source.committed(&batch.lane, &batch.next);
                self.at.insert(batch.lane, Some(batch.next));
            }
            Ok(SourceEvent::Revoked(lanes)) => {
                for lane in lanes {
                    self.at.remove(&lane);
                }
            }
            Ok(SourceEvent::End) => panic!("{case}: it has no end"),
            Err(SourceError::Retry { after, .. }) => tokio::time::sleep(after).await,
            Err(error) => panic!("{case}: next: {error}"),
        }
    }

    /// Read until there are `count` values in all.
    async fn until(
        &mut self,
        case: &str,
        source: &mut impl Source,
        from: &Positions,
        count: usize,
    ) {
        let deadline = Instant::now() + PATIENCE;
        while self.len() < count {
            assert!(
                Instant::now() < deadline,
                "{case}: {} of {count}",
                self.len()
            );
            if let Ok(event) = timeout(Duration::from_secs(1), source.next()).await {
                self.take(case, source, from, event).await;
            }
        }
    }
}

fn values(partition: i32, range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|i| format!("{partition}-{i}")).collect()
}

async fn fill(harness: &mut impl SourceHarness, range: std::ops::Range<usize>) {
    for partition in 0..harness.partitions() {
        harness
            .append(partition, &values(partition, range.clone()))
            .await;
    }
}

fn expect(
    harness: &impl SourceHarness,
    range: std::ops::Range<usize>,
) -> BTreeMap<i32, Vec<String>> {
    let all =
        (0..harness.partitions()).map(|partition| (partition, values(partition, range.clone())));
    all.filter(|(_, values)| !values.is_empty()).collect()
}

/// Equal, or a message that names the first difference and not a thousand values.
fn same(case: &str, read: &BTreeMap<i32, Vec<String>>, expect: &BTreeMap<i32, Vec<String>>) {
    for (partition, expect) in expect {
        let read = read.get(partition).map_or(&[][..], Vec::as_slice);
        let difference = read
            .iter()
            .zip(expect)
            .position(|(read, expect)| read != expect);
        if difference.is_some() || read.len() != expect.len() {
            let at = difference.unwrap_or(read.len().min(expect.len()));
            panic!(
                "{case}: partition {partition}: {} values instead of {}; at {at} {:?} instead of {:?}",
                read.len(),
                expect.len(),
                read.get(at),
                expect.get(at)
            );
        }
    }
    assert_eq!(read.len(), expect.len(), "{case}: partitions");
}

async fn everything_once_in_order<H: SourceHarness>(mut harness: H) {
    let case = "everything once, in order";
    fill(&mut harness, 0..500).await;
    let mut source = harness.open().await;
    let mut reading = Reading::of(&harness);
    let all = 500 * harness.partitions() as usize;
    reading
        .until(case, &mut source, &Positions::new(), all)
        .await;
    same(case, &reading.values, &expect(&harness, 0..500));
    source.close().await;
}

/// A second life at positions in mid-topic reads what follows them and nothing else.
async fn resumes_exactly<H: SourceHarness>(mut harness: H) {
    let case = "resumes exactly";
    fill(&mut harness, 0..100).await;
    let mut source = harness.open().await;
    let mut reading = Reading::of(&harness);
    let all = 100 * harness.partitions() as usize;
    reading
        .until(case, &mut source, &Positions::new(), all)
        .await;
    source.close().await;
    drop(source);
    let lanes: Vec<Lane> = reading.at.keys().cloned().collect();
    let from: Positions = lanes
        .into_iter()
        .map(|lane| (lane, harness.position(37)))
        .collect();
    let mut source = harness.open().await;
    let mut again = Reading::of(&harness);
    let rest = 63 * harness.partitions() as usize;
    again.until(case, &mut source, &from, rest).await;
    same(case, &again.values, &expect(&harness, 37..100));
    source.close().await;
}

/// After a sink refused a batch, what was read ahead is dropped.
async fn goes_back_on_request<H: SourceHarness>(mut harness: H) {
    let case = "goes back on request";
    fill(&mut harness, 0..300).await;
    let mut source = harness.open().await;
    let mut reading = Reading::of(&harness);
    reading.until(case, &mut source, &Positions::new(), 1).await;
    let lanes: Vec<Lane> = reading.at.keys().cloned().collect();
    let back: Positions = lanes
        .iter()
        .map(|lane| (lane.clone(), harness.position(5)))
        .collect();
    let mut again = Reading::of(&harness);
    again.at = lanes
        .iter()
        .map(|lane| (lane.clone(), back.get(lane).cloned()))
        .collect();
    source.resume(&lanes, &back).await.expect("resume");
    let read: usize = lanes.len() * 295;
    again.until(case, &mut source, &back, read).await;
    for lane in lanes {
        let partition = lane.partition;
        let read = [(partition, again.values[&partition].clone())];
        same(
            case,
            &read.into(),
            &[(partition, values(partition, 5..300))].into(),
        );
    }
    source.close().await;
}

async fn waits_for_more<H: SourceHarness>(mut harness: H) {
    let case = "waits for more";
    fill(&mut harness, 0..10).await;
    let mut source = harness.open().await;
    let mut reading = Reading::of(&harness);
    let partitions = harness.partitions() as usize;
    reading
        .until(case, &mut source, &Positions::new(), 10 * partitions)
        .await;
    let silent = Instant::now() + SILENCE;
    while Instant::now() < silent {
        if let Ok(event) = timeout(SILENCE, source.next()).await {
            reading
                .take(case, &mut source, &Positions::new(), event)
                .await;
        }
    }
    assert_eq!(reading.len(), 10 * partitions, "{case}: out of nothing");
    fill(&mut harness, 10..20).await;
    reading
        .until(case, &mut source, &Positions::new(), 20 * partitions)
        .await;
    same(case, &reading.values, &expect(&harness, 0..20));
    source.close().await;
}

/// `next` is dropped in mid-flight again and again while records arrive.
async fn a_dropped_call_loses_nothing<H: SourceHarness>(mut harness: H) {
    let case = "a dropped call loses nothing";
    let (from, partitions) = (Positions::new(), harness.partitions() as usize);
    let mut source = harness.open().await;
    let mut reading = Reading::of(&harness);
    let mut filled = 0;
    let deadline = Instant::now() + PATIENCE;
    for turn in 0_u64.. {
        assert!(
            Instant::now() < deadline,
            "{case}: {} of {filled}",
            reading.len()
        );
        if filled < 400 && turn % 5 == 0 {
            fill(&mut harness, filled..filled + 20).await;
            filled += 20;
        }
        // From at once to long enough.
        let wait = Duration::from_micros(1 << (turn % 16));
        if let Ok(event) = timeout(wait, source.next()).await {
            reading.take(case, &mut source, &from, event).await;
        }
        if filled == 400 && reading.len() >= 400 * partitions {
            break;
        }
    }
    same(case, &reading.values, &expect(&harness, 0..400));
    source.close().await;
}
