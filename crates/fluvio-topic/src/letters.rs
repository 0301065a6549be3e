//! The dead letters of a sink: once for each offset, because the topic itself says which are there.

use std::collections::BTreeSet;

use gristmill_flow::{Sink, SinkError};
use gristmill_record::{Batch, Lane, Position, Positions};

use crate::FluvioConfig;
use crate::cluster::{Append, Cluster, Sight};
use crate::codec::encode;
use crate::letter::{pack, parse};

/// Letters of a lane that are known by their offsets; older ones by being older.
const NAMED_MAX: usize = 1_000;

/// Where a sink's letters go.
#[derive(Debug, Clone)]
pub struct LettersConfig {
    /// The cluster.
    pub fluvio: FluvioConfig,
    /// The dead-letter topic; it must exist.
    pub topic: String,
    /// Names the sink across restarts: pipeline and connector.
    pub id: String,
}

/// Writes the letters of one lane, for [`LaneDeadLetters`](gristmill_flow::LaneDeadLetters).
///
/// Its position is made of the letters that are there, so there is none to store beside them. A second
/// copy at the same time is not shut out, and may write a letter twice.
pub struct FluvioLetters {
    config: LettersConfig,
    cluster: Option<Cluster>,
}

impl FluvioLetters {
    /// Connects on first use.
    pub fn new(config: LettersConfig) -> Self {
        Self {
            config,
            cluster: None,
        }
    }

    async fn cluster(&mut self) -> Result<Cluster, SinkError> {
        match self.cluster.take() {
            Some(cluster) => Ok(cluster),
            None => Ok(Cluster::connect(&self.config.fluvio).await?),
        }
    }

    /// The offsets of `lane` that have a letter of this sink.
    async fn written(
        &self,
        cluster: &mut Cluster,
        lane: &Lane,
    ) -> Result<BTreeSet<i64>, SinkError> {
        let topic = (self.config.topic.as_str(), 0);
        let mut offsets = BTreeSet::new();
        let mut at = cluster.offsets(topic.0, topic.1).await?.start;
        loop {
            let slice = cluster.fetch(topic, at, Sight::All).await?;
            let letters = slice.records.iter();
            let letters = letters.filter_map(|record| {
                parse(&record).map(|letter| {
                    let ours = letter.writer == self.config.id
                        && letter.topic == *lane.topic
                        && letter.partition == lane.partition;
                    (letter.offset, ours)
                })
            });
            offsets.extend(letters.filter(|(_, ours)| *ours).map(|(offset, _)| offset));
            if slice.next == at {
                // What only the leader has it may yet lose.
                return slice
                    .settled(topic, at)
                    .map(|()| offsets)
                    .map_err(Into::into);
            }
            at = slice.next;
        }
    }
}

/// As [`LaneDeadLetters`](gristmill_flow::LaneDeadLetters) reads it: the offset below which all letters count
/// as written, and those that are named.
fn token(offsets: &BTreeSet<i64>) -> Position {
    let named = offsets.iter().rev().take(NAMED_MAX).rev();
    let older = offsets.iter().rev().nth(NAMED_MAX);
    let below = older.map_or(0, |older| older + 1);
    let named: Vec<String> = named.map(ToString::to_string).collect();
    Position::Token(format!("{below};{}", named.join(",")).into())
}

impl Sink for FluvioLetters {
    async fn positions(&mut self, lanes: &[Lane]) -> Result<Positions, SinkError> {
        let mut cluster = self.cluster().await?;
        let mut positions = Positions::new();
        for lane in lanes {
            let written = self.written(&mut cluster, lane).await?;
            if !written.is_empty() {
                positions.insert(lane.clone(), token(&written));
            }
        }
        self.cluster = Some(cluster);
        Ok(positions)
    }

    async fn write(&mut self, batch: &Batch) -> Result<(), SinkError> {
        let mut cluster = self.cluster().await?;
        let letters = pack(&batch.records, &self.config.id);
        let batches = letters.iter().map(|letter| {
            // Each in a batch of its own: a letter may have as many bytes as a batch.
            encode(std::iter::once(letter), fluvio::Compression::None).map_err(SinkError::Fatal)
        });
        let append = Append {
            topic: self.config.topic.clone(),
            partition: 0,
            batches: batches.collect::<Result<_, _>>()?,
        };
        for result in cluster.append(vec![append]).await? {
            result?;
        }
        self.cluster = Some(cluster);
        Ok(())
    }
}
