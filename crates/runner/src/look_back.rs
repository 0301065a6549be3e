//! What came before a leg's first record, for modules that look back.
//!
//! ```text
//! source.resume(lanes, positions) ─▶ read the topic before the positions ─▶ Past
//! next batch ─▶ Swap::apply ─▶ Chain::look_back(Past) ─▶ the batch itself
//! ```
//!
//! A lane is looked back in once, when it is first assigned: from then on the chain knows what it
//! has seen, also when the leg goes back a batch.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use gristmill_flow::{Source, SourceError, SourceEvent};
use gristmill_kafka_topic::{FollowConfig, Follower, From as KafkaFrom, KafkaConfig, Until};
use gristmill_local_topic::LocalLog;
use gristmill_record::{Lane, Position, Positions, RecordRef, Records};
use gristmill_smartengine::{Lookback, Step};

/// Bytes of earlier records that a leg reads at most: what modules may keep of them is less.
const BYTES_MAX: usize = 32 << 20;
/// Records and bytes read from an embedded topic at once.
const SLICE: (usize, usize) = (1024, 1 << 20);

/// Records that the leg's modules have yet to be shown. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Past(Arc<Mutex<Records>>);

impl Past {
    pub(crate) fn take(&self) -> Option<Records> {
        let mut records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (!records.is_empty()).then(|| std::mem::take(&mut *records))
    }

    fn put(&self, more: &Newest) {
        let mut records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for ((_, _, offset), past) in &more.records {
            let key = past.key.as_deref();
            records.push(RecordRef::new(*offset, past.timestamp_ms, key, &past.value));
        }
    }
}

/// Where earlier records are.
pub(crate) enum Topic {
    Kafka(KafkaConfig),
    #[cfg(feature = "fluvio")]
    Fluvio(gristmill_fluvio_topic::FluvioConfig),
    Local(LocalLog),
}

/// A source of which the modules want to see more than what it gives.
pub(crate) struct LookingBack<S> {
    source: S,
    topic: Topic,
    asked: Option<Lookback>,
    shown: BTreeSet<Lane>,
    past: Past,
}

impl<S> LookingBack<S> {
    /// For the modules of `steps`, which find it in `past`.
    pub(crate) fn new(source: S, topic: Topic, steps: &[Step], past: Past) -> Self {
        Self {
            source,
            topic,
            asked: widest(steps.iter().filter_map(|step| step.lookback)),
            shown: BTreeSet::new(),
            past,
        }
    }

    /// Read what comes before the positions of lanes that are new.
    async fn look(&mut self, lanes: &[Lane], from: &Positions) -> Result<(), SourceError> {
        let Some(asked) = self.asked else {
            return Ok(());
        };
        let mut newest = Newest::new(asked);
        let ends: BTreeMap<&Lane, i64> = lanes
            .iter()
            .filter(|lane| !self.shown.contains(lane))
            .filter_map(|lane| Some((lane, from.get(lane).and_then(Position::offset)?)))
            .collect();
        if let Some(topic) = ends.keys().next().map(|lane| lane.topic.to_string()) {
            let ends = ends
                .iter()
                .map(|(lane, end)| (lane.partition, *end))
                .collect();
            match &self.topic {
                Topic::Kafka(kafka) => kafka_past(kafka, &topic, &ends, &mut newest).await?,
                #[cfg(feature = "fluvio")]
                Topic::Fluvio(fluvio) => {
                    crate::fluvio::past(fluvio, &topic, &ends, &mut newest).await?;
                }
                Topic::Local(log) => local_past(log, &topic, &ends, &mut newest)?,
            }
        }
        self.shown.extend(lanes.iter().cloned());
        let records = newest.records.len();
        tracing::debug!(records, "modules look back");
        self.past.put(&newest);
        Ok(())
    }
}

impl<S: Source> Source for LookingBack<S> {
    async fn next(&mut self) -> Result<SourceEvent, SourceError> {
        self.source.next().await
    }

    fn reads_ahead(&self) -> bool {
        self.source.reads_ahead()
    }

    async fn resume(&mut self, lanes: &[Lane], from: &Positions) -> Result<(), SourceError> {
        self.look(lanes, from).await?;
        self.source.resume(lanes, from).await
    }

    async fn topic_id(&mut self) -> Result<Option<String>, SourceError> {
        self.source.topic_id().await
    }

    fn committed(&mut self, lane: &Lane, next: &Position) {
        self.source.committed(lane, next);
    }

    async fn close(&mut self) {
        self.source.close().await;
    }
}

/// The widest of what modules ask for; 0 records mean as many as are young enough.
fn widest(lookbacks: impl Iterator<Item = Lookback>) -> Option<Lookback> {
    lookbacks.reduce(|a, b| Lookback {
        last: match a.last == 0 || b.last == 0 {
            true => 0,
            false => a.last.max(b.last),
        },
        age: a
            .age
            .max(b.age)
            .filter(|_| a.age.is_some() && b.age.is_some()),
    })
}

/// The newest records of several partitions, oldest first. Within a partition they keep their
/// order, whatever their timestamps say.
pub(crate) struct Newest {
    pub(crate) asked: Lookback,
    /// By time, partition and offset; the time is the latest up to there in the partition.
    records: BTreeMap<(i64, i32, i64), Owned>,
    reached_ms: BTreeMap<i32, i64>,
    bytes: usize,
}

struct Owned {
    timestamp_ms: i64,
    key: Option<Vec<u8>>,
    value: Vec<u8>,
}

impl Owned {
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.key.as_ref().map_or(0, Vec::len) + self.value.len()
    }
}

impl Newest {
    pub(crate) fn new(asked: Lookback) -> Self {
        Self {
            asked,
            records: BTreeMap::new(),
            reached_ms: BTreeMap::new(),
            bytes: 0,
        }
    }

    /// Offset to start reading at for a partition that goes on at `end`; `None` where only age
    /// tells.
    pub(crate) fn start(&self, end: i64) -> Option<i64> {
        let last = i64::try_from(self.asked.last).unwrap_or(i64::MAX);
        (last > 0).then(|| end.saturating_sub(last).max(0))
    }

    /// Timestamp to start reading at where only age tells.
    pub(crate) fn since_ms(&self) -> i64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let age = self.asked.age.unwrap_or_default();
        let since = now.unwrap_or_default().saturating_sub(age);
        i64::try_from(since.as_millis()).unwrap_or(0)
    }

    /// The next record of `partition`.
    pub(crate) fn push(&mut self, partition: i32, record: RecordRef<'_>) {
        let owned = Owned {
            timestamp_ms: record.timestamp_ms,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.to_vec(),
        };
        self.bytes += owned.bytes();
        let reached = self.reached_ms.entry(partition).or_insert(i64::MIN);
        *reached = record.timestamp_ms.max(*reached);
        self.records
            .insert((*reached, partition, record.offset), owned);
        let too_many = |n: usize| self.asked.last > 0 && n > self.asked.last;
        while too_many(self.records.len()) || self.bytes > BYTES_MAX {
            match self.records.pop_first() {
                Some((_, oldest)) => self.bytes -= oldest.bytes(),
                None => return,
            }
        }
    }
}

async fn kafka_past(
    kafka: &KafkaConfig,
    topic: &str,
    ends: &BTreeMap<i32, i64>,
    newest: &mut Newest,
) -> Result<(), SourceError> {
    let starts = ends
        .iter()
        .map(|(partition, end)| Some((*partition, newest.start(*end)?)))
        .collect::<Option<BTreeMap<_, _>>>();
    let config = FollowConfig {
        kafka: kafka.clone(),
        topic: topic.to_owned(),
        from: match starts {
            Some(starts) => KafkaFrom::Offsets(starts),
            None => KafkaFrom::Timestamp(newest.since_ms()),
        },
        until: Until::End,
    };
    let mut follower = Follower::open(config).await?;
    let mut left: BTreeSet<i32> = ends.keys().copied().collect();
    while !left.is_empty()
        && let Some(batch) = follower.next().await?
    {
        let partition = batch.lane.partition;
        let Some(end) = ends.get(&partition) else {
            continue;
        };
        for record in batch.records.iter() {
            if record.offset >= *end {
                left.remove(&partition);
                break;
            }
            newest.push(partition, record);
        }
        if batch.next.offset().is_some_and(|next| next >= *end) {
            left.remove(&partition);
        }
    }
    Ok(())
}

fn local_past(
    log: &LocalLog,
    topic: &str,
    ends: &BTreeMap<i32, i64>,
    newest: &mut Newest,
) -> Result<(), SourceError> {
    for (&partition, &end) in ends {
        let slice = |at| {
            let slice = log.read(topic, partition, at, SLICE.0, SLICE.1);
            slice.map_err(|error| SourceError::Fatal(error.to_string()))
        };
        let mut at = match newest.start(end) {
            Some(start) => start,
            None => {
                // Backwards until a slice starts with a record that is too old.
                let mut start = end;
                while start > 0 {
                    start = (start - SLICE.0 as i64).max(0);
                    let first = slice(start)?.records.get(0).map(|first| first.timestamp_ms);
                    if first.is_some_and(|first_ms| first_ms < newest.since_ms()) {
                        break;
                    }
                }
                start
            }
        };
        while at < end {
            let read = slice(at)?;
            for record in read.records.iter().filter(|record| record.offset < end) {
                newest.push(partition, record);
            }
            if read.next <= at {
                break;
            }
            at = read.next;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn newest(last: usize) -> Newest {
        Newest::new(Lookback { last, age: None })
    }

    #[test]
    fn the_last_of_all_partitions_in_one_row() {
        let mut newest = newest(3);
        // Partition 1 went back in time once; its order stays.
        for (partition, offset, time) in
            [(0, 7, 10), (0, 8, 40), (1, 3, 30), (1, 4, 20), (1, 5, 50)]
        {
            newest.push(partition, RecordRef::new(offset, time, None, b"v"));
        }
        let past = Past::default();
        past.put(&newest);
        let shown: Vec<_> = past
            .take()
            .unwrap()
            .iter()
            .map(|record| (record.offset, record.timestamp_ms))
            .collect();
        assert_eq!(shown, [(4, 20), (8, 40), (5, 50)]);
        assert!(past.take().is_none());
    }

    #[test]
    fn the_widest_look_back_of_a_chain_counts() {
        let hour = Duration::from_secs(3600);
        let of = |last, age| Some(Lookback { last, age });
        for (asks, expect) in [
            (vec![], None),
            (vec![of(5, None)], of(5, None)),
            (vec![of(5, Some(hour)), of(9, None)], of(9, None)),
            (
                vec![of(5, Some(hour)), of(0, Some(hour * 2))],
                of(0, Some(hour * 2)),
            ),
        ] {
            assert_eq!(widest(asks.into_iter().flatten()), expect);
        }
    }
}
