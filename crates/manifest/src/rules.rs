//! Rules between values: names that must be distinct, topics that must be declared.

use std::collections::BTreeMap;

use crate::format::{self, Format};
use crate::load::{connectors, is_single, spec_of};
use crate::lower::brokers;
use crate::render::plural;
use crate::report::{At, Report};
use crate::schema::Schema;
use crate::source::Span;
use crate::spec::{ConnectorSpec, Direction};
use crate::text::{nearest, quote};
use crate::tree::{Entry, Node, Value};

pub(crate) fn check(root: &Node, specs: &[ConnectorSpec], report: &mut Report<'_>) {
    distinct_names(root, report);
    declared_topics(root, report);
    shared_groups(root, specs, report);
    versions(root, specs, report);
    replication(root, report);
    module_limits(root, report);
    replicas(root, specs, report);
    crate::security::check(root, report);
    crate::fluvio::check(root, specs, report);
}

/// Copies share partitions: a source has none to share, and what a sink names is not shared.
fn replicas(root: &Node, specs: &[ConnectorSpec], report: &mut Report<'_>) {
    for (at, connector) in connectors(root) {
        let Some(node) = connector.get("replicas") else {
            continue;
        };
        let Some(copies) = node.int().filter(|copies| *copies > 1) else {
            continue;
        };
        let dot = if at.path.is_empty() { "" } else { "." };
        let path = format!("{}{dot}replicas", at.path);
        let Some(spec) = spec_of(connector, specs) else {
            continue;
        };
        if spec.direction == Direction::Source {
            let message = format!(
                "{copies} copies of a source would read the same stream, and the last one to start \
                 would end the others"
            );
            report.error(node.span, &path, message).help(
                "take `replicas` out: a source that falls behind needs several streams (`url: {NAME: \
                 URL, …}`), each of which is read by itself; a second process takes over when the \
                 first one is gone",
            );
            continue;
        }
        let partition = connector.at(&["meta", "consumer", "partition"]);
        if let Some(named) = partition.filter(|node| node.text() != Some("all")) {
            let first = report
                .sources
                .label(named.span, Some("named here".to_owned()));
            let message = format!("{copies} copies would all read the partitions that are named");
            let error = report.error(node.span, &path, message);
            error.secondary = Some(first);
            error.help(
                "take `consumer.partition` out, so that the copies share all partitions, or \
                 `replicas`",
            );
            continue;
        }
        let topic = meta(&at, connector, "topic").map(|(_, _, topic)| topic);
        let declared = topic.and_then(|topic| root.at(&["topics", topic]));
        let Some(partitions) = declared.map(|topic| match topic.get("partitions") {
            Some(partitions) => partitions.int().unwrap_or(copies),
            None => 1,
        }) else {
            continue;
        };
        if copies > partitions {
            let idle = copies - partitions;
            let message = format!(
                "{copies} copies, and the topic has {partitions} partition{}: {idle} would have \
                 nothing to do",
                if partitions == 1 { "" } else { "s" }
            );
            report.warning(node.span, &path, message).help(format!(
                "write `replicas: {partitions}`, or give the topic more partitions"
            ));
        }
    }
}

/// `meta.<key>` of a connector, if it is a text: its place and value.
fn meta<'a>(at: &At, connector: &'a Node, key: &str) -> Option<(Span, String, &'a str)> {
    let node = connector.at(&["meta", key])?;
    let dot = if at.path.is_empty() { "" } else { "." };
    match &node.value {
        Value::Text(text) if !text.unfilled => {
            Some((node.span, format!("{}{dot}meta.{key}", at.path), &text.text))
        }
        _ => None,
    }
}

fn distinct_names(root: &Node, report: &mut Report<'_>) {
    let mut seen: BTreeMap<&str, Span> = BTreeMap::new();
    for (at, connector) in connectors(root) {
        let Some((span, path, name)) = meta(&at, connector, "name") else {
            continue;
        };
        if let Some(first) = seen.get(name) {
            let first = report.sources.label(*first, Some("first here".to_owned()));
            let error = report.error(
                span,
                &path,
                format!("two connectors are called {}", quote(name)),
            );
            error.secondary = Some(first);
            error.help("give each connector a name of its own: positions and logs go by it");
        } else {
            seen.insert(name, span);
        }
    }
}

fn declared_topics(root: &Node, report: &mut Report<'_>) {
    let topics = root.get("topics");
    // A connector config by itself names a topic that somebody else declares.
    if is_single(root) && topics.is_none() {
        return;
    }
    let declared = topics.and_then(Node::map);
    // Reported already: `topics` is no mapping, or stands there misspelt.
    let keys = root.map().map_or(&[][..], |map| &map.entries);
    let misspelt = |entry: &&Entry| nearest(&entry.key, ["topics"]).is_some();
    let reported = match topics {
        Some(topics) => declared.is_none() && !topics.is_null(),
        None => keys.iter().find(misspelt).is_some(),
    };
    if reported {
        return;
    }
    let names = || {
        declared
            .into_iter()
            .flat_map(|map| map.entries.iter().map(|entry| entry.key.as_str()))
    };
    for (at, connector) in connectors(root) {
        let Some((span, path, topic)) = meta(&at, connector, "topic") else {
            continue;
        };
        if names().any(|name| name == topic) {
            continue;
        }
        let near = nearest(topic, names());
        // A declaration under an illegal name is reported there.
        let legal = |name| Format::Topic.check(name, &Schema::default()).is_ok();
        if near.is_some_and(|near| !legal(near)) {
            continue;
        }
        let message = format!("the topic {} is not declared", quote(topic));
        let error = report.error(span, &path, message);
        if let Some(near) = near {
            error.help(format!("did you mean `{near}`?"));
        } else {
            error.help(format!(
                "declare it under `topics`: `{topic}: {{partitions: 3}}`"
            ));
        }
    }
}

fn shared_groups(root: &Node, specs: &[ConnectorSpec], report: &mut Report<'_>) {
    let mut seen: BTreeMap<(String, String), Span> = BTreeMap::new();
    for (at, connector) in connectors(root) {
        if spec_of(connector, specs).is_none_or(|spec| spec.direction == Direction::Source) {
            continue;
        }
        let Some((_, _, topic)) = meta(&at, connector, "topic") else {
            continue;
        };
        let Some((named, path, name)) = meta(&at, connector, "name") else {
            continue;
        };
        let id = connector.at(&["meta", "consumer", "id"]);
        let (span, group) = match id.and_then(|id| Some((id.span, id.text()?))) {
            Some(id) => id,
            None => (named, name),
        };
        let key = (topic.to_owned(), group.to_owned());
        if let Some(first) = seen.get(&key) {
            let first = report.sources.label(*first, Some("first here".to_owned()));
            let message = format!(
                "two sinks of the topic {} share the consumer group {}",
                quote(topic),
                quote(group)
            );
            let warning = report.warning(span, &path, message);
            warning.secondary = Some(first);
            warning.help("each record reaches only one of them; give each its own `consumer.id` if both need all");
        } else {
            seen.insert(key, span);
        }
    }
}

fn versions(root: &Node, specs: &[ConnectorSpec], report: &mut Report<'_>) {
    for (at, connector) in connectors(root) {
        let Some(spec) = spec_of(connector, specs) else {
            continue;
        };
        let Some((span, path, version)) = meta(&at, connector, "version") else {
            continue;
        };
        if version != spec.version {
            let message = format!(
                "{} is asked for in version {}, it has {}",
                spec.name,
                quote(version),
                quote(&spec.version)
            );
            report
                .warning(span, &path, message)
                .help(format!("write `version: {}`", spec.version));
        }
    }
}

/// Only a warning: `brokers` need not name them all.
fn replication(root: &Node, report: &mut Report<'_>) {
    let brokers = brokers(root.at(&["kafka", "brokers"])).len();
    let Some(topics) = root.get("topics").and_then(Node::map) else {
        return;
    };
    for entry in &topics.entries {
        let Some(node) = entry.node.get("replication-factor") else {
            continue;
        };
        let Some(copies) = node.int() else { continue };
        if brokers > 0 && copies > brokers as i128 {
            let path = format!("topics.{}.replication-factor", entry.key);
            let are = if brokers == 1 { "is" } else { "are" };
            let brokers = format!("{brokers} {}", plural(brokers as u64, "broker"));
            let message = format!("{copies} copies of each partition, and {brokers} {are} named");
            report.warning(node.span, &path, message)
                .help("the cluster refuses the topic if it has fewer brokers than copies; name them all, or ask for fewer");
        }
    }
}

/// What a SmartModule may be limited to: the engine refuses anything else when it starts.
fn module_limits(root: &Node, report: &mut Report<'_>) {
    const HOUR_MS: u64 = 3_600_000;
    type Read = fn(&Node) -> Option<u64>;
    let time: Read = |node| Some(format::duration(node.text()?)?.as_millis() as u64);
    let bytes: Read = |node| match node.text() {
        Some(text) => format::size(text),
        None => u64::try_from(node.int()?).ok(),
    };
    let limits = [
        ("time", time, 1..=HOUR_MS, "1ms to 1h"),
        ("memory", bytes, 64 << 10..=4 << 30, "64 KiB to 4 GiB"),
        ("output", bytes, 1 << 10..=256 << 20, "1 KiB to 256 MiB"),
    ];
    for (at, connector) in connectors(root) {
        let transforms = connector.get("transforms").and_then(Node::list);
        for (index, transform) in transforms.unwrap_or_default().iter().enumerate() {
            for (key, read, range, text) in &limits {
                let Some(node) = transform.at(&["limits", key]) else {
                    continue;
                };
                if read(node).is_some_and(|value| !range.contains(&value)) {
                    let dot = if at.path.is_empty() { "" } else { "." };
                    let path = format!("{}{dot}transforms[{index}].limits.{key}", at.path);
                    let shown = report.sources.slice(node.span).to_owned();
                    report
                        .error(
                            node.span,
                            &path,
                            format!(
                                "`{key}` is {}, which no module can be limited to",
                                quote(&shown)
                            ),
                        )
                        .help(format!("it can be {text}"));
                }
            }
        }
    }
}
