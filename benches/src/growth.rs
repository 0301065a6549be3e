//! The count leg as its load grows: backlog, keys, partitions.
//!
//! ```text
//! backlog n ─▶ seconds from start to last count ─▶ line a + b·n ─▶ worst distance from it
//! ```

use anyhow::Result;

use crate::Setup;
use crate::cluster::Kafka;
use crate::count::Backlog;
use crate::events::Records;
use crate::rounds::{self, Sample, Series, Variant};
use crate::table::Spread;

const DISTINCT_KEYS: u64 = 10_000;
const MANY_PARTITIONS: i32 = 100;
/// What the process is to stay below, whatever the backlog.
const PEAK_MIB_BAR: f64 = 48.0;

/// One row.
struct Load {
    name: String,
    records: Records,
    partitions: i32,
    /// A backlog, through whose times the line goes.
    is_point: bool,
}

/// Seconds that a backlog takes: `start_s + per_event_s * events`.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Line {
    start_s: f64,
    per_event_s: f64,
}

pub(crate) fn run(setup: &Setup) -> Result<()> {
    let kafka = Kafka::new(&setup.brokers)?;
    let mut loads = loads(setup);
    loads.retain(|load| setup.wants(&load.name));
    let backlogs = loads
        .iter()
        .map(|load| Backlog::fill(setup, &kafka, load.records.clone(), load.partitions));
    let backlogs: Vec<Backlog<'_>> = backlogs.collect::<Result<_>>()?;
    let copies = setup.copies[0];
    let variants = loads.iter().zip(&backlogs).map(|(load, backlog)| {
        let run = move || backlog.gristmill(&backlog.counts, copies);
        Variant::new(&load.name, run)
    });
    let series = rounds::run(&mut variants.collect::<Vec<_>>(), setup.rounds);
    println!("\n## Growth: {} partitions\n", setup.partitions);
    print_rows(&series);
    println!();
    let points = loads.iter().zip(&series).filter(|(load, _)| load.is_point);
    let points: Vec<_> = points.map(|(load, (_, s))| (&load.records, s)).collect();
    print_line(&points);
    print_peak(&points);
    Ok(())
}

fn loads(setup: &Setup) -> Vec<Load> {
    let whole = setup.records();
    let point = |events: &u64| {
        let records = Records {
            events: *events,
            ..whole.clone()
        };
        Load {
            name: records.to_string(),
            records,
            partitions: setup.partitions,
            is_point: true,
        }
    };
    let mut loads: Vec<Load> = setup.backlog.iter().map(point).collect();
    let keyed = Records {
        distinct_keys: Some(DISTINCT_KEYS),
        ..whole.clone()
    };
    loads.push(Load {
        name: keyed.to_string(),
        records: keyed,
        partitions: setup.partitions,
        is_point: false,
    });
    loads.push(Load {
        name: format!("{whole}, {MANY_PARTITIONS} partitions"),
        records: whole,
        partitions: MANY_PARTITIONS,
        is_point: false,
    });
    loads
}

fn spread(samples: &[Option<Sample>], pick: fn(&Sample) -> f64) -> Option<Spread> {
    Spread::of(samples.iter().flatten().map(pick))
}

fn print_rows(series: &[Series]) {
    println!("| backlog | start to last count, s: median (min–max) | records/s | peak MiB |");
    println!("|---|---|---|---|");
    for (name, samples) in series {
        let rate = spread(samples, |s| s.rate);
        let peak = spread(samples, |s| s.peak_mib);
        let (Some(total), Some(rate), Some(peak)) = (spread(samples, |s| s.total_s), rate, peak)
        else {
            println!("| {name} | no result | | |");
            continue;
        };
        println!(
            "| {name} | {:.2} ({:.2}–{:.2}) | {:.0} | {:.0} |",
            total.median, total.min, total.max, rate.median, peak.max
        );
    }
}

fn print_line(points: &[(&Records, &Vec<Option<Sample>>)]) {
    let totals = points.iter().filter_map(|(records, samples)| {
        let total = spread(samples, |s| s.total_s)?;
        Some((records.events as f64, total.median))
    });
    let totals: Vec<(f64, f64)> = totals.collect();
    if let Some(line) = Line::through(&totals) {
        println!(
            "line: {:.2} s and {:.2} s for each 1,000,000 events; worst deviation {:.1} %",
            line.start_s,
            line.per_event_s * 1e6,
            line.worst_deviation(&totals) * 100.0
        );
    }
}

fn print_peak(points: &[(&Records, &Vec<Option<Sample>>)]) {
    let peaks = points
        .iter()
        .filter_map(|(_, samples)| spread(samples, |s| s.peak_mib));
    if let Some(peak) = Spread::of(peaks.map(|peak| peak.max)) {
        println!(
            "{} at most {:.0} MiB resident at any backlog (bar {PEAK_MIB_BAR:.0})",
            if peak.max < PEAK_MIB_BAR {
                "met:   "
            } else {
                "MISSED:"
            },
            peak.max
        );
    }
}

impl Line {
    /// The line whose relative distances from `points` have the least sum of squares: a second too
    /// many is much for a short run and little for a long one. `None` for fewer than two backlogs.
    fn through(points: &[(f64, f64)]) -> Option<Self> {
        let weigh = |term: fn(f64, f64) -> f64| -> f64 {
            points.iter().map(|(n, s)| term(*n, *s) / (s * s)).sum()
        };
        let (w, wn, ws) = (weigh(|_, _| 1.0), weigh(|n, _| n), weigh(|_, s| s));
        let (wnn, wns) = (weigh(|n, _| n * n), weigh(|n, s| n * s));
        let determinant = w * wnn - wn * wn;
        // Of one backlog it is zero but for rounding.
        if determinant <= w * wnn * 1e-9 {
            return None;
        }
        Some(Self {
            start_s: (wnn * ws - wn * wns) / determinant,
            per_event_s: (w * wns - wn * ws) / determinant,
        })
    }

    /// Largest distance of one of `points`, as a part of its time.
    fn worst_deviation(&self, points: &[(f64, f64)]) -> f64 {
        let deviations = points
            .iter()
            .map(|(n, s)| (self.start_s + self.per_event_s * n - s).abs() / s);
        deviations.fold(0.0, f64::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_and_what_strays_from_it() {
        let points = [(1e5, 0.45), (1e6, 2.25), (1e7, 20.25)];
        let line = Line::through(&points).unwrap();
        assert!((line.start_s - 0.25).abs() < 1e-9);
        assert!((line.per_event_s - 2e-6).abs() < 1e-12);
        assert!(line.worst_deviation(&points) < 1e-9);

        let strays = [(1e5, 0.45), (1e6, 3.0), (1e7, 20.25)];
        let line = Line::through(&strays).unwrap();
        let worst = line.worst_deviation(&strays);
        assert!((0.05..0.3).contains(&worst), "{worst}");
    }

    #[test]
    fn one_backlog_is_no_line() {
        assert_eq!(Line::through(&[]), None);
        assert_eq!(Line::through(&[(1e5, 0.5), (1e5, 0.6)]), None);
    }
}
