//! The cluster as a visitor finds it: for `gristmill doctor`, which changes nothing.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use gristmill_flow::SourceError;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::metadata::Metadata;
use rdkafka::producer::{BaseProducer, Producer};
use rdkafka::{Offset, TopicPartitionList};

use crate::KafkaConfig;
use crate::context::{Cause, Context, Reading, heard};
use crate::error::{Doing, Trouble};

/// How long a broker may take to answer. A client that cannot connect needs all of it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(6);
/// A coordinator that was never asked for a transaction first makes its own topic.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(20);

/// A cluster as one of its brokers describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// The brokers: id and the address that they tell their clients.
    pub brokers: BTreeMap<i32, String>,
    /// The topics that are shown to this user.
    pub topics: BTreeMap<String, TopicShape>,
    /// How long the answer took, connecting included.
    pub took: Duration,
}

/// A topic as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicShape {
    /// How many partitions it has.
    pub partitions: usize,
    /// Copies of the partition that has the fewest.
    pub copies: usize,
    /// Partitions that nobody leads: nothing of them can be read or written.
    pub leaderless: Vec<i32>,
    /// Partitions with copies that lag behind or are down.
    pub behind: Vec<i32>,
}

/// Ask the brokers of `kafka`, whichever answers first, what the cluster is like.
///
/// # Errors
/// As for a reader: no broker answers, or the login is refused.
pub async fn survey(kafka: &KafkaConfig) -> Result<Cluster, SourceError> {
    let kafka = kafka.clone();
    blocking(move || {
        let started = Instant::now();
        let consumer = consumer(&kafka, None)?;
        let metadata = consumer
            .fetch_metadata(None, ANSWER_TIMEOUT)
            .map_err(|error| {
                let cause = heard(&consumer)
                    .or(error.rdkafka_error_code().map(Cause::Code))
                    .unwrap_or(Code::AllBrokersDown.into());
                Doing::Create { topic: "" }.explain(cause, &kafka)
            })?;
        Ok(cluster(&metadata, started.elapsed()))
    })
    .await
}

/// Whether a transaction can be begun as `transactional_id`, which is to be one of the visitor's
/// own: whoever else uses it is shut out.
///
/// # Errors
/// No coordinator, no right, or a cluster without transactions.
pub async fn try_transactions(
    kafka: &KafkaConfig,
    topic: &str,
    transactional_id: &str,
) -> Result<(), SourceError> {
    let kafka = kafka.clone();
    let (topic, id) = (topic.to_owned(), transactional_id.to_owned());
    blocking(move || {
        let mut client = kafka.client().map_err(lasting)?;
        client.set("transactional.id", &id);
        let producer: BaseProducer<Context> = client
            .create_with_context(Context::default())
            .map_err(|error| lasting(kafka.refused(error)))?;
        producer
            .init_transactions(TRANSACTION_TIMEOUT)
            .map_err(|error| {
                producer.poll(Duration::from_millis(10));
                let cause = producer
                    .context()
                    .trouble()
                    .or(error.rdkafka_error_code().map(Cause::Code))
                    .unwrap_or(Code::OperationTimedOut.into());
                let doing = Doing::Write {
                    topic: &topic,
                    transactional_id: &id,
                };
                doing.explain(cause, &kafka)
            })
    })
    .await
}

/// Whether the consumer group `group` may be used, and topic `topic` be read: asks for the group's
/// offset and for where the first partition ends.
///
/// # Errors
/// No right to one of them, no coordinator.
pub async fn try_group(kafka: &KafkaConfig, topic: &str, group: &str) -> Result<(), SourceError> {
    let kafka = kafka.clone();
    let (topic, group) = (topic.to_owned(), group.to_owned());
    blocking(move || {
        let consumer = consumer(&kafka, Some(&group))?;
        let explain = |code: Option<Code>| {
            let doing = Doing::Read {
                topic: &topic,
                group: Some(&group),
            };
            let cause = code.map(Cause::Code).or(heard(&consumer));
            doing.explain(cause.unwrap_or(Code::OperationTimedOut.into()), &kafka)
        };
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&topic, 0, Offset::Invalid)
            .map_err(|error| explain(error.rdkafka_error_code()))?;
        consumer
            .committed_offsets(list, ANSWER_TIMEOUT)
            .map_err(|error| explain(error.rdkafka_error_code()))?;
        consumer
            .fetch_watermarks(&topic, 0, ANSWER_TIMEOUT)
            .map_err(|error| explain(error.rdkafka_error_code()))?;
        Ok(())
    })
    .await
}

fn consumer(kafka: &KafkaConfig, group: Option<&str>) -> Result<BaseConsumer<Reading>, Trouble> {
    let mut client = kafka.client().map_err(lasting)?;
    // Who looks wants to know that a broker hung up: it may have expected TLS.
    client.set("log.connection.close", "true");
    if let Some(group) = group {
        client.set("group.id", group);
        client.set("enable.auto.commit", "false");
    }
    client
        .create_with_context(Reading::default())
        .map_err(|error| lasting(kafka.refused(error)))
}

fn lasting(error: crate::ConfigError) -> Trouble {
    Trouble::Lasting(error.to_string())
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Trouble> + Send + 'static,
) -> Result<T, SourceError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(SourceError::from),
        Err(error) => Err(SourceError::Fatal(error.to_string())),
    }
}

fn cluster(metadata: &Metadata, took: Duration) -> Cluster {
    let brokers = metadata.brokers().iter().map(|broker| {
        let address = format!("{}:{}", broker.host(), broker.port());
        (broker.id(), address)
    });
    let topics = metadata.topics().iter().filter(|topic| {
        // A topic with an error is one that this user is not shown.
        topic.error().is_none() && !topic.partitions().is_empty()
    });
    let topics = topics.map(|topic| {
        let partitions = topic.partitions();
        let ids = |which: &dyn Fn(&rdkafka::metadata::MetadataPartition) -> bool| {
            let matching = partitions.iter().filter(|partition| which(partition));
            matching.map(|partition| partition.id()).collect()
        };
        let copies = partitions
            .iter()
            .map(|partition| partition.replicas().len());
        let shape = TopicShape {
            partitions: partitions.len(),
            copies: copies.min().unwrap_or(0),
            leaderless: ids(&|partition| partition.leader() < 0),
            behind: ids(&|partition| partition.isr().len() < partition.replicas().len()),
        };
        (topic.name().to_owned(), shape)
    });
    Cluster {
        brokers: brokers.collect(),
        topics: topics.collect(),
        took,
    }
}
