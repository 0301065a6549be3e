//! One life of a process: how it ends, and where it sleeps.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

use super::ms;
use super::world::State;

/// What happens to a process, counted in polls of its future: each of its await points is one.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Fate {
    kill_at: Option<u32>,
    sleep_at: Option<(u32, Duration)>,
    /// A stop in order, by the clock.
    pub(super) stop_after: Option<Duration>,
}

impl Fate {
    pub(super) fn draw(state: &mut State) -> Self {
        if !state.fault(state.profile.mortality_percent) {
            return Self::default();
        }
        // Early ends are as likely as late ones.
        let scale = state.rng.u32(0..9);
        let polls = state.rng.u32(0..2 << scale);
        let mut fate = Self::default();
        match state.rng.u32(0..5) {
            0..=2 => fate.kill_at = Some(polls),
            3 => fate.sleep_at = Some((polls, ms(state.rng.u64(10..800)))),
            _ => fate.stop_after = Some(ms(state.rng.u64(0..300))),
        }
        fate
    }
}

/// A process that is killed (`kill -9`: its future is dropped where it stands) or stopped for a
/// while (`SIGSTOP`) at any of its await points.
pub(super) struct Mortal<F> {
    process: Pin<Box<F>>,
    fate: Fate,
    polls: u32,
    asleep: Option<Pin<Box<Sleep>>>,
}

/// How a process ended.
pub(super) enum End<T> {
    ByItself(T),
    Killed(u32),
}

impl<F: Future> Mortal<F> {
    pub(super) fn new(process: F, fate: Fate) -> Self {
        Self {
            process: Box::pin(process),
            fate,
            polls: 0,
            asleep: None,
        }
    }
}

impl<F: Future> Future for Mortal<F> {
    type Output = End<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(asleep) = &mut self.asleep {
            match asleep.as_mut().poll(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(()) => self.asleep = None,
            }
        }
        let polls = self.polls;
        self.polls += 1;
        if self.fate.kill_at == Some(polls) {
            return Poll::Ready(End::Killed(polls));
        }
        if let Some((_, time)) = self.fate.sleep_at.filter(|(at, _)| *at == polls) {
            let mut asleep = Box::pin(sleep(time));
            if asleep.as_mut().poll(context).is_pending() {
                self.asleep = Some(asleep);
                return Poll::Pending;
            }
        }
        self.process.as_mut().poll(context).map(End::ByItself)
    }
}
