//! What `/status` answers, what `/events` repeats, and what `gristmill status` and `top` read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Window;

/// A running pipeline at one moment. Numbers are of this run unless they say otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PipelineStatus {
    /// `meta.name`.
    pub pipeline: String,
    /// The version of Gristmill that runs it.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// When the run started, milliseconds since the epoch.
    pub started_ms: i64,
    /// When this was told, milliseconds since the epoch.
    pub at_ms: i64,
    /// False once a stage has failed.
    pub healthy: bool,
    /// Whether every stage runs, or has done all that it had to do.
    pub ready: bool,
    /// The stages, in the manifest's order.
    pub stages: Vec<StageStatus>,
    /// The running counts; `None` where no sink counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counts: Option<CountsStatus>,
    /// Memory in use (Linux).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Processor time used, all threads (Linux).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_seconds: Option<f64>,
}

/// One stage. Counters are in records unless named otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageStatus {
    /// `meta.name`.
    pub name: String,
    /// `meta.type`.
    pub connector: String,
    /// Whether it brings records into its topic; else it takes them out of it.
    pub is_source: bool,
    /// `meta.topic`.
    pub topic: String,
    /// The SmartModules that its records pass, in order.
    pub transforms: Vec<String>,
    /// `starting`, `waiting`, `running`, `ended` or `failed`.
    pub state: String,
    /// What it waits for, or why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Pulled from the source.
    pub records_in: u64,
    /// Bytes pulled from the source.
    pub bytes_in: u64,
    /// Whose effect is durable, after transforms.
    pub records_out: u64,
    /// Their bytes.
    pub bytes_out: u64,
    /// Sent to the dead-letter topic.
    pub rejected: u64,
    /// The same by who refused them and the kind of reason, most first.
    pub rejects: Vec<Rejects>,
    /// Dropped because the topic held them.
    pub duplicates: u64,
    /// Dropped by rule.
    pub dropped: u64,
    /// That came after their window had closed.
    pub late: u64,
    /// That the stream itself skipped.
    pub gaps: u64,
    /// Batches written with their position.
    pub batches: u64,
    /// Connections after the first.
    pub reconnects: u64,
    /// Assignments of partitions after the first.
    pub rebalances: u64,
    /// Times that it waited for something outside.
    pub waits: u64,
    /// In the topic and not yet read, by partition; sinks only.
    pub lag: BTreeMap<i32, i64>,
    /// Since the source last gave an event with its id or offset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_event_age_ms: Option<i64>,
    /// Own time of the newest record whose effect is durable, milliseconds since the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newest_event_ms: Option<i64>,
    /// Per second, over the last five seconds.
    pub rates: Rates,
    /// From a record's own time to its durable effect, milliseconds, over the last minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<Quantiles>,
    /// Records of each batch, over the last minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_records: Option<Quantiles>,
    /// Time of each batch in SmartModules, milliseconds, over the last minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transform_ms: Option<Quantiles>,
    /// Time that the write of each batch took, milliseconds, over the last minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write_ms: Option<Quantiles>,
}

/// Rejects of one step for one kind of reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejects {
    /// The step that refused them.
    pub step: String,
    /// The kind of reason: without numbers, quotes and places.
    pub reason: String,
    /// How many.
    pub records: u64,
}

/// Per second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    /// Records from the source.
    pub records_in: f64,
    /// Bytes from the source.
    pub bytes_in: f64,
    /// Records whose effect is durable.
    pub records_out: f64,
    /// Their bytes.
    pub bytes_out: f64,
    /// Rejects.
    pub rejected: f64,
}

/// A distribution in a few numbers. Quantiles are estimates from a histogram's buckets.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Quantiles {
    /// Values.
    pub count: u64,
    /// Their mean, which is exact.
    pub mean: f64,
    /// Half of them are not above this.
    pub p50: f64,
    /// 95 in 100 are not above this.
    pub p95: f64,
    /// 99 in 100 are not above this.
    pub p99: f64,
    /// Values above this one share a bucket: a quantile that has reached it may be any larger.
    #[serde(default = "no_bound")]
    pub bound: f64,
}

/// Of a process of an earlier version, which does not tell.
fn no_bound() -> f64 {
    f64::MAX
}

/// The running counts as the stores held them a moment ago, earlier runs included.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CountsStatus {
    /// When they were read, milliseconds since the epoch; 0 if they never were.
    pub at_ms: i64,
    /// Keys there are.
    pub keys: usize,
    /// Sum over all keys.
    pub total: i64,
    /// The largest of them.
    pub largest: BTreeMap<String, i64>,
    /// The newest windows of sinks that count in windows, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub windows: Vec<Window>,
    /// Why they could not be read last time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl StageStatus {
    /// In its topic and not yet read, all partitions.
    pub fn lag_records(&self) -> i64 {
        self.lag.values().sum()
    }
}

impl CountsStatus {
    /// The largest counts, largest first.
    pub fn ranked(&self) -> Vec<(&str, i64)> {
        ranked(&self.largest)
    }
}

/// `counts`, largest first.
pub(super) fn ranked(counts: &BTreeMap<String, i64>) -> Vec<(&str, i64)> {
    let mut rows: Vec<(&str, i64)> = counts.iter().map(|(key, n)| (key.as_str(), *n)).collect();
    rows.sort_by_key(|(key, count)| (std::cmp::Reverse(*count), *key));
    rows
}
