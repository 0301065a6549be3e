//! When what failed is started again, and when no more.

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

/// When what failed is started again: after a delay that doubles with each failure in a row.
#[derive(Debug, Clone, Copy)]
pub struct Restarts {
    /// The first delay.
    pub first: Duration,
    /// The longest.
    pub longest: Duration,
    /// Failures in a row after which it is not started again.
    pub give_up: u32,
    /// Running for this long ends a row of failures.
    pub stable: Duration,
}

impl Default for Restarts {
    /// A broker's restart is waited out within stages; here are crashes. Ten of them take about
    /// five minutes.
    fn default() -> Self {
        Self {
            first: Duration::from_secs(1),
            longest: Duration::from_secs(60),
            give_up: 10,
            stable: Duration::from_secs(60),
        }
    }
}

/// What became of one process's starts.
#[derive(Debug, Default)]
pub(super) struct Tries {
    started: Option<Instant>,
    in_a_row: u32,
    restarts: u32,
    due: Option<Instant>,
    given_up: bool,
}

/// What happens next.
pub(super) enum Next {
    After(Duration),
    GiveUp(u32),
    Final,
}

impl Tries {
    /// Started as asked for: a new row.
    pub(super) fn begin(&mut self, now: Instant) {
        *self = Self {
            started: Some(now),
            ..Self::default()
        };
    }

    /// Started again.
    pub(super) fn started(&mut self, now: Instant) {
        self.started = Some(now);
        self.due = None;
        self.restarts += 1;
    }

    /// It failed.
    pub(super) fn failed(&mut self, rules: &Restarts, is_final: bool, now: Instant) -> Next {
        if self.started.is_some_and(|at| now - at >= rules.stable) {
            self.in_a_row = 0;
        }
        self.in_a_row += 1;
        self.due = None;
        if is_final || self.in_a_row >= rules.give_up {
            self.given_up = true;
            return match is_final {
                true => Next::Final,
                false => Next::GiveUp(self.in_a_row),
            };
        }
        let doubled = rules.first * 2_u32.saturating_pow(self.in_a_row - 1);
        // Stages that fail together do not come back together.
        let delay = doubled
            .min(rules.longest)
            .mul_f64(0.8 + 0.4 * fastrand::f64());
        self.due = Some(now + delay);
        Next::After(delay)
    }

    /// When it is to be started again.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// It is not to be started again.
    pub(super) fn cancel(&mut self) {
        self.due = None;
    }

    /// It was never told to go.
    pub(super) fn is_new(&self) -> bool {
        self.started.is_none()
    }

    pub(super) fn restarts(&self) -> u32 {
        self.restarts
    }

    pub(super) fn has_given_up(&self) -> bool {
        self.given_up
    }
}

impl fmt::Display for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::After(delay) => write!(f, "starts again in {:.1} s", delay.as_secs_f64()),
            Self::GiveUp(times) => write!(
                f,
                "given up after {times} failures in a row; `gristmill deploy restart` tries again"
            ),
            Self::Final => f.write_str("not started again"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_longest_until_it_is_given_up() {
        let rules = Restarts::default();
        let mut tries = Tries::default();
        let now = Instant::now();
        tries.begin(now);
        for expect in [1, 2, 4, 8, 16, 32, 60, 60, 60] {
            let Next::After(delay) = tries.failed(&rules, false, now) else {
                panic!("given up too early");
            };
            let expect = f64::from(expect);
            let range = 0.79 * expect..1.21 * expect;
            assert!(
                range.contains(&delay.as_secs_f64()),
                "{delay:?}, not {expect}"
            );
            assert_eq!(tries.due(), Some(now + delay));
            tries.started(now);
        }
        assert!(matches!(tries.failed(&rules, false, now), Next::GiveUp(10)));
        assert!(tries.has_given_up() && tries.due().is_none());
        assert_eq!(tries.restarts(), 9);
    }

    #[test]
    fn a_stable_run_ends_a_row() {
        let rules = Restarts::default();
        let mut tries = Tries::default();
        let mut now = Instant::now();
        for _ in 0..50 {
            tries.started(now);
            now += rules.stable;
            assert!(matches!(tries.failed(&rules, false, now), Next::After(_)));
        }
        assert!(matches!(tries.failed(&rules, true, now), Next::Final));
        tries.begin(now);
        assert!(!tries.has_given_up());
    }
}
