//! How fast a stream gives events.

use std::time::Duration;

use tokio::time::Instant;

/// How long is looked back.
const WINDOW: Duration = Duration::from_millis(100);
/// A stream that gives more events in that time is read as they come: the socket's buffer holds
/// these, of any usual size, and their server waits for nothing.
const EVENTS_MAX: u32 = 32;

/// Counts events by windows.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// When the window began; `None` before the first event.
    since: Option<Instant>,
    events: u32,
    /// Whether the last whole window was calm.
    calm: bool,
}

impl Pace {
    /// How long a calm stream may be left alone.
    pub(crate) const REST_MAX: Duration = WINDOW;

    pub(crate) fn event(&mut self) {
        let now = Instant::now();
        match self.since {
            Some(since) if now - since < WINDOW => self.events += 1,
            since => {
                self.calm = since.is_some() && self.events <= EVENTS_MAX;
                (self.since, self.events) = (Some(now), 1);
            }
        }
    }

    /// Whether the stream has been slow, and still is.
    pub(crate) fn is_calm(&self) -> bool {
        self.calm && self.events <= EVENTS_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn run(pace: &mut Pace, events: u32, apart: Duration) {
        for _ in 0..events {
            tokio::time::advance(apart).await;
            pace.event();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_is_calm_after_a_slow_window_and_until_a_burst() {
        let mut pace = Pace::default();
        pace.event();
        assert!(!pace.is_calm(), "nothing is known yet");
        run(&mut pace, 10, Duration::from_millis(20)).await;
        assert!(pace.is_calm(), "50 events a second");
        run(&mut pace, 40, Duration::ZERO).await;
        assert!(!pace.is_calm(), "a burst");
        run(&mut pace, 200, Duration::from_millis(1)).await;
        assert!(!pace.is_calm(), "1,000 events a second");
        run(&mut pace, 20, Duration::from_millis(20)).await;
        assert!(pace.is_calm(), "slow again");
    }
}
