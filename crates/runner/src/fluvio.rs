//! Topics on a Fluvio cluster: what the other modules do for Kafka.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use gristmill_flow::{LaneDeadLetters, LegError, LegStats, NoDeadLetters, SourceError};
use gristmill_fluvio_topic::{
    Compression, FluvioConfig, FluvioLetters, FluvioReader, FluvioTail, FluvioWriter,
    LettersConfig, ReaderConfig, SETTLE, Start, TopicSpec, WriterConfig, check_config,
    dead_letter_topic, ensure_topics, read_all, read_before, read_new, unpack,
};
use gristmill_manifest::{Manifest, Start as From};
use gristmill_record::{RecordRef, Records};
use gristmill_redis_sink::RedisSink;

use crate::browse::{BrowseError, DeadLetter, Visit, replay_leg};
use crate::look_back::{LookingBack, Newest, Past, Topic};
use crate::plan::StageConfig;
use crate::stages::{Run, run_leg, sse, stream_name};
use crate::{BackendError, LegView};

/// How to reach the cluster that `manifest` names, its topics' properties checked.
pub(crate) fn config(manifest: &Manifest) -> Result<FluvioConfig, BackendError> {
    check_config(&topic_specs(manifest)).map_err(BackendError::Fluvio)?;
    let fluvio = manifest.fluvio.as_ref();
    Ok(FluvioConfig {
        endpoint: fluvio
            .map(|fluvio| fluvio.endpoint.clone())
            .unwrap_or_default(),
        client_id: format!("gristmill-{}", manifest.name),
    })
}

/// The topics that the file declares and their dead-letter topics. Writers make their own checkpoint
/// topics.
pub(crate) fn topic_specs(manifest: &Manifest) -> Vec<TopicSpec> {
    let mut specs = Vec::new();
    for (name, topic) in &manifest.topics {
        let replicas = u32::from(topic.replication_factor.unwrap_or(1));
        specs.push(TopicSpec {
            name: name.clone(),
            partitions: topic.partitions,
            replicas,
            config: topic.config.clone(),
        });
        specs.push(TopicSpec {
            name: dead_letter_topic(name),
            partitions: 1,
            replicas,
            config: BTreeMap::new(),
        });
    }
    specs
}

/// Make the topics that are missing.
pub(crate) async fn prepare(
    manifest: &Manifest,
    fluvio: &FluvioConfig,
    legs: &[LegView],
) -> Result<(), String> {
    let specs = topic_specs(manifest);
    let made = crate::stages::patiently(legs, || ensure_topics(fluvio, &specs));
    for difference in made.await? {
        tracing::warn!("{difference}");
    }
    Ok(())
}

/// As `kafka_stage`.
pub(crate) async fn stage(
    pipeline: &str,
    run: Run<'_>,
    fluvio: FluvioConfig,
) -> Result<(), LegError> {
    let Run {
        stage, part, stats, ..
    } = run;
    let letters = dead_letter_topic(&stage.topic);
    match &stage.config {
        StageConfig::Sse(config) => {
            let tail = FluvioTail::new(fluvio.clone(), &stage.topic);
            let name = stream_name(stage, part);
            let source = sse(&name, (stage, part), config, tail, stats)?;
            let sink = FluvioWriter::new(WriterConfig {
                dead_letter_topic: Some(letters),
                compression: compression(stage.entry.producer.compression.as_deref()),
                ..writer(fluvio, &stage.topic, format!("{pipeline}.{name}"))
            });
            run_leg(run, source, sink, NoDeadLetters, Past::default()).await
        }
        StageConfig::Redis(config) => {
            let sink = RedisSink::new(pipeline, &stage.name, (**config).clone(), stats.clone())
                .map_err(|error| LegError::Sink(error.to_string()))?;
            let config = LettersConfig {
                fluvio: fluvio.clone(),
                topic: letters,
                id: format!("{pipeline}.{}", stage.name),
            };
            let dead_letters = LaneDeadLetters::new(move |_lane| {
                std::future::ready(Ok(FluvioLetters::new(config.clone())))
            });
            let source = FluvioReader::new(ReaderConfig {
                partitions: stage.entry.consumer.partitions.clone(),
                share: (part.index, part.of),
                start: match stage.entry.consumer.start {
                    From::Beginning => Start::Beginning,
                    From::End => Start::End,
                },
                stats: stats.clone(),
                ..ReaderConfig::new(fluvio.clone(), &stage.topic)
            });
            let past = Past::default();
            let source =
                LookingBack::new(source, Topic::Fluvio(fluvio), &stage.steps, past.clone());
            run_leg(run, source, sink, dead_letters, past).await
        }
    }
}

fn writer(fluvio: FluvioConfig, topic: &str, id: String) -> WriterConfig {
    WriterConfig {
        fluvio,
        topic: topic.to_owned(),
        dead_letter_topic: None,
        id,
        replicas: 1,
        compression: Compression::None,
        settle: SETTLE,
    }
}

/// `meta.producer.compression`, which the manifest has checked; none unless said, as Fluvio's own producer.
fn compression(name: Option<&str>) -> Compression {
    match name {
        Some("gzip") => Compression::Gzip,
        Some("snappy") => Compression::Snappy,
        Some("lz4") => Compression::Lz4,
        Some("zstd") => Compression::Zstd,
        _ => Compression::None,
    }
}

/// As [`browse`](crate::browse).
pub(crate) async fn browse(
    fluvio: &FluvioConfig,
    topic: &str,
    follow: bool,
    visit: Visit<'_>,
) -> Result<(), BrowseError> {
    let mut said = String::new();
    loop {
        let result = match follow {
            true => read_new(fluvio, topic, visit).await,
            false => read_all(fluvio, topic, visit).await,
        };
        match result {
            Err(SourceError::Retry { after, reason }) if follow => {
                if said != reason {
                    tracing::warn!(reason, "waiting");
                    said = reason;
                }
                tokio::time::sleep(after).await;
            }
            // What was visited would be visited once more.
            Err(SourceError::Retry { reason, .. }) => return Err(SourceError::Fatal(reason).into()),
            result => return Ok(result?),
        }
    }
}

/// As [`dead_letters`](crate::dead_letters).
pub(crate) async fn dead_letters(
    fluvio: &FluvioConfig,
    topic: &str,
    visit: &mut (dyn FnMut(&DeadLetter<'_>) -> ControlFlow<()> + Send),
) -> Result<(), BrowseError> {
    browse(
        fluvio,
        &dead_letter_topic(topic),
        false,
        &mut |_, record| {
            let mut letter = Records::default();
            unpack(&record, &mut letter);
            letter.get(0).map_or(ControlFlow::Continue(()), |record| {
                visit(&DeadLetter::of(&record))
            })
        },
    )
    .await
}

/// As [`replay_dead_letters`](crate::replay_dead_letters): each goes back once, if one process at a time
/// does it.
pub(crate) async fn replay_dead_letters(
    pipeline: &str,
    fluvio: &FluvioConfig,
    topic: &str,
) -> Result<u64, BrowseError> {
    let stats = Arc::<LegStats>::default();
    let source = FluvioReader::new(ReaderConfig {
        letters: true,
        stats: stats.clone(),
        ..ReaderConfig::new(fluvio.clone(), dead_letter_topic(topic))
    });
    let id = format!("{pipeline}.replay.{topic}");
    let sink = FluvioWriter::new(writer(fluvio.clone(), topic, id));
    replay_leg(topic, source, sink, stats).await
}

/// What modules that look back see of a topic.
pub(crate) async fn past(
    fluvio: &FluvioConfig,
    topic: &str,
    ends: &BTreeMap<i32, i64>,
    newest: &mut Newest,
) -> Result<(), SourceError> {
    let since_ms = newest.since_ms();
    let asked = newest.asked;
    let start = move |end| Newest::new(asked).start(end);
    let visit = |partition, record: RecordRef<'_>| newest.push(partition, record);
    read_before(fluvio, topic, ends, (start, since_ms), visit).await
}
