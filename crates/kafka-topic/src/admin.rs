//! Topics that are there before anyone reads or writes them.

use std::collections::BTreeMap;
use std::time::Duration;

use gristmill_flow::SourceError;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::metadata::Metadata;

use crate::KafkaConfig;
use crate::context::Context;
use crate::error::{Doing, Trouble};
use crate::survey::survey;

/// How long one request to the cluster may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Metadata of a topic that was just created may lag behind on some brokers.
const PROPAGATION_TIMEOUT: Duration = Duration::from_secs(10);
/// Kafka's default `max.message.bytes`.
pub(crate) const MAX_MESSAGE_BYTES: usize = 1_048_588;

/// A topic as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    /// Its name.
    pub name: String,
    /// Number of partitions; -1 for the broker's default.
    pub partitions: i32,
    /// Copies of each partition; -1 for the broker's default.
    pub replication_factor: i16,
    /// Topic properties, such as `retention.ms`; applied on creation only.
    pub config: BTreeMap<String, String>,
}

impl TopicSpec {
    /// The compacted topic that writers keep positions on. One partition: a writer reads all of
    /// it when it starts. Small segments that are compacted soon keep that short.
    pub fn checkpoint(name: impl Into<String>, replication_factor: i16) -> Self {
        let config = [
            ("cleanup.policy", "compact"),
            ("segment.bytes", "16777216"),
            ("segment.ms", "3600000"),
            ("min.cleanable.dirty.ratio", "0.1"),
        ];
        Self {
            name: name.into(),
            partitions: 1,
            replication_factor,
            config: config.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        }
    }
}

/// A topic as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicState {
    /// Its name.
    pub name: String,
    /// Whether this call created it.
    pub created: bool,
    /// Number of partitions.
    pub partitions: i32,
    /// Copies of the first partition.
    pub replication_factor: i16,
    /// Where it differs from what was asked for, for a human; nothing is changed.
    pub differences: Vec<String>,
}

/// Create those of `topics` that are missing, and say how each of them is.
///
/// # Errors
/// [`SourceError::Retry`] while no broker answers; [`SourceError::Fatal`] without the right to
/// create, for a topic with fewer partitions than asked for, or for a spec the broker refuses.
pub async fn ensure_topics(
    kafka: &KafkaConfig,
    topics: &[TopicSpec],
) -> Result<Vec<TopicState>, SourceError> {
    let admin = client(kafka).map_err(SourceError::Fatal)?;
    let (admin, before) = metadata(admin, kafka).await?;
    let missing: Vec<&TopicSpec> = topics
        .iter()
        .filter(|spec| find(&before, &spec.name).is_none())
        .collect();
    let mut created = Vec::new();
    if !missing.is_empty() {
        created = create(&admin, kafka, &missing).await?;
    }
    let (_, after) = known(admin, kafka, topics).await?;
    topics
        .iter()
        .map(|spec| state(spec, &after, created.contains(&spec.name), kafka))
        .collect()
}

/// The limit on a record batch of each of `topics` (`max.message.bytes`), in their order; Kafka's
/// default where the cluster does not say.
pub(crate) async fn max_message_bytes(kafka: &KafkaConfig, topics: &[&str]) -> Vec<usize> {
    let mut limits = vec![MAX_MESSAGE_BYTES; topics.len()];
    let Ok(admin) = client(kafka) else {
        return limits;
    };
    let resources: Vec<_> = topics
        .iter()
        .map(|topic| ResourceSpecifier::Topic(topic))
        .collect();
    let options = AdminOptions::new().request_timeout(Some(REQUEST_TIMEOUT));
    match admin.describe_configs(&resources, &options).await {
        Ok(results) => {
            for (limit, result) in limits.iter_mut().zip(results) {
                let value = result.ok().and_then(|resource| {
                    resource
                        .get("max.message.bytes")?
                        .value
                        .as_ref()?
                        .parse()
                        .ok()
                });
                *limit = value.unwrap_or(*limit);
            }
        }
        Err(error) => tracing::debug!(%error, "cannot read the topics' max.message.bytes"),
    }
    limits
}

fn client(kafka: &KafkaConfig) -> Result<AdminClient<Context>, String> {
    let config = kafka.client().map_err(|error| error.to_string())?;
    config
        .create_with_context(Context::default())
        .map_err(|error| kafka.refused(error).to_string())
}

/// All topics; blocking, so on a thread for that, where the client travels to and back.
async fn metadata(
    admin: AdminClient<Context>,
    kafka: &KafkaConfig,
) -> Result<(AdminClient<Context>, Metadata), SourceError> {
    let task = tokio::task::spawn_blocking(move || {
        let result = admin.inner().fetch_metadata(None, REQUEST_TIMEOUT);
        (admin, result)
    });
    let (admin, result) = task
        .await
        .map_err(|error| SourceError::Fatal(error.to_string()))?;
    match result {
        Ok(metadata) => Ok((admin, metadata)),
        Err(error) => {
            // An admin client serves no events, in which the reason is (a refused login, say):
            // ask with one that does.
            survey(kafka).await?;
            let code = error.rdkafka_error_code().unwrap_or(Code::AllBrokersDown);
            Err(Doing::Create { topic: "" }.explain(code, kafka).into())
        }
    }
}

/// Metadata that holds all of `topics`, or as much as there is after a while.
async fn known(
    mut admin: AdminClient<Context>,
    kafka: &KafkaConfig,
    topics: &[TopicSpec],
) -> Result<(AdminClient<Context>, Metadata), SourceError> {
    let deadline = tokio::time::Instant::now() + PROPAGATION_TIMEOUT;
    loop {
        let (back, found) = metadata(admin, kafka).await?;
        let all = topics.iter().all(|spec| {
            find(&found, &spec.name)
                .is_some_and(|topic| topic.partitions().iter().all(|p| p.leader() >= 0))
        });
        if all || tokio::time::Instant::now() > deadline {
            return Ok((back, found));
        }
        admin = back;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn create(
    admin: &AdminClient<Context>,
    kafka: &KafkaConfig,
    missing: &[&TopicSpec],
) -> Result<Vec<String>, SourceError> {
    let fresh: Vec<NewTopic<'_>> = missing
        .iter()
        .map(|spec| {
            let replication = TopicReplication::Fixed(i32::from(spec.replication_factor));
            let topic = NewTopic::new(&spec.name, spec.partitions, replication);
            spec.config
                .iter()
                .fold(topic, |topic, (key, value)| topic.set(key, value))
        })
        .collect();
    let options = AdminOptions::new()
        .request_timeout(Some(REQUEST_TIMEOUT))
        .operation_timeout(Some(REQUEST_TIMEOUT));
    let results = admin
        .create_topics(&fresh, &options)
        .await
        .map_err(|error| match error {
            KafkaError::AdminOpCreation(reason) => SourceError::Fatal(reason),
            error => {
                let code = error
                    .rdkafka_error_code()
                    .unwrap_or(Code::OperationTimedOut);
                let names: Vec<&str> = missing.iter().map(|spec| spec.name.as_str()).collect();
                Doing::Create {
                    topic: &names.join(", "),
                }
                .explain(code, kafka)
                .into()
            }
        })?;
    let mut created = Vec::new();
    for result in results {
        match result {
            Ok(name) => created.push(name),
            // Somebody else was faster.
            Err((_, Code::TopicAlreadyExists)) => {}
            Err((name, code)) => return Err(refusal(&name, code, missing, kafka).into()),
        }
    }
    Ok(created)
}

fn refusal(name: &str, code: Code, missing: &[&TopicSpec], kafka: &KafkaConfig) -> Trouble {
    let spec = missing.iter().find(|spec| spec.name == name);
    match (code, spec) {
        (Code::InvalidReplicationFactor, Some(spec)) => Trouble::Lasting(format!(
            "topic `{name}` cannot have {} replicas: {} has fewer brokers; lower \
             replication-factor, or start more brokers",
            spec.replication_factor,
            kafka.at()
        )),
        (Code::InvalidPartitions, Some(spec)) => Trouble::Lasting(format!(
            "topic `{name}` cannot have {} partitions: give it at least 1",
            spec.partitions
        )),
        (Code::InvalidConfig, Some(spec)) => Trouble::Lasting(format!(
            "topic `{name}`: the broker refuses one of its properties ({:?}): check their names \
             and values",
            spec.config
        )),
        (Code::PolicyViolation, _) => Trouble::Lasting(format!(
            "topic `{name}` is against the cluster's policy for new topics: have it created"
        )),
        _ => Doing::Create { topic: name }.explain(code, kafka),
    }
}

fn find<'m>(metadata: &'m Metadata, name: &str) -> Option<&'m rdkafka::metadata::MetadataTopic> {
    let topic = metadata
        .topics()
        .iter()
        .find(|topic| topic.name() == name)?;
    (topic.error().is_none() && !topic.partitions().is_empty()).then_some(topic)
}

fn state(
    spec: &TopicSpec,
    metadata: &Metadata,
    created: bool,
    kafka: &KafkaConfig,
) -> Result<TopicState, SourceError> {
    let Some(topic) = find(metadata, &spec.name) else {
        let doing = Doing::Create { topic: &spec.name };
        // It exists (or was just made), yet is not shown to us: no right to describe it.
        let code = if created {
            Code::LeaderNotAvailable
        } else {
            Code::TopicAuthorizationFailed
        };
        return Err(doing.explain(code, kafka).into());
    };
    let partitions = i32::try_from(topic.partitions().len()).unwrap_or(i32::MAX);
    let replicas = topic.partitions().first().map_or(0, |p| p.replicas().len());
    let replication_factor = i16::try_from(replicas).unwrap_or(i16::MAX);
    if partitions < spec.partitions {
        return Err(SourceError::Fatal(format!(
            "topic `{name}` has {partitions} partitions, {wanted} are asked for: set \
             `partitions: {partitions}`, or add partitions to it (keys then move to others): \
             kafka-topics.sh --alter --topic {name} --partitions {wanted}",
            name = spec.name,
            wanted = spec.partitions,
        )));
    }
    let mut differences = Vec::new();
    if spec.partitions >= 0 && partitions != spec.partitions {
        let wanted = spec.partitions;
        differences.push(format!("{partitions} partitions, {wanted} asked for"));
    }
    if spec.replication_factor >= 0 && replication_factor != spec.replication_factor {
        let wanted = spec.replication_factor;
        differences.push(format!("{replication_factor} replicas, {wanted} asked for"));
    }
    Ok(TopicState {
        name: spec.name.clone(),
        created,
        partitions,
        replication_factor,
        differences,
    })
}
