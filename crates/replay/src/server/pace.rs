use std::time::Duration;

use tokio::time::Instant;

/// Farther behind than this, a backlog is dropped instead of being sent in one burst.
const BEHIND_MAX: Duration = Duration::from_secs(1);

/// Says when each event is due: event `n` at `start + n / rate`. Deadlines are counted from one
/// fixed start, so neither timer granularity nor slow writes add up to drift.
#[derive(Debug)]
pub(super) struct Pace {
    rate: f64,
    start: Instant,
    sent: u64,
}

impl Pace {
    /// `rate` in events a second, above zero.
    pub(super) fn new(rate: f64, now: Instant) -> Self {
        Self {
            rate,
            start: now,
            sent: 0,
        }
    }

    /// When the next event is due.
    pub(super) fn due(&self) -> Instant {
        self.start + self.after(self.sent)
    }

    /// How many events are due at `now`, 0 if the next one is not yet.
    pub(super) fn allowance(&mut self, now: Instant) -> usize {
        if now.saturating_duration_since(self.due()) > BEHIND_MAX {
            self.start = now;
            self.sent = 0;
        }
        let Some(elapsed) = now.checked_duration_since(self.due()) else {
            return 0;
        };
        1 + (elapsed.as_secs_f64() * self.rate) as usize
    }

    /// Counts events as sent.
    pub(super) fn sent(&mut self, events: usize) {
        self.sent += events as u64;
    }

    fn after(&self, events: u64) -> Duration {
        // A rate close to zero must not overflow: a day is for ever here.
        let seconds = (events as f64 / self.rate).min(86_400.0 * 365.0);
        Duration::from_secs_f64(seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent_within(rate: f64, tick: Duration, length: Duration) -> u64 {
        let start = Instant::now();
        let mut pace = Pace::new(rate, start);
        let mut now = start;
        let mut total = 0;
        while now < start + length {
            let events = pace.allowance(now);
            pace.sent(events);
            total += events as u64;
            now += tick;
        }
        total
    }

    #[test]
    fn neither_slow_nor_fast_rates_drift() {
        // One event is due at once, hence the tolerance of one tick.
        let minute = Duration::from_secs(60);
        let slow = sent_within(50.0, Duration::from_micros(1_300), minute);
        assert!((3_000..=3_001).contains(&slow), "{slow}");
        let fast = sent_within(20_000.0, Duration::from_micros(1_300), minute);
        assert!((1_199_900..=1_200_001).contains(&fast), "{fast}");
    }

    #[test]
    fn a_long_pause_is_not_made_up_for() {
        let start = Instant::now();
        let mut pace = Pace::new(100.0, start);
        assert_eq!(pace.allowance(start), 1);
        pace.sent(1);
        assert_eq!(pace.allowance(start + Duration::from_secs(600)), 1);
    }

    #[test]
    fn a_short_pause_is_made_up_for() {
        let start = Instant::now();
        let mut pace = Pace::new(100.0, start);
        assert_eq!(pace.allowance(start + Duration::from_millis(505)), 51);
    }
}
