//! From the stages' counters to rates and quantiles: readings of the last minute, one a second, and
//! what is different now.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use gristmill_flow::{Distribution, LegStats};
use tokio::time::Instant;

use super::status::{Quantiles, Rates, Rejects, StageStatus};
use super::{Watched, word};
use crate::LegView;
use crate::legs::epoch_ms;

/// Rates are averaged over this long: steady enough to be read, soon enough to see a stall.
const RATES_OVER: Duration = Duration::from_millis(5_500);
/// Quantiles are of this long.
const QUANTILES_OVER: Duration = Duration::from_secs(60);
/// Two readings that are closer together say nothing of a rate.
const APART_MIN: Duration = Duration::from_millis(400);

/// The readings of the last minute, oldest first.
#[derive(Debug, Default)]
pub(super) struct Samples(VecDeque<Sample>);

#[derive(Debug)]
struct Sample {
    at: Instant,
    stages: BTreeMap<String, Reading>,
}

#[derive(Debug)]
struct Reading {
    records_in: u64,
    bytes_in: u64,
    records_out: u64,
    bytes_out: u64,
    rejected: u64,
    latency_ms: Distribution,
    batch_records: Distribution,
    transform_us: Distribution,
    write_us: Distribution,
}

impl Reading {
    fn of(stats: &LegStats) -> Self {
        Self {
            records_in: LegStats::get(&stats.records_in),
            bytes_in: LegStats::get(&stats.bytes_in),
            records_out: LegStats::get(&stats.records_out),
            bytes_out: LegStats::get(&stats.bytes_out),
            rejected: LegStats::get(&stats.rejected),
            latency_ms: stats.latency_ms.read(),
            batch_records: stats.batch_records.read(),
            transform_us: stats.transform_us.read(),
            write_us: stats.write_us.read(),
        }
    }
}

impl Samples {
    /// Remember what the stages say now.
    pub(super) fn take(&mut self, legs: &[LegView], now: Instant) {
        let read = |leg: &LegView| (leg.name.clone(), Reading::of(&leg.stats));
        self.0.push_back(Sample {
            at: now,
            stages: legs.iter().map(read).collect(),
        });
        // The oldest one kept is as old as asked for, or a little older.
        while self.0.get(1).is_some_and(|s| now - s.at >= QUANTILES_OVER) {
            self.0.pop_front();
        }
    }

    /// What `leg` is and does now.
    pub(super) fn status(&self, watched: &Watched, leg: &LegView, now: Instant) -> StageStatus {
        let stats = &leg.stats;
        let reading = Reading::of(stats);
        let (state, reason) = word(&stats.status());
        let of_count = |counter| LegStats::get(counter);
        let positive = |ms: i64| (ms > 0).then_some(ms);
        let last_event = stats
            .last_event_ms
            .load(std::sync::atomic::Ordering::Relaxed);
        let newest = stats.newest_ms.load(std::sync::atomic::Ordering::Relaxed);
        let earlier = self.0.front().and_then(|s| s.stages.get(&leg.name));
        let spread = |of: fn(&Reading) -> &Distribution, units: f64| {
            let all = of(&reading);
            match earlier {
                Some(earlier) => quantiles(&all.since(of(earlier)), units),
                None => quantiles(all, units),
            }
        };
        StageStatus {
            name: leg.name.clone(),
            connector: leg.kind.to_owned(),
            is_source: leg.is_source,
            topic: leg.topic.clone(),
            transforms: leg.transforms.clone(),
            state: state.to_owned(),
            reason: reason.map(|reason| (watched.redact)(&reason)),
            records_in: reading.records_in,
            bytes_in: reading.bytes_in,
            records_out: reading.records_out,
            bytes_out: reading.bytes_out,
            rejected: reading.rejected,
            rejects: rejects(watched, stats),
            duplicates: of_count(&stats.duplicates),
            dropped: of_count(&stats.dropped),
            late: of_count(&stats.late),
            gaps: of_count(&stats.gaps),
            batches: of_count(&stats.batches),
            reconnects: of_count(&stats.reconnects),
            rebalances: of_count(&stats.rebalances),
            waits: of_count(&stats.waits),
            lag: stats.lag(),
            last_event_age_ms: positive(last_event).map(|at| (epoch_ms() - at).max(0)),
            newest_event_ms: positive(newest),
            rates: self.rates(&leg.name, &reading, now),
            latency_ms: spread(|r| &r.latency_ms, 1.0),
            batch_records: spread(|r| &r.batch_records, 1.0),
            transform_ms: spread(|r| &r.transform_us, 1e3),
            write_ms: spread(|r| &r.write_us, 1e3),
        }
    }

    fn rates(&self, stage: &str, now_reads: &Reading, now: Instant) -> Rates {
        let young = |s: &&Sample| now.saturating_duration_since(s.at) <= RATES_OVER;
        let earlier = self.0.iter().filter(young).find_map(|s| {
            let apart = now.saturating_duration_since(s.at);
            let reading = s.stages.get(stage)?;
            (apart >= APART_MIN).then_some((reading, apart.as_secs_f64()))
        });
        let Some((before, seconds)) = earlier else {
            return Rates::default();
        };
        let rate = |of: fn(&Reading) -> u64| {
            let rate = of(now_reads).saturating_sub(of(before)) as f64 / seconds;
            (rate * 10.0).round() / 10.0
        };
        Rates {
            records_in: rate(|r| r.records_in),
            bytes_in: rate(|r| r.bytes_in),
            records_out: rate(|r| r.records_out),
            bytes_out: rate(|r| r.bytes_out),
            rejected: rate(|r| r.rejected),
        }
    }
}

/// `units` of the distribution's make one of ours.
fn quantiles(of: &Distribution, units: f64) -> Option<Quantiles> {
    // Three digits after the point are more than an estimate has.
    let round = |value: f64| (value / units * 1e3).round() / 1e3;
    Some(Quantiles {
        count: of.count,
        p50: round(of.quantile(0.5)?),
        p95: round(of.quantile(0.95)?),
        p99: round(of.quantile(0.99)?),
        bound: round(of.buckets.last()?.0 as f64),
        mean: round(of.sum as f64 / of.count as f64),
    })
}

fn rejects(watched: &Watched, stats: &LegStats) -> Vec<Rejects> {
    let all = stats.refusals.read().into_iter();
    let mut all: Vec<Rejects> = all
        .map(|((step, reason), records)| Rejects {
            step,
            // A module's words may repeat what its parameters hold.
            reason: (watched.redact)(&reason),
            records,
        })
        .collect();
    all.sort_by_key(|rejects| std::cmp::Reverse(rejects.records));
    all
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::Relaxed;
    use std::time::SystemTime;

    use super::*;
    use crate::Legs;

    #[tokio::test(start_paused = true)]
    async fn rates_are_of_seconds_and_quantiles_of_a_minute() {
        let leg = LegView {
            name: "s".to_owned(),
            kind: "sse-source",
            is_source: true,
            topic: "t".to_owned(),
            transforms: vec!["m".to_owned()],
            stats: Default::default(),
        };
        let watched = Watched {
            pipeline: "p".to_owned(),
            legs: Legs::fixed(vec![leg.clone()]),
            redact: str::to_owned,
            started: SystemTime::now(),
            current: None,
        };
        let mut samples = Samples::default();
        let now = || Instant::now();
        let status = |samples: &Samples| samples.status(&watched, &leg, now());
        let first = status(&samples);
        assert_eq!((first.rates, first.latency_ms), (Rates::default(), None));
        // A slow minute, then ten seconds at 100/s.
        leg.stats.latency_ms.add_all([9_000; 50]);
        for second in 0..130 {
            samples.take(std::slice::from_ref(&leg), now());
            tokio::time::advance(Duration::from_secs(1)).await;
            if second >= 120 {
                leg.stats.records_in.fetch_add(100, Relaxed);
                leg.stats.latency_ms.add_all([10; 100]);
            }
        }
        let last = status(&samples);
        assert_eq!(last.rates.records_in, 100.0);
        assert_eq!(last.rates.records_out, 0.0);
        let latency = last.latency_ms.unwrap();
        assert_eq!(
            (latency.count, latency.mean, latency.p50),
            (1_000, 10.0, 5.0)
        );
        // Past the last bucket there is only its bound, which says so.
        leg.stats.latency_ms.add_all([7_200_000; 100_000]);
        let old = status(&samples).latency_ms.unwrap();
        assert_eq!((old.p50, old.bound), (3_600_000.0, 3_600_000.0));
        assert!(samples.0.len() <= 62, "{}", samples.0.len());
    }
}
