//! What a value must be, where its type does not say it. Each parser's error names what is allowed.
//!
//! Flags with a number also have `allow_negative_numbers`, or clap would take `-5` for a flag of its
//! own and never say what is allowed.

use std::ops::RangeInclusive;
use std::time::Duration;

/// Records that go through a SmartModule at once.
const BATCH_SIZES: RangeInclusive<usize> = 1..=100_000;
/// Events a second; no machine makes more.
const RATE_MAX: f64 = 1e9;
/// Nothing is waited for so long; twice of it is still a time.
const DURATION_MAX: Duration = Duration::from_secs(100 * 31_557_600);

/// A number of things of which there is at least one.
pub(super) fn at_least_one(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(number @ 1..) => Ok(number),
        _ => Err("expected a whole number, 1 or more".to_owned()),
    }
}

/// A number of things of which there may be none.
pub(super) fn whole(text: &str) -> Result<u64, String> {
    text.parse()
        .map_err(|_| "expected a whole number, 0 or more".to_owned())
}

/// Events a second; 0 means as fast as they are taken.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.0..=RATE_MAX).contains(&rate) => Ok(rate),
        _ => Err(
            "expected events a second: a number from 0 (as fast as they are taken) to \
             1000000000"
                .to_owned(),
        ),
    }
}

/// How many records go through a SmartModule at once.
pub(super) fn batch_size(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(size) if BATCH_SIZES.contains(&size) => Ok(size),
        _ => Err("expected a whole number from 1 to 100000".to_owned()),
    }
}

/// A time span that can be added to any moment.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let expected = || "expected 0s to 100y, such as 10s, 1m30s or 500ms";
    match humantime::parse_duration(text) {
        Ok(duration) if duration <= DURATION_MAX => Ok(duration),
        Ok(_) => Err(expected().to_owned()),
        Err(error) => Err(format!("{error}; {}", expected())),
    }
}
