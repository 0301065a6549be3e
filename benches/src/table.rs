//! Medians, spreads, ratios, bars.

use crate::rounds::{Sample, Series};

/// Median, smallest and largest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let mid = values.len() / 2;
        let median = if values.len().is_multiple_of(2) {
            (values[mid - 1] + values[mid]) / 2.0
        } else {
            values[mid]
        };
        Some(Self { median, min, max })
    }
}

/// What is asked of a ratio: `of` divided by `to` is at least `at_least`.
pub(crate) struct Bar<'a> {
    pub(crate) of: &'a str,
    pub(crate) to: &'a str,
    pub(crate) at_least: f64,
}

/// Ratio of two variants' rates, round by round.
pub(crate) fn ratio(series: &[Series], of: &str, to: &str) -> Option<Spread> {
    let find = |name: &str| series.iter().find(|(n, _)| *n == name).map(|(_, s)| s);
    let pairs = find(of)?.iter().zip(find(to)?);
    Spread::of(pairs.filter_map(|(of, to)| Some(of.as_ref()?.rate / to.as_ref()?.rate)))
}

/// Print every variant against `reference`, then the bars.
pub(crate) fn print(title: &str, series: &[Series], reference: &str, bars: &[Bar<'_>]) {
    println!("\n## {title}\n");
    println!(
        "| variant | ratio to {reference}: median (min–max) | records/s | first effect, s | CPU, µs a record | peak MiB |"
    );
    println!("|---|---|---|---|---|---|");
    for (name, samples) in series {
        let of = |pick: fn(&Sample) -> f64| Spread::of(samples.iter().flatten().map(pick));
        let Some(rate) = of(|s| s.rate) else {
            println!("| {name} | no result | | | | |");
            continue;
        };
        let ratio = ratio(series, name, reference).map_or_else(String::new, |r| {
            let [median, min, max] = [r.median, r.min, r.max].map(figure);
            format!("{median} ({min}–{max})")
        });
        let median = |pick| of(pick).map_or(0.0, |spread| spread.median);
        let lost = samples.iter().filter(|sample| sample.is_none()).count();
        let lost = if lost > 0 {
            format!(" ({lost} of {} runs no result)", samples.len())
        } else {
            String::new()
        };
        println!(
            "| {name}{lost} | {ratio} | {:.0} | {:.2} | {:.2} | {:.0} |",
            rate.median,
            median(|s| s.start_s),
            median(|s| s.cpu_us),
            median(|s| s.peak_mib),
        );
    }
    println!();
    for bar in bars {
        let Some(r) = ratio(series, bar.of, bar.to) else {
            continue;
        };
        println!(
            "{} {} is {} of {} (bar {:.1})",
            if r.median >= bar.at_least {
                "met:   "
            } else {
                "MISSED:"
            },
            bar.of,
            figure(r.median),
            bar.to,
            bar.at_least
        );
    }
}

/// A ratio in text: two places after the point, or the first two digits that are not zero.
fn figure(ratio: f64) -> String {
    let leading_zeros = match ratio > 0.0 {
        true => (-ratio.log10()).ceil().clamp(1.0, 9.0) as usize - 1,
        false => 0,
    };
    format!("{ratio:.*}", leading_zeros + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_odd_and_even() {
        assert_eq!(Spread::of([]), None);
        let spread = Spread::of([3.0, 1.0, 2.0]).unwrap();
        assert_eq!((spread.median, spread.min, spread.max), (2.0, 1.0, 3.0));
        assert_eq!(Spread::of([1.0, 2.0]).unwrap().median, 1.5);
    }

    #[test]
    fn small_ratios_keep_two_digits() {
        assert_eq!(figure(1234.567), "1234.57");
        assert_eq!(figure(0.35), "0.35");
        assert_eq!(figure(0.0123), "0.012");
        assert_eq!(figure(0.000_456), "0.00046");
        assert_eq!(figure(0.0), "0.00");
    }

    #[test]
    fn ratios_are_taken_within_a_round_and_skip_lost_runs() {
        let sample = |rate| {
            Some(Sample {
                rate,
                start_s: 0.0,
                total_s: 0.0,
                cpu_us: 0.0,
                peak_mib: 0.0,
            })
        };
        // The machine was twice as slow in the second round: the ratio does not see it.
        let series = [
            (
                "a".to_owned(),
                vec![sample(50.0), sample(25.0), sample(1.0)],
            ),
            ("b".to_owned(), vec![sample(100.0), sample(50.0), None]),
        ];
        let ratio = ratio(&series, "a", "b").unwrap();
        assert_eq!((ratio.min, ratio.max), (0.5, 0.5));
    }
}
