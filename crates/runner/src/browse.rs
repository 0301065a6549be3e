//! Looking into topics from outside a pipeline: `tap`, `dead-letter list|replay`.

use std::borrow::Cow;
use std::future::Future;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use gristmill_flow::{
    CancellationToken, Leg, LegError, LegStats, NoDeadLetters, Sink, Source, SourceError, Status,
    Transform, TransformError, header,
};
use gristmill_kafka_topic::{
    Compression, Delivery, FollowConfig, Follower, From as KafkaFrom, Oversize, ReaderConfig,
    TopicReader, TopicWriter, Until, WriterConfig, is_missing_topic,
};
use gristmill_local_topic::{LocalLog, LocalReader, LocalWriter};
use gristmill_record::{Batch, RecordRef, Records};

use crate::Backend;
use crate::stages::{checkpoint_topic, dead_letter_topic};

/// Records and bytes read from an embedded topic at once.
const SLICE: (usize, usize) = (1024, 1 << 20);

/// What a visitor says after each record.
pub type Visit<'a> = &'a mut (dyn FnMut(i32, RecordRef<'_>) -> ControlFlow<()> + Send);

/// Why a topic cannot be looked into.
#[derive(Debug, thiserror::Error)]
pub enum BrowseError {
    /// On the cluster.
    #[error("{0}")]
    Kafka(#[from] SourceError),
    /// Embedded.
    #[error(transparent)]
    Local(#[from] gristmill_local_topic::LocalError),
    /// Dead letters could not be written once more.
    #[error(transparent)]
    Leg(#[from] LegError),
}

/// A record that could not be processed.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct DeadLetter<'a> {
    /// The topic, or the stream's connector, that it came from.
    pub topic: Cow<'a, str>,
    /// Its partition there.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// The step that refused it.
    pub stage: Cow<'a, str>,
    /// Why.
    pub reason: Cow<'a, str>,
    /// Its key.
    pub key: Option<Cow<'a, str>>,
    /// Its value; bytes that are no UTF-8 show as U+FFFD.
    pub value: Cow<'a, str>,
    /// Milliseconds since the epoch.
    pub timestamp: i64,
}

impl<'a> DeadLetter<'a> {
    pub(crate) fn of(record: &RecordRef<'a>) -> Self {
        let text = |name| String::from_utf8_lossy(record.headers.get(name).unwrap_or_default());
        Self {
            topic: text(header::TOPIC),
            partition: text(header::PARTITION).parse().unwrap_or(-1),
            offset: text(header::OFFSET).parse().unwrap_or(-1),
            stage: text(header::STAGE),
            reason: text(header::REASON),
            key: record.key.map(String::from_utf8_lossy),
            value: String::from_utf8_lossy(record.value),
            timestamp: record.timestamp_ms,
        }
    }
}

/// Visit the committed records of `topic` with their partitions: all that are there, or, with
/// `follow`, those that come from now on.
///
/// # Errors
/// No such topic, no rights, a broken directory. A broker that is down is waited for.
pub async fn browse(
    backend: &Backend,
    topic: &str,
    follow: bool,
    visit: Visit<'_>,
) -> Result<(), BrowseError> {
    match backend {
        Backend::Kafka(kafka) => {
            let config = FollowConfig {
                kafka: kafka.clone(),
                topic: topic.to_owned(),
                from: if follow {
                    KafkaFrom::End
                } else {
                    KafkaFrom::Beginning
                },
                until: if follow { Until::Forever } else { Until::End },
            };
            let mut follower = patient(follow, || Follower::open(config.clone())).await?;
            while let Some(batch) = next(&mut follower).await? {
                for record in batch.records.iter() {
                    if visit(batch.lane.partition, record).is_break() {
                        return Ok(());
                    }
                }
            }
            Ok(())
        }
        #[cfg(feature = "fluvio")]
        Backend::Fluvio(fluvio) => crate::fluvio::browse(fluvio, topic, follow, visit).await,
        Backend::Local(log) => browse_local(log, topic, follow, visit).await,
    }
}

async fn browse_local(
    log: &LocalLog,
    topic: &str,
    follow: bool,
    visit: Visit<'_>,
) -> Result<(), BrowseError> {
    let mut commits = log.commits();
    let ends = log
        .topics()?
        .into_iter()
        .find(|info| info.name == topic)
        .map(|info| info.ends);
    // An unknown topic is told by the read below.
    let ends = ends.unwrap_or_else(|| vec![0]);
    let mut offsets: Vec<i64> = if follow { ends } else { vec![0; ends.len()] };
    loop {
        for (partition, offset) in (0..).zip(&mut offsets) {
            loop {
                let slice = log.read(topic, partition, *offset, SLICE.0, SLICE.1)?;
                for record in slice.records.iter() {
                    if visit(partition, record).is_break() {
                        return Ok(());
                    }
                }
                *offset = slice.next;
                if slice.next >= slice.end {
                    break;
                }
            }
        }
        if !follow || commits.changed().await.is_err() {
            return Ok(());
        }
    }
}

/// Visit the dead letters of `topic`.
///
/// # Errors
/// As [`browse`].
pub async fn dead_letters(
    backend: &Backend,
    topic: &str,
    visit: &mut (dyn FnMut(&DeadLetter<'_>) -> ControlFlow<()> + Send),
) -> Result<(), BrowseError> {
    #[cfg(feature = "fluvio")]
    if let Backend::Fluvio(fluvio) = backend {
        return crate::fluvio::dead_letters(fluvio, topic, visit).await;
    }
    browse(
        backend,
        &dead_letter_topic(topic),
        false,
        &mut |_, record| visit(&DeadLetter::of(&record)),
    )
    .await
}

/// Keeps the letters that came out of the topic they are to go back to: what a source refused was
/// never in it, and may be cut.
struct Returnable<'a>(&'a str);

impl Transform for Returnable<'_> {
    fn apply(&mut self, batch: Batch) -> Result<Batch, TransformError> {
        let mut records = Records::with_capacity(batch.records.len(), batch.records.bytes());
        batch
            .records
            .iter()
            .filter(|record| record.headers.get(header::TOPIC) == Some(self.0.as_bytes()))
            .for_each(|record| records.push(record));
        Ok(Batch { records, ..batch })
    }
}

/// Write the dead letters of `topic` into it once more; how many. It is a leg like any other: the
/// position in the dead-letter topic is stored with the effect, so a letter goes back once,
/// however often this is called or killed.
///
/// # Errors
/// As [`browse`], and where the topic cannot be written.
pub async fn replay_dead_letters(
    pipeline: &str,
    backend: &Backend,
    topic: &str,
) -> Result<u64, BrowseError> {
    let letters = dead_letter_topic(topic);
    let id = format!("gristmill.{pipeline}.replay.{topic}");
    let stats = Arc::<LegStats>::default();
    match backend {
        Backend::Kafka(kafka) => {
            let sink = TopicWriter::open(WriterConfig {
                kafka: kafka.clone(),
                topic: topic.to_owned(),
                dead_letter_topic: None,
                checkpoint_topic: checkpoint_topic(pipeline),
                transactional_id: id.clone(),
                compression: Compression::default(),
                delivery: Delivery::ExactlyOnce,
                oversize: Oversize::Cut,
            })
            .map_err(|error| LegError::Sink(error.to_string()))?;
            let source = TopicReader::open(ReaderConfig::new(
                kafka.clone(),
                &letters,
                &id,
                stats.clone(),
            ))?;
            replay_leg(topic, source, sink, stats).await
        }
        #[cfg(feature = "fluvio")]
        Backend::Fluvio(fluvio) => {
            crate::fluvio::replay_dead_letters(pipeline, fluvio, topic).await
        }
        Backend::Local(log) => {
            let config = gristmill_local_topic::WriterConfig {
                topic: topic.to_owned(),
                dead_letter_topic: None,
                connector: id,
            };
            let sink = LocalWriter::new(log.clone(), config)?;
            let reader = gristmill_local_topic::ReaderConfig {
                stats: stats.clone(),
                ..gristmill_local_topic::ReaderConfig::new(&letters)
            };
            let source = LocalReader::new(log.clone(), reader)?;
            replay_leg(topic, source, sink, stats).await
        }
    }
}

pub(crate) async fn replay_leg<S: Source, K: Sink>(
    topic: &str,
    source: S,
    sink: K,
    stats: Arc<LegStats>,
) -> Result<u64, BrowseError> {
    let stop = CancellationToken::new();
    let mut leg = Leg {
        name: "dead-letter replay".to_owned(),
        source,
        transform: Returnable(topic),
        sink,
        dead_letters: NoDeadLetters,
        stats: stats.clone(),
    };
    let caught_up = async {
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let lag = stats.lag();
            let at_end = !lag.is_empty() && lag.values().all(|records| *records == 0);
            if at_end && stats.status() == Status::Running {
                stop.cancel();
                return std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        result = leg.run(&stop) => result?,
        // Never ends: it cancels `stop`, and the leg ends in order.
        () = caught_up => {}
    }
    Ok(LegStats::get(&stats.records_out))
}

/// Call `open` until it succeeds or fails for good. Who does not `follow` wants what is there, and
/// does not wait for a topic that is not.
async fn patient<T, Fut: Future<Output = Result<T, SourceError>>>(
    follow: bool,
    mut open: impl FnMut() -> Fut,
) -> Result<T, SourceError> {
    let mut said = String::new();
    loop {
        match open().await {
            Err(error) if !follow && is_missing_topic(&error) => {
                return Err(SourceError::Fatal(error.to_string()));
            }
            Err(SourceError::Retry { after, reason }) => {
                // Each reason once: it is asked again twice a second.
                if said != reason {
                    tracing::warn!(reason, "waiting");
                    said = reason;
                }
                tokio::time::sleep(after).await;
            }
            result => return result,
        }
    }
}

async fn next(follower: &mut Follower) -> Result<Option<Batch>, SourceError> {
    loop {
        match follower.next().await {
            Err(SourceError::Retry { after, reason }) => {
                tracing::warn!(reason, "waiting");
                tokio::time::sleep(after).await;
            }
            result => return result,
        }
    }
}
