//! The stages' statistics as one page of metrics.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{SystemTime, UNIX_EPOCH};

use gristmill_flow::{Histogram, LegStats};

use super::exposition::{Kind, Page};
use super::{Watched, process, word};
use crate::LegView;

type Counter = (
    &'static str,
    &'static str,
    for<'a> fn(&'a LegStats) -> &'a AtomicU64,
);

/// One number that only grows.
const COUNTERS: [Counter; 13] = [
    (
        "gristmill_records_in_total",
        "Records pulled from the source.",
        |stats| &stats.records_in,
    ),
    (
        "gristmill_bytes_in_total",
        "Bytes of keys, values and headers pulled from the source.",
        |stats| &stats.bytes_in,
    ),
    (
        "gristmill_records_out_total",
        "Records whose effect is durable, after transforms.",
        |stats| &stats.records_out,
    ),
    (
        "gristmill_bytes_out_total",
        "Bytes of the records whose effect is durable.",
        |stats| &stats.bytes_out,
    ),
    (
        "gristmill_rejected_total",
        "Records that went to the dead-letter topic.",
        |stats| &stats.rejected,
    ),
    (
        "gristmill_batches_total",
        "Batches written with their position.",
        |stats| &stats.batches,
    ),
    (
        "gristmill_duplicates_total",
        "Records dropped because the topic held them.",
        |stats| &stats.duplicates,
    ),
    (
        "gristmill_dropped_total",
        "Records dropped by rule: canaries, error events.",
        |stats| &stats.dropped,
    ),
    (
        "gristmill_late_total",
        "Records that came after their window had closed.",
        |stats| &stats.late,
    ),
    (
        "gristmill_gaps_total",
        "Records that the stream itself skipped, by its own numbering.",
        |stats| &stats.gaps,
    ),
    (
        "gristmill_reconnects_total",
        "Connections opened after the first.",
        |stats| &stats.reconnects,
    ),
    (
        "gristmill_rebalances_total",
        "Assignments of partitions after the first.",
        |stats| &stats.rebalances,
    ),
    (
        "gristmill_waits_total",
        "Times that the stage waited for something outside.",
        |stats| &stats.waits,
    ),
];

type Spread = (
    &'static str,
    &'static str,
    f64,
    for<'a> fn(&'a LegStats) -> &'a Histogram,
);

/// Distributions, with how many of their units make one of the family's.
const HISTOGRAMS: [Spread; 4] = [
    (
        "gristmill_batch_records",
        "Records of each batch written.",
        1.0,
        |stats| &stats.batch_records,
    ),
    (
        "gristmill_event_latency_seconds",
        "From a record's own time to its durable effect.",
        1e3,
        |stats| &stats.latency_ms,
    ),
    (
        "gristmill_transform_seconds",
        "Time that each batch spent in SmartModules.",
        1e6,
        |stats| &stats.transform_us,
    ),
    (
        "gristmill_write_seconds",
        "Time that the write of each batch took.",
        1e6,
        |stats| &stats.write_us,
    ),
];

/// Every state, so that an alert can ask for one that is not the case.
const STATES: [&str; 5] = ["starting", "waiting", "running", "ended", "failed"];

/// The page.
pub(super) fn render(watched: &Watched) -> String {
    let legs = &watched.legs.all();
    let mut page = Page::default();
    let name = "gristmill_build_info";
    page.family(name, Kind::Gauge, "The build that runs.");
    let version = env!("CARGO_PKG_VERSION");
    page.sample(name, &[("version", version)], 1);
    states(&mut page, watched, legs);
    for (name, help, of) in COUNTERS {
        page.family(name, Kind::Counter, help);
        for leg in legs {
            let value = of(&leg.stats).load(Relaxed);
            page.sample(name, &labels(watched, leg), value);
        }
    }
    refusals(&mut page, watched, legs);
    lag(&mut page, watched, legs);
    ages(&mut page, watched, legs);
    for (name, help, units, of) in HISTOGRAMS {
        page.family(name, Kind::Histogram, help);
        for leg in legs {
            let distribution = of(&leg.stats).read();
            page.histogram(name, &labels(watched, leg), &distribution, units);
        }
    }
    process::put(&mut page, watched.started);
    page.finish()
}

fn labels<'a>(watched: &'a Watched, leg: &'a LegView) -> [(&'a str, &'a str); 4] {
    [
        ("pipeline", &watched.pipeline),
        ("stage", &leg.name),
        ("connector", leg.kind),
        ("topic", &leg.topic),
    ]
}

fn states(page: &mut Page, watched: &Watched, legs: &[LegView]) {
    let name = "gristmill_stage_state";
    page.family(name, Kind::Gauge, "1 for the state that the stage is in.");
    for leg in legs {
        let (now, _) = word(&leg.stats.status());
        for state in STATES {
            let [pipeline, stage, connector, topic] = labels(watched, leg);
            let labels = [pipeline, stage, connector, topic, ("state", state)];
            page.sample(name, &labels, u8::from(state == now));
        }
    }
}

fn refusals(page: &mut Page, watched: &Watched, legs: &[LegView]) {
    let name = "gristmill_rejects_by_reason_total";
    let help = "Rejects by the step that refused them and the kind of its reason.";
    page.family(name, Kind::Counter, help);
    for leg in legs {
        for ((step, reason), records) in leg.stats.refusals.read() {
            // A module's words may repeat what its parameters hold.
            let reason = (watched.redact)(&reason);
            let [pipeline, stage, connector, topic] = labels(watched, leg);
            let more = [("step", step.as_str()), ("reason", &reason)];
            let labels = [pipeline, stage, connector, topic, more[0], more[1]];
            page.sample(name, &labels, records);
        }
    }
}

fn lag(page: &mut Page, watched: &Watched, legs: &[LegView]) {
    let name = "gristmill_lag_records";
    page.family(name, Kind::Gauge, "Records in the topic and not yet read.");
    for leg in legs {
        for (partition, records) in leg.stats.lag() {
            let partition = partition.to_string();
            let [pipeline, stage, connector, topic] = labels(watched, leg);
            let labels = [pipeline, stage, connector, topic, ("partition", &partition)];
            page.sample(name, &labels, records);
        }
    }
}

/// Ages are told as such beside the timestamps that Prometheus prefers: a human reads them here.
fn ages(page: &mut Page, watched: &Watched, legs: &[LegView]) {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as i64);
    let mut put = |name: &str, help: &str, of: fn(&LegStats) -> i64, is_age: bool| {
        page.family(name, Kind::Gauge, help);
        for leg in legs {
            let at = of(&leg.stats);
            if at > 0 {
                let ms = if is_age { (now - at).max(0) } else { at };
                page.sample(name, &labels(watched, leg), ms as f64 / 1000.0);
            }
        }
    };
    put(
        "gristmill_last_event_age_seconds",
        "Since the source last gave an event with its id or offset.",
        |stats| stats.last_event_ms.load(Relaxed),
        true,
    );
    put(
        "gristmill_newest_event_timestamp_seconds",
        "Own time of the newest record whose effect is durable.",
        |stats| stats.newest_ms.load(Relaxed),
        false,
    );
}
