//! How long to wait before the next attempt.

use std::time::Duration;

/// A server's `retry:` beyond this is taken for a mistake.
const RETRY_MAX: Duration = Duration::from_secs(3600);

/// Full jitter: a random wait below a bound that doubles with each failure, so that many clients
/// of one server do not come back in step.
#[derive(Debug)]
pub(crate) struct Backoff {
    initial: Duration,
    max: Duration,
    failures: u32,
    rng: fastrand::Rng,
}

impl Backoff {
    pub(crate) fn new(initial: Duration, max: Duration, rng: fastrand::Rng) -> Self {
        Self {
            initial,
            max,
            failures: 0,
            rng,
        }
    }

    /// A connection has given events: the next failure is a first one.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// The wait after one more failure. `asked` is the server's Retry-After; the jitter is then
    /// added to it, for it is the least that the server wants.
    pub(crate) fn next(&mut self, asked: Option<Duration>) -> Duration {
        let factor = 1_u32.checked_shl(self.failures.min(31)).unwrap_or(u32::MAX);
        let bound = self.initial.saturating_mul(factor).min(self.max);
        self.failures = self.failures.saturating_add(1);
        match asked {
            Some(asked) => asked + self.below(self.initial),
            None => self.below(bound),
        }
    }

    /// The wait after a connection that ended in order but was short: a server that closes after
    /// each event is not to be asked as fast as the network allows.
    pub(crate) fn short(&mut self) -> Duration {
        self.below(self.initial)
    }

    fn below(&mut self, bound: Duration) -> Duration {
        bound.mul_f64(self.rng.f64())
    }
}

/// The server's reconnection time (`retry:`), bounded.
pub(crate) fn reconnection_time(retry_ms: u64) -> Duration {
    Duration::from_millis(retry_ms).min(RETRY_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn bounds_double_and_stay_below_the_maximum() {
        let mut largest = [Duration::ZERO; 8];
        for seed in 0..400 {
            let mut backoff = Backoff::new(ms(100), ms(1000), fastrand::Rng::with_seed(seed));
            for largest in &mut largest {
                *largest = backoff.next(None).max(*largest);
            }
        }
        for (largest, bound) in largest
            .iter()
            .zip([100, 200, 400, 800, 1000, 1000, 1000, 1000])
        {
            assert!(*largest <= ms(bound), "{largest:?} is over {bound}");
            assert!(
                *largest > ms(bound * 9 / 10),
                "{largest:?}: jitter does not use {bound}"
            );
        }
    }

    #[test]
    fn retry_after_is_the_least() {
        let mut backoff = Backoff::new(ms(100), ms(1000), fastrand::Rng::with_seed(1));
        let wait = backoff.next(Some(ms(7000)));
        assert!((ms(7000)..=ms(7100)).contains(&wait), "{wait:?}");
    }

    #[test]
    fn a_long_outage_does_not_overflow() {
        let mut backoff = Backoff::new(ms(100), ms(1000), fastrand::Rng::with_seed(1));
        assert!((0..100).all(|_| backoff.next(None) <= ms(1000)));
        backoff.reset();
        assert!(backoff.next(None) <= ms(100));
    }
}
