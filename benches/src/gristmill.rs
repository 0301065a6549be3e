//! The binary under test, and the pipeline it is given.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use redis::Commands;

use crate::Setup;
use crate::process::Process;

/// Names of a benchmark's pipeline and of its connectors, which name keys in Redis.
pub(crate) const PIPELINE: &str = "bench";
pub(crate) const SINK: &str = "type-counts";

/// The shipped pipeline's sink, for `topic`, in so many copies.
pub(crate) fn sink(
    setup: &Setup,
    topic: &str,
    transforms: &str,
    count: &str,
    copies: usize,
) -> String {
    format!(
        "  - meta: {{name: {SINK}, type: redis-sink, version: 0.1.0, topic: {topic}, consumer: {{id: bench, offset: {{start: beginning}}}}}}\n\
         {transforms}\
         \x20   redis: {{url: \"{}\", count: \"{count}\"}}\n{}",
        setup.redis,
        match copies {
            1 => String::new(),
            copies => format!("    replicas: {copies}\n"),
        }
    )
}

/// The shipped transform.
pub(crate) const EXTRACT_TYPE: &str =
    "    transforms: [{uses: extract-type@0.1.0, with: {field: type}}]\n";

/// A pipeline file around `connectors`.
pub(crate) fn pipeline(
    setup: &Setup,
    name: &str,
    topic: &str,
    partitions: i32,
    connectors: &str,
) -> String {
    let copies = setup.brokers.split(',').count().min(3);
    format!(
        "apiVersion: 0.1.0\nmeta: {{name: {name}, version: 0.1.0}}\nkafka: {{brokers: [{}]}}\n\
         topics: {{{topic}: {{partitions: {}, replication-factor: {copies}}}}}\n\
         connectors:\n{connectors}",
        setup.brokers.replace(',', ", "),
        partitions
    )
}

/// Both stages of the shipped pipeline.
pub(crate) fn whole(setup: &Setup, name: &str, topic: &str, url: &str) -> String {
    let source = source(topic, url, "exactly-once");
    let sink = sink(setup, topic, EXTRACT_TYPE, "{value}", setup.copies[0]);
    pipeline(setup, name, topic, setup.partitions, &(source + &sink))
}

/// Where the sink of pipeline `name` keeps its next offsets.
pub(crate) fn offsets_key(name: &str, topic: &str) -> String {
    format!("gristmill:{{{name}/{SINK}}}:offsets:{topic}")
}

/// The next offset of each partition under that key, which also holds the topic's id.
pub(crate) fn offsets(redis: &mut redis::Connection, key: &str) -> Result<BTreeMap<i32, i64>> {
    let fields: BTreeMap<String, String> = redis.hgetall(key)?;
    let numbers = fields.iter();
    let numbers = numbers.filter_map(|(field, next)| Some((field.parse().ok()?, next)));
    numbers
        .map(|(partition, next)| Ok((partition, next.parse()?)))
        .collect()
}

/// `gristmill up` on `pipeline`, its files in `dir`.
pub(crate) fn up(setup: &Setup, dir: &Path, pipeline: &str, args: &[&str]) -> Result<Process> {
    let file: PathBuf = dir.join("pipeline.yaml");
    std::fs::write(&file, pipeline)?;
    let mut command = Command::new(&setup.gristmill);
    command
        .arg("up")
        .arg("--json")
        .arg("--file")
        .arg(&file)
        .args(args);
    Process::start(&mut command, &dir.join("report.json"))
}

/// The shipped pipeline's source, of the stream at `url`.
pub(crate) fn source(topic: &str, url: &str, delivery: &str) -> String {
    format!(
        "  - meta: {{name: recentchange, type: sse-source, version: 0.1.0, topic: {topic}, \
         producer: {{delivery: {delivery}}}}}\n\
         \x20   sse: {{url: \"{url}\", user-agent: \"bench/1 (https://example.org)\", key: /id, \
         timestamp: /meta/dt, drop: {{/meta/domain: canary}}, rewind: 1m, \
         dedupe: {{id: /meta/id, window: 2m}}}}\n"
    )
}
