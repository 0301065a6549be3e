//! Kafka: every broker by name, the topics against what is asked for, transactions and groups.

use std::collections::BTreeMap;

use gristmill_flow::SourceError;
use gristmill_kafka_topic::{
    Cluster, KafkaConfig, TopicShape, TopicSpec, survey, try_group, try_transactions,
};
use gristmill_manifest::{Delivery, Direction, Manifest, plural};
use tokio::task::JoinSet;

use super::Finding;
use crate::Backend;
use crate::stages::topic_specs;

const AREA: &str = "kafka";

pub(super) async fn check(manifest: &Manifest) -> Vec<Finding> {
    let kafka = match Backend::cluster(manifest) {
        Ok(Backend::Kafka(kafka)) => kafka,
        #[cfg(feature = "fluvio")]
        Ok(Backend::Fluvio(fluvio)) => return super::fluvio::check(manifest, &fluvio).await,
        Ok(Backend::Local(_)) => return Vec::new(),
        Err(error) => {
            let area = match manifest.fluvio {
                Some(_) => "fluvio",
                None => AREA,
            };
            return vec![Finding::fail_with(area, "settings", error.to_string())];
        }
    };
    let named = kafka.brokers.iter().map(|address| (address.clone(), None));
    let answers = ask_each(&kafka, named.collect()).await;
    let cluster = answers
        .values()
        .find_map(|(_, answer)| answer.as_ref().ok());
    let mut findings: Vec<Finding> = answers
        .iter()
        .map(|(address, (_, answer))| named_broker(address, answer))
        .collect();
    let Some(cluster) = cluster.cloned() else {
        findings.push(Finding::skipped(AREA, "topics", "no broker answers"));
        return findings;
    };
    // What the brokers tell their clients is what a client then connects to.
    let told = cluster.brokers.iter();
    let told = told.filter(|(_, address)| !kafka.brokers.contains(address));
    let told = told.map(|(id, address)| (address.clone(), Some(*id)));
    for (address, (id, answer)) in ask_each(&kafka, told.collect()).await {
        findings.push(told_broker(&address, id.unwrap_or(-1), &answer));
    }
    for spec in topic_specs(manifest) {
        findings.push(topic(&spec, &cluster));
    }
    findings.extend(transactions(manifest, &kafka).await);
    findings.extend(groups(manifest, &kafka, &cluster).await);
    findings
}

type Answers = BTreeMap<String, (Option<i32>, Result<Cluster, SourceError>)>;

/// Ask each broker alone, all at once.
async fn ask_each(kafka: &KafkaConfig, addresses: Vec<(String, Option<i32>)>) -> Answers {
    let mut asking = JoinSet::new();
    for (address, id) in addresses {
        let alone = KafkaConfig {
            brokers: vec![address.clone()],
            ..kafka.clone()
        };
        asking.spawn(async move { (address, (id, survey(&alone).await)) });
    }
    asking.join_all().await.into_iter().collect()
}

fn named_broker(address: &str, answer: &Result<Cluster, SourceError>) -> Finding {
    let subject = format!("broker {address}");
    match answer {
        Ok(cluster) => {
            let detail = format!(
                "answers in {} ms, of a cluster of {}",
                cluster.took.as_millis(),
                cluster.brokers.len()
            );
            Finding::ok(AREA, subject, detail)
        }
        Err(SourceError::Fatal(reason)) => Finding::fail_with(AREA, subject, reason),
        Err(SourceError::Retry { reason, .. }) => Finding::fail(
            AREA,
            subject,
            reason,
            "start it, or correct `kafka.brokers`: the address must be that of a Kafka listener, \
             one with TLS needs `kafka.tls`, and one with a login `kafka.sasl`",
        ),
    }
}

fn told_broker(address: &str, id: i32, answer: &Result<Cluster, SourceError>) -> Finding {
    let subject = format!("broker {id}, which calls itself {address}");
    match answer {
        Ok(_) => Finding::ok(AREA, subject, "answers there"),
        Err(error) => Finding::fail(
            AREA,
            subject,
            format!("cannot be reached under that address from here: {error}"),
            "let its `advertised.listeners` name an address that clients reach, or start it",
        ),
    }
}

/// `1 copy`, `3 copies`.
fn many(n: usize, what: &str) -> String {
    format!("{n} {}", plural(n as u64, what))
}

fn topic(spec: &TopicSpec, cluster: &Cluster) -> Finding {
    let name = &spec.name;
    let subject = format!("topic {name}");
    let brokers = cluster.brokers.len();
    let Some(TopicShape {
        partitions,
        copies,
        leaderless,
        behind,
    }) = cluster.topics.get(name)
    else {
        let asked = usize::try_from(spec.replication_factor).unwrap_or(0);
        if asked > brokers {
            return Finding::fail(
                AREA,
                subject,
                format!(
                    "is missing and cannot be made with {} on {}",
                    many(asked, "copy"),
                    many(brokers, "broker")
                ),
                "lower its `replication-factor`, or start more brokers",
            );
        }
        return Finding::ok(AREA, subject, "is missing; `up` makes it");
    };
    let asked = usize::try_from(spec.partitions).unwrap_or(0);
    if *partitions < asked {
        return Finding::fail(
            AREA,
            subject,
            format!("has {}, {asked} asked for", many(*partitions, "partition")),
            format!(
                "set `partitions: {partitions}`, or add some (keys then move to others): \
                 kafka-topics.sh --alter --topic {name} --partitions {asked}"
            ),
        );
    }
    if !leaderless.is_empty() {
        return Finding::fail(
            AREA,
            subject,
            format!("nobody leads partitions {leaderless:?}"),
            "start the brokers that hold them",
        );
    }
    let asked_copies = usize::try_from(spec.replication_factor).unwrap_or(*copies);
    let shape = format!(
        "{}, {}",
        many(*partitions, "partition"),
        many(*copies, "copy")
    );
    if !behind.is_empty() {
        return Finding::warn(
            AREA,
            subject,
            format!("{shape}; partitions {behind:?} have copies that are behind or down"),
            "start the missing brokers: until then fewer losses are survived",
        );
    }
    if *copies < asked_copies {
        return Finding::warn(
            AREA,
            subject,
            format!("{shape}; {} asked for", many(asked_copies, "copy")),
            "kafka-reassign-partitions.sh adds copies; `up` does not change a topic",
        );
    }
    if *partitions > asked {
        return Finding::warn(
            AREA,
            subject,
            format!("{shape}; {} asked for", many(asked, "partition")),
            format!("set `partitions: {partitions}`"),
        );
    }
    Finding::ok(AREA, subject, shape)
}

async fn transactions(manifest: &Manifest, kafka: &KafkaConfig) -> Option<Finding> {
    let exact = |entry: &&gristmill_manifest::Connector| {
        entry.direction == Direction::Source && entry.delivery == Delivery::ExactlyOnce
    };
    let source = manifest.connectors.iter().find(exact)?;
    let id = format!("gristmill.{}.doctor", manifest.name);
    Some(match try_transactions(kafka, &source.topic, &id).await {
        Ok(()) => Finding::ok(AREA, "transactions", "can be begun"),
        Err(SourceError::Fatal(reason)) => Finding::fail_with(AREA, "transactions", reason),
        Err(SourceError::Retry { reason, .. }) => Finding::fail(
            AREA,
            "transactions",
            reason,
            "see that `__transaction_state` can be made: its copies need as many brokers \
             (transaction.state.log.replication.factor)",
        ),
    })
}

async fn groups(manifest: &Manifest, kafka: &KafkaConfig, cluster: &Cluster) -> Vec<Finding> {
    let mut findings = Vec::new();
    let sinks = manifest.connectors.iter();
    for sink in sinks.filter(|entry| entry.direction == Direction::Sink) {
        let group = &sink.consumer.id;
        let subject = format!("group {group} of {}", sink.name);
        if !cluster.topics.contains_key(&sink.topic) {
            let because = format!("topic {} is missing", sink.topic);
            findings.push(Finding::skipped(AREA, subject, because));
            continue;
        }
        findings.push(match try_group(kafka, &sink.topic, group).await {
            Ok(()) => Finding::ok(AREA, subject, format!("may read {}", sink.topic)),
            Err(SourceError::Fatal(reason)) => Finding::fail_with(AREA, subject, reason),
            Err(SourceError::Retry { reason, .. }) => Finding::fail(
                AREA,
                subject,
                reason,
                "see that `__consumer_offsets` can be made: its copies need as many brokers \
                 (offsets.topic.replication.factor)",
            ),
        });
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    fn cluster(partitions: usize, copies: usize) -> Cluster {
        let shape = TopicShape {
            partitions,
            copies,
            leaderless: Vec::new(),
            behind: Vec::new(),
        };
        Cluster {
            brokers: (1..=3).map(|id| (id, format!("b{id}:9092"))).collect(),
            topics: [("edits".to_owned(), shape)].into(),
            took: Default::default(),
        }
    }

    fn spec(name: &str, partitions: i32, replication_factor: i16) -> TopicSpec {
        TopicSpec {
            name: name.to_owned(),
            partitions,
            replication_factor,
            config: BTreeMap::new(),
        }
    }

    #[test]
    fn topics_are_held_against_the_file() {
        let verdict = |spec: &TopicSpec, cluster: &Cluster| topic(spec, cluster).verdict;
        let asked = spec("edits", 3, 3);
        assert_eq!(verdict(&asked, &cluster(3, 3)), Verdict::Ok);
        assert_eq!(verdict(&asked, &cluster(2, 3)), Verdict::Failed);
        assert_eq!(verdict(&asked, &cluster(4, 3)), Verdict::Warning);
        assert_eq!(verdict(&asked, &cluster(3, 1)), Verdict::Warning);
        assert_eq!(verdict(&spec("edits", 3, -1), &cluster(3, 1)), Verdict::Ok);
        assert_eq!(verdict(&spec("new", 3, 3), &cluster(3, 3)), Verdict::Ok);
        assert_eq!(verdict(&spec("new", 3, 4), &cluster(3, 3)), Verdict::Failed);
        let mut down = cluster(3, 3);
        down.topics.get_mut("edits").unwrap().behind = vec![1];
        assert_eq!(verdict(&asked, &down), Verdict::Warning);
        down.topics.get_mut("edits").unwrap().leaderless = vec![1];
        assert_eq!(verdict(&asked, &down), Verdict::Failed);
    }
}
