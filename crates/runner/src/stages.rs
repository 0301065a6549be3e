//! Which source, transform and sink make a stage, on which backend.

use std::sync::Arc;

use gristmill_counter::{KeyTemplate, Late, WindowCounter, WindowRules};
use gristmill_flow::{
    CancellationToken, DeadLetters, LaneDeadLetters, Leg, LegError, LegStats, NoDeadLetters, Sink,
    SinkError, Source, SourceError, Status, TopicTail,
};
use gristmill_kafka_topic::{
    Compression, Delivery, KafkaConfig, KafkaTail, Oversize, ReaderConfig, TopicReader, TopicSpec,
    TopicWriter, WriterConfig, ensure_topics,
};
use gristmill_local_topic::{
    LocalCounts, LocalLog, LocalReader, LocalTail, LocalWindows, LocalWriter,
};
use gristmill_manifest::{Delivery as Promise, Manifest, Start};
use gristmill_redis_sink::{LateRule, RedisSink};
use gristmill_smartengine::Chain;
use gristmill_sse_source::SseSource;

use crate::legs::epoch_ms;
use crate::look_back::{LookingBack, Past, Topic};
use crate::plan::{Part, Plan, Stage, StageConfig};
use crate::swap::{Slot, Swap};
use crate::{Backend, LegView};

/// The topic that takes what a step refused.
pub(crate) fn dead_letter_topic(topic: &str) -> String {
    format!("{topic}.dead-letter")
}

/// The compacted topic with the positions of a pipeline's sources.
pub(crate) fn checkpoint_topic(pipeline: &str) -> String {
    format!("gristmill.{pipeline}.checkpoints")
}

/// Make the topics that are missing. Waits for brokers, saying so in every stage's status.
///
/// # Errors
/// What will not pass by itself: no rights, fewer partitions than asked for.
pub(crate) async fn prepare(
    plan: &Plan,
    backend: &Backend,
    legs: &[LegView],
) -> Result<(), String> {
    let specs = topic_specs(&plan.manifest);
    match backend {
        Backend::Local(log) => {
            for spec in specs {
                log.ensure_topic(&spec.name, spec.partitions)
                    .map_err(|error| error.to_string())?;
            }
            Ok(())
        }
        Backend::Kafka(kafka) => {
            let states = patiently(legs, || ensure_topics(kafka, &specs)).await?;
            for difference in states.iter().flat_map(|state| &state.differences) {
                tracing::warn!("{difference}");
            }
            Ok(())
        }
        #[cfg(feature = "fluvio")]
        Backend::Fluvio(fluvio) => crate::fluvio::prepare(&plan.manifest, fluvio, legs).await,
    }
}

/// Call `prepare` until it succeeds or fails for good; every stage's status says what is waited for.
pub(crate) async fn patiently<T, Fut: Future<Output = Result<T, SourceError>>>(
    legs: &[LegView],
    mut prepare: impl FnMut() -> Fut,
) -> Result<T, String> {
    loop {
        match prepare().await {
            Ok(prepared) => return Ok(prepared),
            Err(SourceError::Fatal(reason)) => return Err(reason),
            Err(SourceError::Retry { after, reason }) => {
                for leg in legs {
                    if leg.stats.set_status(Status::Waiting(reason.clone())) {
                        tracing::warn!(connector = leg.name, reason, "waiting");
                    }
                }
                tokio::time::sleep(after).await;
            }
        }
    }
}

/// The topics that the file declares, their dead-letter topics and the checkpoint topic.
pub(crate) fn topic_specs(manifest: &Manifest) -> Vec<TopicSpec> {
    let mut specs = Vec::new();
    // -1 leaves the number of copies to the cluster, as the file does where it says nothing.
    let mut replication = -1;
    for (name, topic) in &manifest.topics {
        let copies = topic.replication_factor.map_or(-1, |copies| copies as i16);
        replication = replication.max(copies);
        specs.push(TopicSpec {
            name: name.clone(),
            partitions: topic.partitions as i32,
            replication_factor: copies,
            config: topic.config.clone(),
        });
        specs.push(TopicSpec {
            name: dead_letter_topic(name),
            partitions: 1,
            replication_factor: copies,
            config: Default::default(),
        });
    }
    specs.push(TopicSpec::checkpoint(
        checkpoint_topic(&manifest.name),
        replication,
    ));
    specs
}

/// Run one part of a stage until its source ends, `stop` is cancelled or it fails.
///
/// # Errors
/// See [`LegError`].
pub(crate) async fn run(
    pipeline: &str,
    (stage, part): (Stage, Part),
    backend: Backend,
    stats: Arc<LegStats>,
    stop: CancellationToken,
    slot: Slot,
) -> Result<(), LegError> {
    let run = Run {
        stage: &stage,
        part: &part,
        stats: &stats,
        stop: &stop,
        slot,
    };
    let result = match backend {
        Backend::Kafka(kafka) => kafka_stage(pipeline, run, kafka).await,
        Backend::Local(log) => local_stage(pipeline, run, log).await,
        #[cfg(feature = "fluvio")]
        Backend::Fluvio(fluvio) => crate::fluvio::stage(pipeline, run, fluvio).await,
    };
    if let Err(error) = &result {
        stats.set_status(Status::Failed(error.to_string()));
    }
    result
}

/// What every kind of stage is run with.
pub(crate) struct Run<'a> {
    pub(crate) stage: &'a Stage,
    pub(crate) part: &'a Part,
    pub(crate) stats: &'a Arc<LegStats>,
    stop: &'a CancellationToken,
    slot: Slot,
}

async fn kafka_stage(pipeline: &str, run: Run<'_>, kafka: KafkaConfig) -> Result<(), LegError> {
    let Run {
        stage, part, stats, ..
    } = run;
    let writer = |topic: &str, id: String, dead_letters: Option<String>| WriterConfig {
        kafka: kafka.clone(),
        topic: topic.to_owned(),
        dead_letter_topic: dead_letters,
        checkpoint_topic: checkpoint_topic(pipeline),
        transactional_id: id,
        compression: compression(stage.entry.producer.compression.as_deref()),
        delivery: match stage.entry.delivery {
            Promise::ExactlyOnce => Delivery::ExactlyOnce,
            Promise::AtLeastOnce => Delivery::AtLeastOnce,
        },
        oversize: Oversize::Reject,
    };
    match &stage.config {
        StageConfig::Sse(config) => {
            let tail = KafkaTail::new(kafka.clone(), &stage.topic);
            let name = stream_name(stage, part);
            let source = sse(&name, (stage, part), config, tail, stats)?;
            let id = format!("gristmill.{pipeline}.{name}");
            let config = writer(&stage.topic, id, Some(dead_letter_topic(&stage.topic)));
            let sink =
                TopicWriter::open(config).map_err(|error| LegError::Sink(error.to_string()))?;
            run_leg(run, source, sink, NoDeadLetters, Past::default()).await
        }
        StageConfig::Redis(config) => {
            let sink = RedisSink::new(pipeline, &stage.name, (**config).clone(), stats.clone())
                .map_err(|error| LegError::Sink(error.to_string()))?;
            let dead_letters = LaneDeadLetters::new(|lane: gristmill_record::Lane| {
                let id = format!(
                    "gristmill.{pipeline}.{}.dead-letter.{}.{}",
                    stage.name, lane.topic, lane.partition
                );
                let config = WriterConfig {
                    oversize: Oversize::Cut,
                    ..writer(&dead_letter_topic(&lane.topic), id, None)
                };
                std::future::ready(TopicWriter::open(config))
            });
            let group = &stage.entry.consumer.id;
            let reader = ReaderConfig {
                partitions: stage.entry.consumer.partitions.clone(),
                start: match stage.entry.consumer.start {
                    Start::Beginning => gristmill_kafka_topic::Start::Beginning,
                    Start::End => gristmill_kafka_topic::Start::End,
                },
                // Neither a SmartModule nor a count sees them.
                headers: false,
                ..ReaderConfig::new(kafka.clone(), &stage.topic, group, stats.clone())
            };
            let source =
                TopicReader::open(reader).map_err(|error| LegError::Source(error.to_string()))?;
            let past = Past::default();
            let topic = Topic::Kafka(kafka.clone());
            let source = LookingBack::new(source, topic, &stage.steps, past.clone());
            run_leg(run, source, sink, dead_letters, past).await
        }
    }
}

async fn local_stage(pipeline: &str, run: Run<'_>, log: LocalLog) -> Result<(), LegError> {
    let Run {
        stage, part, stats, ..
    } = run;
    let writer = |topic: &str, id: String, dead_letter_topic: Option<String>| {
        let config = gristmill_local_topic::WriterConfig {
            topic: topic.to_owned(),
            dead_letter_topic,
            connector: id,
        };
        LocalWriter::new(log.clone(), config)
    };
    match &stage.config {
        StageConfig::Sse(config) => {
            let name = stream_name(stage, part);
            let tail = LocalTail::new(log.clone(), &stage.topic);
            let source = sse(&name, (stage, part), config, tail, stats)?;
            let id = format!("{pipeline}.{name}");
            let sink = writer(&stage.topic, id, Some(dead_letter_topic(&stage.topic)))
                .map_err(|error| LegError::Sink(error.to_string()))?;
            run_leg(run, source, sink, NoDeadLetters, Past::default()).await
        }
        StageConfig::Redis(config) if config.upsert.is_some() => Err(LegError::Sink(
            "upsert: embedded counts are counts; a table's changes need a Redis: run without \
             --local"
                .to_owned(),
        )),
        StageConfig::Redis(config) => {
            let template = KeyTemplate::parse(&config.count)
                .map_err(|error| LegError::Sink(format!("count: {error}")))?;
            let dead_letters = LaneDeadLetters::new(|lane: gristmill_record::Lane| {
                let id = format!("{pipeline}.{}.dead-letter", stage.name);
                let opened = writer(&dead_letter_topic(&lane.topic), id, None);
                std::future::ready(opened.map_err(|error| SinkError::Fatal(error.to_string())))
            });
            let named = stage.entry.consumer.partitions.as_ref();
            let number = |partition: &i32| u32::try_from(*partition).ok();
            let reader = gristmill_local_topic::ReaderConfig {
                partitions: named.map(|named| named.iter().filter_map(number).collect()),
                share: (part.index, part.of),
                start: match stage.entry.consumer.start {
                    Start::Beginning => gristmill_local_topic::Start::Beginning,
                    Start::End => gristmill_local_topic::Start::End,
                },
                stats: stats.clone(),
                ..gristmill_local_topic::ReaderConfig::new(&stage.topic)
            };
            let source = LocalReader::new(log.clone(), reader)
                .map_err(|error| LegError::Source(error.to_string()))?;
            let past = Past::default();
            let topic = Topic::Local(log.clone());
            let source = LookingBack::new(source, topic, &stage.steps, past.clone());
            if let Some(window) = &config.window {
                let late = match window.late {
                    LateRule::Count => Late::Count,
                    LateRule::DeadLetter => Late::Refuse,
                };
                let rules = WindowRules::new(window.size, window.grace);
                let counter = WindowCounter::new(template, rules, late);
                let sink = LocalWindows::new(
                    log.clone(),
                    (pipeline, &stage.name),
                    counter,
                    (window.keep, window.idle),
                    stats.clone(),
                    epoch_ms,
                );
                return run_leg(run, source, sink, dead_letters, past).await;
            }
            let sink = LocalCounts::new(log.clone(), pipeline, &stage.name, template);
            run_leg(run, source, sink, dead_letters, past).await
        }
    }
}

/// `meta.producer.compression`, which the manifest has checked.
fn compression(name: Option<&str>) -> Compression {
    match name {
        Some("none") => Compression::None,
        Some("gzip") => Compression::Gzip,
        Some("snappy") => Compression::Snappy,
        Some("zstd") => Compression::Zstd,
        _ => Compression::Lz4,
    }
}

/// What a stream's positions and transactions go by.
pub(crate) fn stream_name(stage: &Stage, part: &Part) -> String {
    match part.name.as_str() {
        "" => stage.name.clone(),
        stream => format!("{}.{stream}", stage.name),
    }
}

pub(crate) fn sse<T: TopicTail>(
    name: &str,
    (stage, part): (&Stage, &Part),
    config: &gristmill_sse_source::Config,
    tail: T,
    stats: &Arc<LegStats>,
) -> Result<SseSource<T>, LegError> {
    let mut streams = config.streams().into_iter();
    let stream = streams.find(|(stream, _)| *stream == part.name);
    let Some((_, config)) = stream else {
        return Err(LegError::Source(format!("no stream `{}`", part.name)));
    };
    let source = SseSource::new(name.into(), config, tail, stats.clone())
        .map_err(|error| LegError::Source(error.to_string()))?;
    Ok(source
        .with_stream(&part.name)
        .with_transforms(!stage.steps.is_empty()))
}

pub(crate) async fn run_leg<S: Source, K: Sink, D: DeadLetters>(
    run: Run<'_>,
    source: S,
    sink: K,
    dead_letters: D,
    past: Past,
) -> Result<(), LegError> {
    let Run {
        stage, stats, stop, ..
    } = run;
    let chain =
        Chain::new(stage.steps.clone()).map_err(|error| LegError::Source(error.to_string()))?;
    let mut leg = Leg {
        name: stage.name.clone(),
        source,
        transform: Swap::new(&stage.name, chain, run.slot, past),
        sink,
        dead_letters,
        stats: stats.clone(),
    };
    leg.run(stop).await
}
