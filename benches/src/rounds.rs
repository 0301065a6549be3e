//! Variants, run in turn.

use std::time::Duration;

use anyhow::Result;

/// What one run of a variant gave.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// Records a second from the first record's effect to the last one's.
    pub(crate) rate: f64,
    /// Seconds from the process's start to the first effect.
    pub(crate) start_s: f64,
    /// Seconds from the process's start to the last effect.
    pub(crate) total_s: f64,
    /// Processor time a record, in microseconds, start and end included.
    pub(crate) cpu_us: f64,
    /// Largest resident set, in MiB.
    pub(crate) peak_mib: f64,
}

/// When a run's effects began and ended, in nanoseconds since the epoch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    pub(crate) started_ns: u64,
    pub(crate) first_ns: u64,
    pub(crate) last_ns: u64,
    /// Records whose effect was there at `first_ns`, and at `last_ns`.
    pub(crate) first_records: u64,
    pub(crate) records: u64,
}

impl Sample {
    pub(crate) fn new(span: &Span, cpu: Duration, peak_bytes: u64) -> Self {
        let seconds = |from: u64, to: u64| to.saturating_sub(from) as f64 / 1e9;
        let moved = (span.records - span.first_records) as f64;
        Self {
            rate: moved / seconds(span.first_ns, span.last_ns).max(1e-9),
            start_s: seconds(span.started_ns, span.first_ns),
            total_s: seconds(span.started_ns, span.last_ns),
            cpu_us: cpu.as_secs_f64() * 1e6 / span.records as f64,
            peak_mib: peak_bytes as f64 / f64::from(1 << 20),
        }
    }
}

/// One of the things that are compared.
pub(crate) struct Variant<'a> {
    pub(crate) name: String,
    /// Runs it once; an error is a wrong count or a failure, and the run is no result.
    pub(crate) run: Box<dyn FnMut() -> Result<Sample> + 'a>,
}

impl<'a> Variant<'a> {
    pub(crate) fn new(name: impl Into<String>, run: impl FnMut() -> Result<Sample> + 'a) -> Self {
        Self {
            name: name.into(),
            run: Box::new(run),
        }
    }
}

/// A variant's name and what it gave in each round (`None`: no result).
pub(crate) type Series = (String, Vec<Option<Sample>>);

/// Run every variant `rounds` times in turn; one run each before that is not counted, so that
/// none pays for cold caches.
pub(crate) fn run(variants: &mut [Variant<'_>], rounds: usize) -> Vec<Series> {
    let named = variants.iter().map(|v| (v.name.clone(), Vec::new()));
    let mut series: Vec<Series> = named.collect();
    for round in 0..=rounds {
        for (variant, (_, samples)) in variants.iter_mut().zip(&mut series) {
            let sample = (variant.run)();
            match &sample {
                Ok(s) => println!(
                    "{} {:<42} {:>9.0}/s  first after {:.2} s  {:.2} µs of CPU a record  {:.0} MiB",
                    if round == 0 {
                        "warm-up".to_owned()
                    } else {
                        format!("round {round}")
                    },
                    variant.name,
                    s.rate,
                    s.start_s,
                    s.cpu_us,
                    s.peak_mib
                ),
                Err(error) => println!("round {round} {:<42} NO RESULT: {error:#}", variant.name),
            }
            if round > 0 {
                samples.push(sample.ok());
            }
        }
    }
    series
}
