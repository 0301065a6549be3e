//! Records, dead letters and the position of a lane in one commit.

use gristmill_flow::{Sink, SinkError, dead_letter_records};
use gristmill_record::{Batch, Lane, Position, Positions, Records};
use redb::ReadableTable;

use crate::chunk::Chunk;
use crate::log::{CHUNKS, ENDS, POSITIONS, Topic};
use crate::{LocalError, LocalLog, murmur2, position};

/// What a [`LocalWriter`] writes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriterConfig {
    /// The topic; it must exist.
    pub topic: String,
    /// Where the batches' rejects go, made with one partition if missing. Without one, the leg
    /// has to take care of rejects.
    pub dead_letter_topic: Option<String>,
    /// Under whose name positions are stored; a second life under the same name goes on where the
    /// first one stopped.
    pub connector: String,
}

/// Appends batches to an embedded topic.
///
/// Keys choose the partition as in Kafka's Java client; the records without a key of one batch go
/// to one partition, the next batch's to the next.
#[derive(Debug)]
pub struct LocalWriter {
    log: LocalLog,
    connector: String,
    topic: Topic,
    dead_letters: Option<Topic>,
    /// Batches written: chooses the partition of records without a key.
    turn: u32,
}

/// Topic id, partition and chunk, in the order in which they are to be stored.
type Chunks = Vec<((u32, u32), Chunk)>;

/// One batch, encoded, on its way to the thread that commits it.
struct Commit {
    connector: String,
    lane: Lane,
    from: Option<Position>,
    next: Position,
    chunks: Chunks,
}

impl LocalWriter {
    /// A writer to a topic of `log`.
    ///
    /// # Errors
    /// [`LocalError::Unknown`] if the topic does not exist, [`LocalError::Storage`].
    pub fn new(log: LocalLog, config: WriterConfig) -> Result<Self, LocalError> {
        let topic = log.existing(&config.topic)?;
        let dead_letters = match &config.dead_letter_topic {
            None => None,
            Some(name) => {
                log.ensure_topic(name, 1)?;
                Some(log.existing(name)?)
            }
        };
        Ok(Self {
            log,
            connector: config.connector,
            topic,
            dead_letters,
            turn: 0,
        })
    }

    fn encode(&mut self, batch: &Batch) -> Result<Chunks, SinkError> {
        let mut chunks = Chunks::new();
        append(&mut chunks, self.topic, &batch.records, self.turn);
        if !batch.rejects.is_empty() {
            let Some(topic) = self.dead_letters else {
                return Err(SinkError::Fatal(format!(
                    "{}: {} rejects and no dead-letter topic to put them in",
                    batch.lane,
                    batch.rejects.len()
                )));
            };
            let letters = dead_letter_records(&batch.lane, &batch.rejects);
            append(&mut chunks, topic, &letters, self.turn);
        }
        self.turn = self.turn.wrapping_add(1);
        Ok(chunks)
    }
}

/// Encode `records` into chunks by partition.
fn append(chunks: &mut Chunks, topic: Topic, records: &Records, turn: u32) {
    let mut open: Vec<Option<Chunk>> = Vec::new();
    open.resize_with(topic.partitions as usize, || None);
    for record in records.iter() {
        let partition = match record.key {
            Some(key) => murmur2::partition(key, topic.partitions),
            None => turn % topic.partitions,
        };
        let slot = &mut open[partition as usize];
        let chunk = slot.get_or_insert_with(Chunk::new);
        chunk.push(&record);
        if chunk.is_full() {
            chunks.extend(slot.take().map(|chunk| ((topic.id, partition), chunk)));
        }
    }
    let rest = (0..).zip(open);
    chunks.extend(rest.filter_map(|(partition, chunk)| Some(((topic.id, partition), chunk?))));
}

/// Commit, unless another position is stored: then that one.
fn commit(log: &LocalLog, commit: Commit) -> Result<Result<(), Position>, LocalError> {
    let lane = (
        &*commit.connector,
        &*commit.lane.topic,
        commit.lane.partition,
    );
    let from = commit.from.as_ref().map(position::encode);
    let other = log.write(|db| {
        // Dropped before its commit, a transaction is undone.
        let txn = db.begin_write()?;
        {
            let mut positions = txn.open_table(POSITIONS)?;
            let stored = positions.get(lane)?.map(|stored| stored.value().to_vec());
            if stored.is_some() && stored != from {
                return Ok(stored);
            }
            positions.insert(lane, position::encode(&commit.next).as_slice())?;
            let mut ends = txn.open_table(ENDS)?;
            let mut table = txn.open_table(CHUNKS)?;
            for ((id, partition), mut chunk) in commit.chunks {
                let end = ends.get((id, partition))?.map(|end| end.value());
                let (base, high_ms) = end.unwrap_or((0, i64::MIN));
                let next = base + i64::from(chunk.count());
                let (bytes, high_ms) = chunk.seal(high_ms);
                table.insert((id, partition, base), bytes)?;
                ends.insert((id, partition), (next, high_ms))?;
            }
        }
        txn.commit()?;
        Ok(None)
    })?;
    if let Some(stored) = other {
        return parse(log, &commit.connector, &commit.lane, &stored).map(Err);
    }
    log.committed();
    Ok(Ok(()))
}

fn stored(log: &LocalLog, connector: &str, lane: &Lane) -> Result<Option<Position>, LocalError> {
    let bytes = log.read_with(|txn| {
        let table = txn.open_table(POSITIONS)?;
        let row = table.get((connector, &*lane.topic, lane.partition))?;
        Ok(row.map(|row| row.value().to_vec()))
    })?;
    bytes
        .map(|bytes| parse(log, connector, lane, &bytes))
        .transpose()
}

fn parse(
    log: &LocalLog,
    connector: &str,
    lane: &Lane,
    bytes: &[u8],
) -> Result<Position, LocalError> {
    position::decode(bytes).ok_or_else(|| log.corrupt(format!("position of {connector} in {lane}")))
}

impl Sink for LocalWriter {
    async fn positions(&mut self, lanes: &[Lane]) -> Result<Positions, SinkError> {
        let mut positions = Positions::new();
        for lane in lanes {
            if let Some(stored) = stored(&self.log, &self.connector, lane).map_err(fatal)? {
                positions.insert(lane.clone(), stored);
            }
        }
        Ok(positions)
    }

    async fn write(&mut self, batch: &Batch) -> Result<(), SinkError> {
        let work = Commit {
            connector: self.connector.clone(),
            lane: batch.lane.clone(),
            from: batch.from.clone(),
            next: batch.next.clone(),
            chunks: self.encode(batch)?,
        };
        let log = self.log.clone();
        match blocking(move || commit(&log, work)).await? {
            Ok(()) => Ok(()),
            Err(stored) => Err(SinkError::Misaligned {
                lane: batch.lane.clone(),
                stored: Some(stored),
                reason: "another copy of this connector went on".to_owned(),
            }),
        }
    }

    fn takes_rejects(&self) -> bool {
        self.dead_letters.is_some()
    }
}

/// Run what waits for the disk on a thread that may.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LocalError> + Send + 'static,
) -> Result<T, SinkError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(fatal),
        Err(error) => Err(SinkError::Fatal(format!("embedded topics: {error}"))),
    }
}

/// Errors of a local disk do not pass by themselves.
#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
pub(crate) fn fatal(error: LocalError) -> SinkError {
    SinkError::Fatal(error.to_string())
}
