//! A topic as a sink: first records and dead letters, then the checkpoint.
//!
//! ```text
//! positions ─▶ say that this copy takes over ─▶ newest checkpoint ─▶ what stands behind its ends
//! write     ─▶ did another copy take over? ─▶ records, dead letters, but for what is there ─▶ checkpoint
//!                  │ any error: drop the connection; the next call looks anew at what was written
//! ```

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::time::Duration;

use gristmill_flow::{Sink, SinkError, dead_letter_records};
use gristmill_record::{Batch, Lane, Position, Positions, RecordRef, Records};

use crate::admin::{TopicSpec, ensure};
use crate::checkpoint::{Entry, State};
use crate::cluster::{Append, Cluster, Sight};
use crate::codec::encode;
use crate::error::Trouble;
use crate::letter::{identity, pack};
use crate::present::{Identity, Present, value};
use crate::{FluvioConfig, checkpoint_topic};

/// Bytes of a batch to begin with: half of what an SPU takes unless it is configured otherwise.
const BATCH_BYTES: usize = 1 << 20;
/// Bytes of a record besides key and value, at most.
const RECORD_OVERHEAD: usize = 40;
/// Checkpoints that are looked through at once for the newest.
const LOOK_BACK: i64 = 64;

/// What records are compressed with on their way and on disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// gzip.
    Gzip,
    /// Snappy.
    Snappy,
    /// LZ4.
    Lz4,
    /// Zstandard.
    Zstd,
}

impl From<Compression> for fluvio::Compression {
    fn from(compression: Compression) -> Self {
        match compression {
            Compression::None => Self::None,
            Compression::Gzip => Self::Gzip,
            Compression::Snappy => Self::Snappy,
            Compression::Lz4 => Self::Lz4,
            Compression::Zstd => Self::Zstd,
        }
    }
}

/// Where and how to write.
#[derive(Debug, Clone)]
pub struct WriterConfig {
    /// The cluster.
    pub fluvio: FluvioConfig,
    /// Where records go; it must exist.
    pub topic: String,
    /// Where rejects go; it must exist. `None`: the writer takes no rejects.
    pub dead_letter_topic: Option<String>,
    /// Names this writer across restarts: pipeline and connector. Its checkpoint topic is named after it.
    pub id: String,
    /// Copies of the checkpoint topic, if it has to be made.
    pub replicas: u32,
    /// Compression of what is written.
    pub compression: Compression,
    /// How long a request of an earlier life may still be under way: a new one waits for that before it looks
    /// at what was written. [`SETTLE`] unless it is a test.
    pub settle: Duration,
}

/// Long for a request whose bytes the cluster already has.
pub const SETTLE: Duration = Duration::from_secs(1);

/// Writes batches to a topic of a Fluvio cluster. What it promises is said at the [crate](crate).
pub struct FluvioWriter {
    config: WriterConfig,
    /// Names this copy of the writer: different at every start.
    instance: String,
    /// Taken out for each write, and put back if all went well.
    live: Option<Live>,
    /// The checkpoint topic's next offset when this copy last wrote or looked: an opening of another copy
    /// behind it means that this one is done.
    at: Option<i64>,
    /// Whether this copy has waited for what earlier ones left under way.
    is_settled: bool,
    /// A write that may have been finished without an answer: its lane and where it ends.
    in_doubt: Option<(Lane, Position)>,
    batch_bytes: usize,
    /// Batches written: chooses the partition of records without a key.
    turn: u32,
    fenced: Option<String>,
}

/// A connection, and what is known of the topics.
struct Live {
    cluster: Cluster,
    state: State,
    present: Present,
    /// Where the topics end, as far as this copy knows.
    reach: BTreeMap<String, Vec<i64>>,
}

/// What goes to one partition.
struct Part<'a> {
    topic: &'a str,
    partition: u32,
    records: Vec<(usize, RecordRef<'a>)>,
    is_letters: bool,
}

impl FluvioWriter {
    /// Connects on first use, so that a cluster that is down is a [`SinkError::Retry`] of
    /// [`positions`](Sink::positions).
    pub fn new(config: WriterConfig) -> Self {
        // Seeded by the system's randomness: two copies must not get the same.
        let instance = format!("{:016x}", RandomState::new().hash_one(std::process::id()));
        Self {
            config,
            instance,
            live: None,
            at: None,
            is_settled: false,
            in_doubt: None,
            batch_bytes: BATCH_BYTES,
            turn: 0,
            fenced: None,
        }
    }

    async fn live(&mut self) -> Result<Live, SinkError> {
        if let Some(reason) = &self.fenced {
            return Err(SinkError::Fenced(reason.clone()));
        }
        match self.live.take() {
            Some(live) => Ok(live),
            None => self.connect().await,
        }
    }

    async fn connect(&mut self) -> Result<Live, SinkError> {
        let mut cluster = Cluster::connect(&self.config.fluvio).await?;
        let checkpoints = checkpoint_topic(&self.config.id);
        let spec = TopicSpec::checkpoint(&checkpoints, self.config.replicas);
        ensure(&mut cluster, &[spec]).await?;
        self.look(&mut cluster).await?;
        let opening = Entry::opening(&self.instance);
        let opened = store(&mut cluster, &checkpoints, &opening).await?;
        self.at = Some(opened + 1);
        let newest = newest(&mut cluster, &checkpoints, opened).await?;
        let is_first = newest.is_none();
        if !is_first && !self.is_settled {
            tokio::time::sleep(self.config.settle).await;
        }
        // Within a life the leg waits between two tries.
        self.is_settled = true;
        let mut state = newest.unwrap_or_default();
        let mut present = Present::default();
        let mut reach = BTreeMap::new();
        for (topic, identity) in self.topics() {
            let ends = state.ends.entry(topic.to_owned()).or_default();
            let reached = unfinished(
                (&mut cluster, topic),
                (is_first, ends),
                (&mut present, identity),
            );
            reach.insert(topic.to_owned(), reached.await?);
        }
        present.finished(&state.done);
        if !present.is_settled() {
            let (topic, records) = (&self.config.topic, present.len());
            tracing::info!(topic, records, "the last write was not finished");
        }
        let mut live = Live {
            cluster,
            state,
            present,
            reach,
        };
        self.checkpoint(&mut live).await?;
        Ok(live)
    }

    /// The topics that are written, and what tells their records apart.
    fn topics(&self) -> Vec<(&str, Identity)> {
        let letters = self.config.dead_letter_topic.as_deref();
        let letters = letters.map(|topic| (topic, identity as Identity));
        let records = (self.config.topic.as_str(), value as Identity);
        std::iter::once(records).chain(letters).collect()
    }

    /// Whether another copy took over since this one last wrote.
    async fn look(&mut self, cluster: &mut Cluster) -> Result<(), SinkError> {
        let Some(mut at) = self.at else {
            return Ok(());
        };
        let checkpoints = checkpoint_topic(&self.config.id);
        loop {
            let slice = cluster.fetch((&checkpoints, 0), at, Sight::All).await?;
            for record in slice.records.iter() {
                let entry = Entry::decode(record.value, &checkpoints, record.offset)
                    .map_err(SinkError::Fatal)?;
                if entry.instance == self.instance {
                    continue;
                }
                if entry.state.is_none() {
                    return Err(self.fence());
                }
                tracing::warn!(
                    topic = self.config.topic,
                    "another copy of this connector finished a write after this one took over: up to one \
                     batch may stand in the topic twice"
                );
            }
            self.at = Some(slice.next);
            if slice.next == at {
                return Ok(());
            }
            at = slice.next;
        }
    }

    fn fence(&mut self) -> SinkError {
        let reason = format!(
            "another copy of this connector took over writing to `{}` (`{}`): this one stops; run one copy, \
             or give the other pipeline another name",
            self.config.topic, self.config.id
        );
        self.fenced = Some(reason.clone());
        SinkError::Fenced(reason)
    }

    /// Store what holds now.
    async fn checkpoint(&mut self, live: &mut Live) -> Result<(), SinkError> {
        let checkpoints = checkpoint_topic(&self.config.id);
        let entry = Entry::of(&self.instance, &live.state);
        let stored = store(&mut live.cluster, &checkpoints, &entry).await?;
        if self.at.replace(stored + 1) == Some(stored) {
            return Ok(());
        }
        // Somebody else wrote in between: who, is found out on a connection that looks at everything anew.
        self.at = self.at.map(|_| stored - LOOK_BACK).filter(|at| *at >= 0);
        Err(SinkError::Retry {
            after: Duration::from_millis(100),
            reason: format!(
                "another copy of this connector is writing to `{}`",
                self.config.topic
            ),
        })
    }

    /// Write what is missing of `batch`.
    async fn append(&mut self, live: &mut Live, batch: &Batch) -> Result<(), SinkError> {
        let letters = match &self.config.dead_letter_topic {
            Some(_) => dead_letter_records(&batch.lane, &batch.rejects),
            None => Records::default(),
        };
        let letters = pack(&letters, &self.config.id);
        let parts = self.parts(live, &batch.records, &letters)?;
        let appends: Result<Vec<Append>, SinkError> =
            parts.iter().map(|part| self.encode(part)).collect();
        let results = live.cluster.append(appends?).await?;
        let mut refused = Vec::new();
        let mut trouble = None;
        for (part, result) in parts.iter().zip(results) {
            match result {
                Ok(base) => live.reached(part, base),
                Err(Trouble::TooLarge) => refused.push(part),
                Err(error) => trouble = trouble.or(Some(error)),
            }
        }
        if let Some(error) = too_large(&refused, self.batch_bytes) {
            self.batch_bytes = (self.batch_bytes / 2).max(1);
            return Err(error);
        }
        self.turn = self.turn.wrapping_add(1);
        trouble.map_or(Ok(()), |error| Err(error.into()))
    }

    /// What is missing, by partition.
    fn parts<'a>(
        &'a self,
        live: &mut Live,
        records: &'a Records,
        letters: &'a Records,
    ) -> Result<Vec<Part<'a>>, SinkError> {
        let topic = self.config.topic.as_str();
        let partitions = live.cluster.partitions(topic)?;
        let there = live.present.there(topic, records, value);
        let mut parts: BTreeMap<u32, Part<'a>> = BTreeMap::new();
        for (index, record) in without(records, &there) {
            let partition = match record.key {
                Some(key) => partition_of(key, partitions),
                None => self.turn % partitions,
            };
            let part = parts.entry(partition).or_insert_with(|| Part {
                topic,
                partition,
                records: Vec::new(),
                is_letters: false,
            });
            part.records.push((index, record));
        }
        let mut parts: Vec<Part<'a>> = parts.into_values().collect();
        if let Some(topic) = &self.config.dead_letter_topic {
            let there = live.present.there(topic, letters, identity);
            let missing: Vec<_> = without(letters, &there).collect();
            if !missing.is_empty() {
                parts.push(Part {
                    topic,
                    partition: 0,
                    records: missing,
                    is_letters: true,
                });
            }
        }
        Ok(parts)
    }

    /// A part in batches of `batch_bytes`, or of one record that is larger.
    fn encode(&self, part: &Part<'_>) -> Result<Append, SinkError> {
        let mut batches = Vec::new();
        let mut rest = part.records.as_slice();
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = rest.iter().take_while(|(_, record)| {
                bytes += size(record);
                bytes <= self.batch_bytes
            });
            let (batch, after) = rest.split_at(fits.count().max(1));
            let records = batch.iter().map(|(_, record)| *record);
            let batch = encode(records, self.config.compression.into());
            batches.push(batch.map_err(SinkError::Fatal)?);
            rest = after;
        }
        Ok(Append {
            topic: part.topic.to_owned(),
            partition: part.partition,
            batches,
        })
    }

    async fn apply(&mut self, live: &mut Live, batch: &Batch) -> Result<(), SinkError> {
        let lane = batch.lane.to_string();
        self.append(live, batch).await?;
        live.state.set(&lane, &batch.next);
        live.settle();
        self.checkpoint(live).await
    }
}

impl Live {
    /// `part` stands at `base`.
    fn reached(&mut self, part: &Part<'_>, base: i64) {
        let ends = self.reach.entry(part.topic.to_owned()).or_default();
        let partition = part.partition as usize;
        if ends.len() <= partition {
            ends.resize(partition + 1, 0);
        }
        ends[partition] = base + part.records.len() as i64;
    }

    /// What the checkpoint says of the topics after a write.
    fn settle(&mut self) {
        if self.present.is_settled() {
            self.state.ends.clone_from(&self.reach);
        }
        self.state.done = self.present.done().to_vec();
    }
}

impl Sink for FluvioWriter {
    async fn positions(&mut self, lanes: &[Lane]) -> Result<Positions, SinkError> {
        let live = self.live().await?;
        let stored = lanes.iter().filter_map(|lane| {
            let position = live.state.position(&lane.to_string())?;
            Some((lane.clone(), position))
        });
        let positions: BTreeMap<Lane, Position> = stored.collect();
        self.in_doubt = None;
        self.live = Some(live);
        Ok(positions)
    }

    async fn write(&mut self, batch: &Batch) -> Result<(), SinkError> {
        let mut live = self.live().await?;
        self.look(&mut live.cluster).await?;
        let stored = live.state.position(&batch.lane.to_string());
        let write = (batch.lane.clone(), batch.next.clone());
        if self.in_doubt.take().as_ref() == Some(&write) && stored.as_ref() == Some(&batch.next) {
            tracing::debug!(lane = %batch.lane, "the write in doubt was finished");
            self.live = Some(live);
            return Ok(());
        }
        if stored.is_some() && stored != batch.from {
            self.live = Some(live);
            return Err(SinkError::Misaligned {
                lane: batch.lane.clone(),
                stored,
                reason:
                    "another copy of this connector wrote meanwhile, or the batch was read twice"
                        .to_owned(),
            });
        }
        // From here on an error, and a dropped future too, leaves a write that may be unfinished: without a
        // connection the next call looks.
        self.in_doubt = Some(write);
        self.apply(&mut live, batch).await?;
        self.in_doubt = None;
        self.live = Some(live);
        Ok(())
    }

    fn takes_rejects(&self) -> bool {
        self.config.dead_letter_topic.is_some()
    }

    async fn close(&mut self) {
        self.live = None;
    }
}

/// Bytes that a record takes in a batch, at most.
fn size(record: &RecordRef<'_>) -> usize {
    record.value.len() + record.key.map_or(0, <[u8]>::len) + RECORD_OVERHEAD
}

/// What to do about batches that the cluster refuses. It does not say its limit: batches get smaller, until
/// the largest record is alone in one. If that is refused, it is for that record.
fn too_large(refused: &[&Part<'_>], batch_bytes: usize) -> Option<SinkError> {
    let records = refused.iter().flat_map(|part| {
        let sized = part.records.iter();
        sized.map(|(index, record)| (size(record), *index, *part))
    });
    let (bytes, index, part) = records.max_by_key(|(bytes, ..)| *bytes)?;
    if bytes <= batch_bytes {
        return Some(SinkError::Retry {
            after: Duration::ZERO,
            reason: format!(
                "`{}` takes no batch of {batch_bytes} bytes: trying smaller ones",
                part.topic
            ),
        });
    }
    let reason = format!("larger than `{}` takes: {bytes} bytes", part.topic);
    Some(match part.is_letters {
        true => SinkError::Fatal(format!("a dead letter is {reason}: raise the SPU's limit")),
        false => SinkError::Reject(vec![(index, reason)]),
    })
}

/// `records` with their indices, but for those of `there`, which is sorted.
fn without<'a>(
    records: &'a Records,
    there: &[usize],
) -> impl Iterator<Item = (usize, RecordRef<'a>)> {
    let all = records.iter().enumerate();
    all.filter(move |(index, _)| there.binary_search(index).is_err())
}

/// As Fluvio's own producer chooses it.
fn partition_of(key: &[u8], partitions: u32) -> u32 {
    let mut hasher = siphasher::sip::SipHasher::new();
    key.hash(&mut hasher);
    (hasher.finish() % u64::from(partitions)) as u32
}

/// Append `entry`. Returns its offset.
async fn store(cluster: &mut Cluster, topic: &str, entry: &Entry) -> Result<i64, SinkError> {
    let value = entry.encode();
    let mut records = Records::default();
    records.push(RecordRef::new(0, 0, None, &value));
    let batch = encode(records.iter(), fluvio::Compression::None).map_err(SinkError::Fatal)?;
    let append = Append {
        topic: topic.to_owned(),
        partition: 0,
        batches: vec![batch],
    };
    let mut stored = cluster.append(vec![append]).await?;
    match stored.pop() {
        Some(result) => Ok(result?),
        None => Err(SinkError::Fatal(format!("`{topic}`: no answer to a write"))),
    }
}

/// The newest state before `end`; `None` if there never was one.
async fn newest(
    cluster: &mut Cluster,
    topic: &str,
    mut end: i64,
) -> Result<Option<State>, SinkError> {
    let start = cluster.offsets(topic, 0).await?.start;
    while end > start {
        let from = (end - LOOK_BACK).max(start);
        let mut found = None;
        let mut at = from;
        while at < end {
            let slice = cluster.fetch((topic, 0), at, Sight::All).await?;
            for record in slice.records.iter().filter(|record| record.offset < end) {
                let entry = Entry::decode(record.value, topic, record.offset);
                found = entry.map_err(SinkError::Fatal)?.state.or(found);
            }
            if slice.next == at {
                break;
            }
            at = slice.next;
        }
        if found.is_some() {
            return Ok(found);
        }
        end = from;
    }
    match start {
        0 => Ok(None),
        start => Err(SinkError::Fatal(format!(
            "`{topic}` starts at offset {start} and holds no position: its retention was shortened; delete it \
             to start anew (`fluvio topic delete {topic}`)"
        ))),
    }
}

/// What stands in `topic` behind `ends` goes into `present`; the first life of a writer takes all that is
/// there for others'. Returns where the partitions end.
async fn unfinished(
    (cluster, topic): (&mut Cluster, &str),
    (is_first, ends): (bool, &mut Vec<i64>),
    (present, identity): (&mut Present, Identity),
) -> Result<Vec<i64>, SinkError> {
    let mut reached = Vec::new();
    for partition in 0..cluster.partitions(topic)? {
        let there = cluster.offsets(topic, partition).await?;
        if ends.len() <= partition as usize {
            // A partition that was added since: all of it is newer than the checkpoint.
            ends.push(if is_first { there.end } else { there.start });
        }
        let mut at = ends[partition as usize].max(there.start);
        loop {
            let slice = cluster.fetch((topic, partition), at, Sight::All).await?;
            let records = slice.records.iter();
            records.for_each(|record| present.insert(topic, &record, identity));
            if slice.next > at {
                at = slice.next;
                continue;
            }
            // What only the leader has it may yet lose.
            slice.settled((topic, partition), at)?;
            break;
        }
        reached.push(at);
    }
    Ok(reached)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fluvio 0.50.1's own are private; these are what its `SiphashRoundRobinPartitioner` gives.
    #[test]
    fn keys_choose_all_partitions() {
        let chosen: std::collections::BTreeSet<u32> = (0..64_u32)
            .map(|key| partition_of(&key.to_le_bytes(), 5))
            .collect();
        assert_eq!(chosen, (0..5).collect());
    }
}
