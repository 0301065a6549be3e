//! Topics that are there before anyone reads or writes them.

use std::collections::BTreeMap;
use std::time::Duration;

use fluvio::metadata::topic::{
    CleanupPolicy, SegmentBasedPolicy, TopicSpec as Spec, TopicStorageConfig,
};
use fluvio_protocol::link::ErrorCode;
use fluvio_sc_schema::ApiError;
use gristmill_flow::SourceError;

use crate::FluvioConfig;
use crate::cluster::{Cluster, admin};
use crate::error::Trouble;

/// A topic that was just created may have no leaders for a moment.
const PROPAGATION_TIMEOUT: Duration = Duration::from_secs(10);
/// Of a checkpoint topic, in bytes and seconds: what is closed and older goes.
const CHECKPOINT_SEGMENT: u32 = 16 << 20;
const CHECKPOINT_RETENTION: u32 = 24 * 3600;

/// A topic as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    /// Its name.
    pub name: String,
    /// Number of partitions.
    pub partitions: u32,
    /// Copies of each partition.
    pub replicas: u32,
    /// `retention.ms`, `retention.bytes`, `segment.bytes`: Kafka's names of what Fluvio has too. Applied on
    /// creation only.
    pub config: BTreeMap<String, String>,
}

impl TopicSpec {
    /// The topic that a writer keeps its positions on.
    pub(crate) fn checkpoint(name: &str, replicas: u32) -> Self {
        let config = [
            ("segment.bytes", CHECKPOINT_SEGMENT.to_string()),
            ("retention.ms", format!("{CHECKPOINT_RETENTION}000")),
        ];
        Self {
            name: name.to_owned(),
            partitions: 1,
            replicas,
            config: config.map(|(key, value)| (key.to_owned(), value)).into(),
        }
    }

    fn spec(&self) -> Result<Spec, String> {
        let mut spec = Spec::new_computed(self.partitions, self.replicas, None);
        let mut storage = TopicStorageConfig::default();
        for (key, value) in &self.config {
            let number: u64 = value.parse().map_err(|_| {
                format!(
                    "topic `{}`: `{key}` is `{value}`, which is no number",
                    self.name
                )
            })?;
            let small = u32::try_from(number);
            match (key.as_str(), small) {
                ("retention.ms", _) => {
                    let seconds = u32::try_from(number.div_ceil(1000)).unwrap_or(u32::MAX);
                    spec.set_cleanup_policy(CleanupPolicy::Segment(SegmentBasedPolicy {
                        time_in_seconds: seconds,
                    }));
                }
                ("retention.bytes", _) => storage.max_partition_size = Some(number),
                ("segment.bytes", Ok(bytes)) => storage.segment_size = Some(bytes),
                ("segment.bytes", Err(_)) => {
                    let name = &self.name;
                    return Err(format!("topic `{name}`: `{key}` is more than 4 GiB"));
                }
                _ => {
                    return Err(format!(
                        "topic `{}`: `{key}` is a property of Kafka's topics; a Fluvio topic has \
                         `retention.ms`, `retention.bytes` and `segment.bytes`",
                        self.name
                    ));
                }
            }
        }
        if storage != TopicStorageConfig::default() {
            spec.set_storage(storage);
        }
        match spec.validate_config() {
            Some(reason) => Err(format!("topic `{}`: {reason}", self.name)),
            None => Ok(spec),
        }
    }
}

/// Check what can be checked of `topics` without a cluster.
///
/// # Errors
/// A property that Fluvio's topics do not have, or a value that they do not take.
pub fn check_config(topics: &[TopicSpec]) -> Result<(), String> {
    topics.iter().try_for_each(|topic| topic.spec().map(drop))
}

/// Create those of `topics` that are missing. Returns where the others differ from what was asked for,
/// for a human; nothing of them is changed.
///
/// # Errors
/// [`SourceError::Retry`] while the cluster does not answer; [`SourceError::Fatal`] for a topic with fewer
/// partitions than asked for, and for one that the cluster refuses to create.
pub async fn ensure_topics(
    config: &FluvioConfig,
    topics: &[TopicSpec],
) -> Result<Vec<String>, SourceError> {
    let mut cluster = Cluster::connect(config).await?;
    ensure(&mut cluster, topics).await.map_err(Into::into)
}

pub(crate) async fn ensure(
    cluster: &mut Cluster,
    topics: &[TopicSpec],
) -> Result<Vec<String>, Trouble> {
    let missing = |cluster: &Cluster, topic: &TopicSpec| cluster.partitions(&topic.name).is_err();
    for topic in topics {
        if missing(cluster, topic) {
            create(cluster, topic).await?;
        }
    }
    let deadline = tokio::time::Instant::now() + PROPAGATION_TIMEOUT;
    while topics.iter().any(|topic| missing(cluster, topic)) {
        if tokio::time::Instant::now() > deadline {
            let reason = "the cluster has not set up its new topics: are enough SPUs running for their \
                          replicas (`fluvio topic list`)?";
            return Err(Trouble::Passing(reason.to_owned()));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        cluster.refresh().await?;
    }
    let mut differences = Vec::new();
    for TopicSpec {
        name,
        partitions: wanted,
        ..
    } in topics
    {
        let there = cluster.partitions(name)?;
        if there < *wanted {
            return Err(Trouble::Lasting(format!(
                "topic `{name}` has {there} partitions, {wanted} are asked for: set `partitions: {there}`, \
                 or add some to it (keys then move to others): fluvio topic add-partition {name} --count {}",
                wanted - there
            )));
        }
        if there > *wanted {
            differences.push(format!(
                "topic `{name}` has {there} partitions, {wanted} asked for"
            ));
        }
    }
    Ok(differences)
}

async fn create(cluster: &Cluster, topic: &TopicSpec) -> Result<(), Trouble> {
    let spec = topic.spec().map_err(Trouble::Lasting)?;
    let creating = cluster.admin().create(topic.name.clone(), false, spec);
    let created = tokio::time::timeout(PROPAGATION_TIMEOUT, creating).await;
    let error = match created {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => error,
        Err(_) => return admin(cluster.at(), std::future::pending()).await,
    };
    match code(&error) {
        // Somebody else was faster.
        Some(ErrorCode::TopicAlreadyExists) => Ok(()),
        Some(
            code @ (ErrorCode::TopicInvalidConfiguration
            | ErrorCode::InvalidCreateRequest
            | ErrorCode::TopicInvalidReplicaType),
        ) => Err(Trouble::Lasting(format!(
            "topic `{}` cannot be created with {} partitions of {} replicas: {error} ({code})",
            topic.name, topic.partitions, topic.replicas
        ))),
        Some(code) => Err(Trouble::told(code, &format!("topic `{}`", topic.name))),
        None => Err(Trouble::admin(&error, cluster.at())),
    }
}

/// What the controller answered, if it did.
fn code(error: &anyhow::Error) -> Option<&ErrorCode> {
    match error.downcast_ref::<ApiError>() {
        Some(ApiError::Code(code, _)) => Some(code),
        _ => None,
    }
}

/// What is there, for who only looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// Number of partitions by topic.
    pub topics: BTreeMap<String, usize>,
    /// Addresses of the SPUs by number.
    pub spus: BTreeMap<i32, String>,
    /// Time of the answer.
    pub took: Duration,
}

/// Ask the cluster what is there.
///
/// # Errors
/// [`SourceError::Retry`] while it does not answer.
pub async fn survey(config: &FluvioConfig) -> Result<Shape, SourceError> {
    let started = std::time::Instant::now();
    let cluster = Cluster::connect(config).await?;
    let (topics, spus) = cluster.shape();
    Ok(Shape {
        topics,
        spus,
        took: started.elapsed(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(key: &str, value: &str) -> TopicSpec {
        TopicSpec {
            name: "edits".to_owned(),
            partitions: 3,
            replicas: 1,
            config: [(key.to_owned(), value.to_owned())].into(),
        }
    }

    #[test]
    fn kafkas_names_of_what_fluvio_has_are_taken() {
        let spec = with("retention.ms", "86400500").spec().unwrap();
        assert_eq!((spec.retention_secs(), spec.partitions()), (86_401, 3));
        let spec = with("segment.bytes", "1048576").spec().unwrap();
        assert_eq!(spec.get_storage().unwrap().segment_size, Some(1 << 20));
        TopicSpec::checkpoint("c", 1).spec().unwrap();
    }

    #[test]
    fn what_fluvio_does_not_have_is_named() {
        for (key, value, part) in [
            (
                "cleanup.policy",
                "1",
                "`cleanup.policy` is a property of Kafka's topics",
            ),
            ("retention.ms", "a week", "`retention.ms` is `a week`"),
            (
                "retention.ms",
                "1000",
                "retention_secs 1 is less than minimum 10",
            ),
            ("segment.bytes", "4294967296", "more than 4 GiB"),
        ] {
            let error = check_config(&[with(key, value)]).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
