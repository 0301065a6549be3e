//! The query's text.

use std::collections::BTreeSet;

use gristmill_manifest::{Connector, Manifest, Start};
use serde_json::Value as Json;

use super::Sink;
use super::text::{name, redis_options, text};

/// Totals must not forget a key that is quiet: Arroyo keeps a group's state for a day unless told
/// otherwise. Back from now it must not reach beyond the epoch.
const UPDATING_TTL: &str = "10000 days";

type Options = Vec<(String, String)>;

/// The whole query.
pub(super) fn query(manifest: &Manifest, sinks: &[Sink<'_>], cluster: &Options) -> String {
    let mut out = format!(
        "-- Pipeline `{}` on Arroyo, by `gristmill export arroyo`. What brings records into the topics\n\
         -- stays with Gristmill (`gristmill up --only …`): it resumes a stream exactly.\n\
         -- A record that is no JSON is NULL here and left out: SQL has no dead letters.\n",
        manifest.name
    );
    if sinks.iter().any(|sink| sink.config.window.is_none()) {
        out += &format!("\nSET updating_ttl = '{UPDATING_TTL}';\n");
    }
    let mut seen = BTreeSet::new();
    for sink in sinks {
        let source = source(sink);
        if seen.insert(source.clone()) {
            out += &source_table(sink, &source, cluster);
        }
        out += &match &sink.config.window {
            Some(window) => windows(sink, &source, window.size.as_millis()),
            None => running(sink, &source, cluster),
        };
    }
    out
}

/// The source table of a sink: sinks of one topic, start and grace share it.
fn source(sink: &Sink<'_>) -> String {
    let start = match sink.entry.consumer.start {
        Start::Beginning => "",
        Start::End => "_from_now",
    };
    let topic = name(&sink.entry.topic);
    match &sink.config.window {
        Some(window) => format!("{topic}{start}_late_{}ms", window.grace.as_millis()),
        None => format!("{topic}{start}"),
    }
}

fn source_table(sink: &Sink<'_>, table_name: &str, cluster: &Options) -> String {
    let mut columns = vec!["value TEXT NOT NULL".to_owned()];
    if let Some(window) = &sink.config.window {
        columns.extend([
            "record_ms BIGINT METADATA FROM 'timestamp'".to_owned(),
            "event_time TIMESTAMP GENERATED ALWAYS AS (to_timestamp_millis(record_ms))".to_owned(),
            format!(
                "WATERMARK FOR event_time AS event_time - INTERVAL '{} milliseconds'",
                window.grace.as_millis()
            ),
        ]);
    }
    let mut options = owned(&[("connector", "kafka")]);
    options.extend_from_slice(cluster);
    options.extend(owned(&[
        ("topic", &sink.entry.topic),
        ("type", "source"),
        ("format", "raw_string"),
        (
            "source.offset",
            match sink.entry.consumer.start {
                Start::Beginning => "earliest",
                Start::End => "latest",
            },
        ),
        ("source.read_mode", "read_committed"),
        ("source.group_id_prefix", &sink.entry.consumer.id),
    ]));
    table(table_name, &columns, &options)
}

/// Final counts of each window, as a hash of its own: setting one again changes nothing.
fn windows(sink: &Sink<'_>, source: &str, size_ms: u128) -> String {
    let entry = sink.entry;
    let (target, key) = (name(&entry.name), &sink.key);
    let columns = [
        "window_start TEXT NOT NULL".to_owned(),
        "counted TEXT NOT NULL".to_owned(),
        "count BIGINT NOT NULL".to_owned(),
    ];
    let mut options = owned(&[("connector", "redis"), ("type", "sink"), ("format", "json")]);
    // What cannot be expressed was refused.
    options.extend(redis_options(entry.section.as_written()).unwrap_or_default());
    options.extend(owned(&[
        ("target", "hash"),
        ("target.key_prefix", &format!("{}:window:", entry.name)),
        ("target.key_column", "window_start"),
        ("target.field_column", "counted"),
    ]));
    table(&target, &columns, &options)
        + &format!(
            "\nINSERT INTO {target}\n\
             SELECT CAST(window.start AS TEXT), counted, count FROM (\n  \
             SELECT TUMBLE(INTERVAL '{size_ms} milliseconds') AS window, counted, count(*) AS count\n  \
             FROM (SELECT {key} AS counted FROM {source})\n  \
             WHERE counted IS NOT NULL\n  \
             GROUP BY window, counted\n);\n"
        )
}

/// Running totals, as the changes of a table.
fn running(sink: &Sink<'_>, source: &str, cluster: &Options) -> String {
    let (target, key) = (name(&totals_topic(sink.entry)), &sink.key);
    let columns = [
        "counted TEXT NOT NULL".to_owned(),
        "count BIGINT NOT NULL".to_owned(),
    ];
    let mut options = owned(&[("connector", "kafka")]);
    options.extend_from_slice(cluster);
    options.extend(owned(&[
        ("topic", &totals_topic(sink.entry)),
        ("type", "sink"),
        ("format", "debezium_json"),
        ("sink.commit_mode", "exactly_once"),
    ]));
    table(&target, &columns, &options)
        + &format!(
            "\nINSERT INTO {target}\n\
             SELECT counted, count(*) AS count\n\
             FROM (SELECT {key} AS counted FROM {source})\n\
             WHERE counted IS NOT NULL\n\
             GROUP BY counted;\n"
        )
}

/// What applies the changes of a sink's totals: a connector config of Gristmill's. One partition,
/// since the changes of a key must stay in order.
pub(super) fn totals(manifest: &Manifest, sink: &Sink<'_>) -> String {
    let entry = sink.entry;
    let (topic, hash) = (totals_topic(entry), hash(sink));
    let mut redis = serde_json::Map::new();
    let written = entry.section.as_written();
    for key in ["url", "username", "password", "timeout"] {
        if let Some(value) = written.get(key) {
            redis.insert(key.to_owned(), value.clone());
        }
    }
    redis.insert("hash".to_owned(), hash.clone().into());
    redis.insert(
        "upsert".to_owned(),
        serde_json::json!({"field": "counted", "value": "count"}),
    );
    let mut kafka = serde_json::Map::new();
    kafka.insert("brokers".to_owned(), manifest.kafka.brokers.clone().into());
    if !manifest.kafka.properties.is_empty() {
        let properties = manifest.kafka.properties.iter();
        let properties = properties.map(|(key, value)| (key.clone(), value.as_written().into()));
        kafka.insert("properties".to_owned(), Json::Object(properties.collect()));
    }
    let copies = manifest.topics.get(&entry.topic);
    let copies = copies.and_then(|topic| topic.replication_factor);
    let copies = copies.map_or_else(String::new, |copies| {
        format!(", replication-factor: {copies}")
    });
    // JSON is YAML: nothing to quote by hand.
    format!(
        "# Running totals of `{}`, which Arroyo computes, as the fields of the Redis hash `{hash}`:\n\
         # `gristmill up -f` this file. By `gristmill export arroyo --print totals`.\n\
         apiVersion: 0.1.0\n\
         meta: {{name: {topic}, type: {}, version: {}, topic: {topic}}}\n\
         kafka: {}\n\
         topics:\n  {topic}: {{partitions: 1{copies}}}\n\
         redis: {}\n",
        entry.name,
        entry.kind,
        entry.version,
        Json::Object(kafka),
        Json::Object(redis),
    )
}

fn hash(sink: &Sink<'_>) -> String {
    let name = &sink.entry.name;
    sink.config.hash.clone().unwrap_or_else(|| name.clone())
}

fn totals_topic(entry: &Connector) -> String {
    format!("{}-totals", entry.name)
}

fn table(name: &str, columns: &[String], options: &Options) -> String {
    let options: Vec<String> = options
        .iter()
        .map(|(key, value)| match key.contains('.') {
            true => format!("  {} = {}", text(key), text(value)),
            false => format!("  {key} = {}", text(value)),
        })
        .collect();
    let (columns, options) = (columns.join(",\n  "), options.join(",\n"));
    format!("\nCREATE TABLE {name} (\n  {columns}\n) WITH (\n{options}\n);\n")
}

fn owned(options: &[(&str, &str)]) -> Options {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    options.iter().map(owned).collect()
}
