//! What a run did, for a script and for a human.

use std::collections::BTreeMap;
use std::time::Duration;

use gristmill_flow::{LegStats, Status};

use crate::LegView;

/// The final report of a run; its JSON is what `--json` prints on one line.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Report {
    /// The pipeline's name.
    pub pipeline: String,
    /// Running counts by key, as the stores hold them now (earlier runs included).
    pub counts: BTreeMap<String, i64>,
    /// Records that this run put into topics; of a pipeline without a source, records it read.
    pub events: u64,
    /// Records that this run sent to dead-letter topics.
    pub rejected: u64,
    /// Events that this run dropped because the topic held them.
    pub duplicates: u64,
    /// Seconds from start to the end of the drain.
    pub elapsed_s: f64,
    /// What each stage did, by `meta.name`.
    pub stages: BTreeMap<String, StageReport>,
}

/// What one stage did in this run, in records.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct StageReport {
    /// Pulled from the source.
    pub records_in: u64,
    /// Whose effect is durable.
    pub records_out: u64,
    /// Sent to the dead-letter topic.
    pub rejected: u64,
    /// Dropped because the topic held them.
    pub duplicates: u64,
    /// Dropped by rule.
    pub dropped: u64,
    /// That came after their window had closed.
    pub late: u64,
    /// That the stream skipped, by its own numbering.
    pub gaps: u64,
    /// Connections after the first.
    pub reconnects: u64,
    /// In the topic and not yet read, all partitions; sinks only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag: Option<i64>,
    /// Why it failed, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Report {
    /// Sum up `legs`.
    pub fn new(
        pipeline: &str,
        legs: &[LegView],
        counts: BTreeMap<String, i64>,
        elapsed: Duration,
    ) -> Self {
        let stages: BTreeMap<String, StageReport> = legs
            .iter()
            .map(|leg| (leg.name.clone(), StageReport::new(leg)))
            .collect();
        let sum = |of: fn(&StageReport) -> u64| stages.values().map(of).sum();
        let has_source = legs.iter().any(|leg| leg.is_source);
        let events = legs
            .iter()
            .filter(|leg| leg.is_source == has_source)
            .map(|leg| match has_source {
                true => LegStats::get(&leg.stats.records_out),
                false => LegStats::get(&leg.stats.records_in),
            })
            .sum();
        Self {
            pipeline: pipeline.to_owned(),
            counts,
            events,
            rejected: sum(|stage| stage.rejected),
            duplicates: sum(|stage| stage.duplicates),
            elapsed_s: (elapsed.as_secs_f64() * 1000.0).round() / 1000.0,
            stages,
        }
    }
}

impl StageReport {
    fn new(leg: &LegView) -> Self {
        let stats = &leg.stats;
        Self {
            records_in: LegStats::get(&stats.records_in),
            records_out: LegStats::get(&stats.records_out),
            rejected: LegStats::get(&stats.rejected),
            duplicates: LegStats::get(&stats.duplicates),
            dropped: LegStats::get(&stats.dropped),
            late: LegStats::get(&stats.late),
            gaps: LegStats::get(&stats.gaps),
            reconnects: LegStats::get(&stats.reconnects),
            lag: (!leg.is_source).then(|| stats.lag().values().sum()),
            error: match stats.status() {
                Status::Failed(reason) => Some(reason),
                _ => None,
            },
        }
    }
}
