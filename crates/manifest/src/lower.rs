//! From a checked value tree to the typed manifest. What the check has let through has the right
//! types; a value that is absent has its default here.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use crate::fill::sounds_secret;
use crate::format;
use crate::listen::listen_addr;
use crate::load::{connectors, is_single, spec_of};
use crate::model::{
    Connector, Consumer, Delivery, Fluvio, Kafka, KafkaSasl, KafkaTls, Limits, Lookback, Manifest,
    Metrics, Producer, Section, Start, Text, Topic, Transform,
};
use crate::places::{Places, files, place};
use crate::redact::Redactions;
use crate::source::Sources;
use crate::spec::{ConnectorSpec, Direction};
use crate::tree::{Node, Value};

pub(crate) fn manifest(
    root: &Node,
    specs: &[ConnectorSpec],
    mut secrets: BTreeSet<String>,
    sources: &Sources,
) -> Manifest {
    inline_passwords(root, "", &mut secrets);
    let redactions = Redactions::new(secrets);
    let of_file = delivery(root.get("delivery")).unwrap_or_default();
    let connectors: Vec<Connector> = connectors(root)
        .into_iter()
        .filter_map(|(_, node)| {
            let spec = spec_of(node, specs)?;
            Some(connector(node, spec, of_file, &redactions, sources))
        })
        .collect();
    let mut topics: BTreeMap<String, Topic> = entries(root.get("topics"))
        .map(|(name, node)| (name.to_owned(), topic(node)))
        .collect();
    if is_single(root) {
        for connector in &connectors {
            topics.entry(connector.topic.clone()).or_default();
        }
    }
    Manifest {
        name: string(root, &["meta", "name"]).unwrap_or_default(),
        version: string(root, &["meta", "version"]).unwrap_or_else(|| "0.1.0".to_owned()),
        kafka: Kafka {
            brokers: brokers(root.at(&["kafka", "brokers"])),
            tls: root.at(&["kafka", "tls"]).and_then(kafka_tls),
            sasl: root.at(&["kafka", "sasl"]).and_then(kafka_sasl),
            properties: texts(root.at(&["kafka", "properties"])),
        },
        fluvio: string(root, &["fluvio", "endpoint"]).map(|endpoint| Fluvio { endpoint }),
        topics,
        metrics: Metrics {
            listen: root.at(&["metrics", "listen"]).and_then(listen),
        },
        connectors,
        redactions,
        places: places(root, "kafka", sources),
    }
}

fn places(node: &Node, key: &str, sources: &Sources) -> Places {
    let entry = node.map().and_then(|map| map.entry(key));
    entry.map_or_else(Places::default, |entry| Places::of(entry, sources))
}

/// `true` and any mapping turn it on.
fn kafka_tls(node: &Node) -> Option<KafkaTls> {
    match &node.value {
        Value::Bool(true) => Some(KafkaTls::default()),
        Value::Map(_) => {
            let file = |key: &str| string(node, &[key]).map(Into::into);
            Some(KafkaTls {
                ca_file: file("ca-file"),
                cert_file: file("cert-file"),
                key_file: file("key-file"),
                key_password: node.get("key-password").map(text),
            })
        }
        _ => None,
    }
}

fn kafka_sasl(node: &Node) -> Option<KafkaSasl> {
    Some(KafkaSasl {
        mechanism: string(node, &["mechanism"])?,
        username: text(node.get("username")?),
        password: text(node.get("password")?),
    })
}

fn connector(
    node: &Node,
    spec: &ConnectorSpec,
    of_file: Delivery,
    redactions: &Redactions,
    sources: &Sources,
) -> Connector {
    let name = string(node, &["meta", "name"]).unwrap_or_default();
    let transforms = node
        .get("transforms")
        .and_then(Node::list)
        .unwrap_or_default();
    let section = node.get(&spec.section).filter(|node| !node.is_null());
    let json = |filled| {
        let empty = || Json::Object(serde_json::Map::new());
        section.map_or_else(empty, |section| section.to_json(filled))
    };
    Connector {
        kind: spec.name.clone(),
        version: string(node, &["meta", "version"]).unwrap_or_default(),
        direction: spec.direction,
        topic: string(node, &["meta", "topic"]).unwrap_or_default(),
        delivery: delivery(node.at(&["meta", "producer", "delivery"])).unwrap_or(of_file),
        producer: match spec.direction {
            Direction::Source => producer(node.at(&["meta", "producer"])),
            Direction::Sink => Producer::default(),
        },
        consumer: consumer(node.at(&["meta", "consumer"]), &name),
        replicas: int(node.get("replicas")).unwrap_or(1),
        transforms: transforms
            .iter()
            .map(|node| transform(node, sources))
            .collect(),
        section: Section {
            value: json(true),
            written: json(false),
            redactions: redactions.clone(),
            places: places(node, &spec.section, sources),
            files: section.map_or_else(Vec::new, |section| files(section, &spec.schema)),
        },
        span: place(node.span, sources),
        name,
    }
}

fn topic(node: &Node) -> Topic {
    let config = texts(node.get("config"));
    Topic {
        partitions: int(node.get("partitions")).unwrap_or(1),
        replication_factor: int(node.get("replication-factor")),
        config: config
            .into_iter()
            .map(|(key, text)| (key, text.value))
            .collect(),
    }
}

fn producer(node: Option<&Node>) -> Producer {
    Producer {
        linger: duration(node.and_then(|node| node.get("linger"))),
        batch_size: size(node.and_then(|node| node.get("batch-size"))),
        compression: node.and_then(|node| string(node, &["compression"])),
    }
}

fn consumer(node: Option<&Node>, name: &str) -> Consumer {
    let partition = node.and_then(|node| node.get("partition"));
    let partitions = partition.and_then(|node| match &node.value {
        Value::Int(_) => Some(vec![int(Some(node))?]),
        Value::List(items) => Some(items.iter().filter_map(|item| int(Some(item))).collect()),
        _ => None,
    });
    let start = node.and_then(|node| node.at(&["offset", "start"])?.text());
    Consumer {
        id: node
            .and_then(|node| string(node, &["id"]))
            .unwrap_or_else(|| name.to_owned()),
        partitions,
        start: if start == Some("end") {
            Start::End
        } else {
            Start::Beginning
        },
    }
}

fn transform(node: &Node, sources: &Sources) -> Transform {
    let lookback = node.get("lookback").filter(|node| !node.is_null());
    let limits = node.get("limits");
    let limit = |key| limits.and_then(|limits| limits.get(key));
    Transform {
        uses: string(node, &["uses"]).unwrap_or_default(),
        with: texts(node.get("with")),
        lookback: lookback.map(|lookback| Lookback {
            last: int(lookback.get("last")).unwrap_or_default(),
            age: duration(lookback.get("age")),
        }),
        limits: Limits {
            time: duration(limit("time")),
            memory: size(limit("memory")),
            output: size(limit("output")),
        },
        span: place(node.span, sources),
    }
}

fn delivery(node: Option<&Node>) -> Option<Delivery> {
    match node?.text()? {
        "exactly-once" => Some(Delivery::ExactlyOnce),
        "at-least-once" => Some(Delivery::AtLeastOnce),
        _ => None,
    }
}

/// A list, or a text with commas.
pub(crate) fn brokers(node: Option<&Node>) -> Vec<String> {
    let trimmed = |text: &str| text.trim().to_owned();
    match node.map(|node| &node.value) {
        Some(Value::Text(text)) => text.text.split(',').map(trimmed).collect(),
        Some(Value::List(items)) => items.iter().filter_map(Node::text).map(trimmed).collect(),
        _ => Vec::new(),
    }
}

fn entries(node: Option<&Node>) -> impl Iterator<Item = (&str, &Node)> {
    let entries = node.and_then(Node::map).map_or(&[][..], |map| &map.entries);
    entries
        .iter()
        .map(|entry| (entry.key.as_str(), &entry.node))
}

fn texts(node: Option<&Node>) -> BTreeMap<String, Text> {
    entries(node)
        .map(|(key, node)| (key.to_owned(), text(node)))
        .collect()
}

fn text(node: &Node) -> Text {
    match &node.value {
        Value::Text(filled) => Text {
            value: filled.text.clone(),
            written: filled.written.clone(),
        },
        _ => Text::from(node.to_json(true).to_string().as_str()),
    }
}

fn string(node: &Node, keys: &[&str]) -> Option<String> {
    node.at(keys)?.text().map(str::to_owned)
}

fn int<T: TryFrom<i128>>(node: Option<&Node>) -> Option<T> {
    T::try_from(node?.int()?).ok()
}

fn duration(node: Option<&Node>) -> Option<std::time::Duration> {
    format::duration(node?.text()?)
}

fn listen(node: &Node) -> Option<std::net::SocketAddr> {
    match node.text() {
        Some(text) => listen_addr(text).ok(),
        None => listen_addr(&int::<u16>(Some(node))?.to_string()).ok(),
    }
}

fn size(node: Option<&Node>) -> Option<u64> {
    let node = node?;
    match node.text() {
        Some(text) => format::size(text),
        None => int(Some(node)),
    }
}

/// Passwords that the file holds itself: in URLs, and under keys that say so.
fn inline_passwords(node: &Node, key: &str, secrets: &mut BTreeSet<String>) {
    match &node.value {
        Value::Map(map) => {
            for entry in &map.entries {
                inline_passwords(&entry.node, &entry.key, secrets);
            }
        }
        Value::List(items) => {
            for item in items {
                inline_passwords(item, key, secrets);
            }
        }
        Value::Text(filled) => {
            let url = filled.text.split_once("://").map(|(_, rest)| rest);
            let authority = url.and_then(|rest| rest.split(['/', '?', '#']).next());
            let user = authority.and_then(|authority| authority.rsplit_once('@'));
            if let Some((_, password)) = user.and_then(|(user, _)| user.split_once(':')) {
                secrets.insert(password.to_owned());
            }
            if sounds_secret(key) && filled.written.is_none() {
                secrets.insert(filled.text.clone());
            }
        }
        _ => {}
    }
}
