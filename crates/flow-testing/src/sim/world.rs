//! The state that everybody shares, and the network between them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gristmill_flow::CancellationToken;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

use super::broker::Broker;
use super::check::Check;
use super::group::Group;
use super::store::Store;
use super::stream::Stream;
use super::{Mutant, Profile, Report, ms};

/// How long a client waits for a reply.
const PATIENCE: Duration = ms(30);

/// A handle on the one world.
#[derive(Clone)]
pub(super) struct World(Arc<Mutex<State>>);

pub(super) struct State {
    pub(super) profile: Profile,
    pub(super) mutant: Option<Mutant>,
    pub(super) rng: fastrand::Rng,
    pub(super) stream: Stream,
    pub(super) broker: Broker,
    pub(super) group: Group,
    pub(super) store: Store,
    pub(super) check: Check,
    /// No more faults: everything must arrive now.
    pub(super) calm: bool,
    /// No further lives.
    pub(super) over: bool,
    /// The first invariant that does not hold.
    pub(super) violation: Option<String>,
    /// What stops the life of each copy that runs, by the copy's name.
    pub(super) stops: BTreeMap<String, CancellationToken>,
    /// What happened, if asked for.
    pub(super) trace: Vec<String>,
    tracing: bool,
    start: Instant,
    down_until: [Instant; 2],
    report: Report,
}

/// Who is called.
#[derive(Debug, Clone, Copy)]
pub(super) enum Server {
    Broker,
    Store,
}

/// No reply: the call had its effect, or has not, or is going to have it.
#[derive(Debug)]
pub(super) struct Lost;

/// What becomes of one call.
struct Fate {
    /// When the request arrives, if it does.
    there: Option<Duration>,
    /// How long the reply takes, if it comes.
    back: Option<Duration>,
}

impl World {
    pub(super) fn new(profile: &Profile, mutant: Option<Mutant>, seed: u64, trace: bool) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let start = Instant::now();
        Self(Arc::new(Mutex::new(State {
            profile: *profile,
            mutant,
            stream: Stream::generate(&mut rng, profile.inexact),
            broker: Broker::default(),
            group: Group::default(),
            store: Store::default(),
            check: Check::default(),
            rng,
            calm: false,
            over: false,
            violation: None,
            stops: BTreeMap::new(),
            trace: Vec::new(),
            tracing: trace,
            start,
            down_until: [start; 2],
            report: Report::default(),
        })))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Call a server: `effect` happens there in one step, at once or late or never, and whether or
    /// not the caller lives to see it.
    pub(super) async fn call<R: Send + 'static>(
        &self,
        server: Server,
        effect: impl FnOnce(&mut State) -> R + Send + 'static,
    ) -> Result<R, Lost> {
        let fate = self.lock().fate(server);
        let (reply, answer) = oneshot::channel();
        if let Some(there) = fate.there {
            let world = self.clone();
            tokio::spawn(async move {
                sleep(there).await;
                let result = {
                    let mut state = world.lock();
                    if state.is_down(server) {
                        return;
                    }
                    effect(&mut state)
                };
                if let Some(back) = fate.back {
                    sleep(back).await;
                    // A caller that died meanwhile asks for nothing.
                    let _ = reply.send(result);
                } else {
                    sleep(PATIENCE).await;
                }
            });
        } else {
            drop(effect);
            sleep(PATIENCE).await;
        }
        match timeout(PATIENCE, answer).await {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(_)) | Err(_) => Err(Lost),
        }
    }

    /// Wait for as long as anything takes that is not worth a model.
    pub(super) async fn linger(&self, most_ms: u64) {
        let wait = self.lock().rng.u64(0..=most_ms);
        sleep(ms(wait)).await;
    }
}

impl State {
    pub(super) fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    pub(super) fn percent(&mut self, percent: u32) -> bool {
        self.rng.u32(0..100) < percent
    }

    /// Something goes wrong here with this probability, as long as anything does.
    pub(super) fn fault(&mut self, percent: u32) -> bool {
        !self.calm && self.percent(percent)
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.start.elapsed().as_millis() as u64
    }

    /// Put `what` down, for whoever reads the schedule of a failure.
    pub(super) fn note(&mut self, what: impl FnOnce() -> String) {
        let now = self.now_ms();
        self.mix(now);
        if self.tracing {
            self.trace.push(format!("{now:>7} ms  {}", what()));
        }
    }

    /// A fault is done.
    pub(super) fn note_fault(&mut self, what: impl FnOnce() -> String) {
        self.report.faults += 1;
        self.note(|| format!("FAULT {}", what()));
    }

    pub(super) fn note_life(&mut self, what: impl FnOnce() -> String) {
        self.report.lives += 1;
        self.note(what);
    }

    pub(super) fn violate(&mut self, what: impl FnOnce() -> String) {
        if self.violation.is_none() {
            self.violation = Some(what());
        }
    }

    /// Take a server down for a while (a leader election, a failover).
    pub(super) fn take_down(&mut self, server: Server, time: Duration) {
        self.down_until[server as usize] = Instant::now() + time;
    }

    pub(super) fn report(&self) -> Report {
        Report {
            events: self.stream.events.len(),
            ..self.report
        }
    }

    fn is_down(&self, server: Server) -> bool {
        !self.calm && Instant::now() < self.down_until[server as usize]
    }

    fn fate(&mut self, server: Server) -> Fate {
        self.report.calls += 1;
        let (there, back) = (ms(self.rng.u64(0..3)), ms(self.rng.u64(0..3)));
        self.mix(there.as_millis() as u64);
        if self.calm || self.rng.u32(0..1000) >= self.profile.lost_per_mille {
            return Fate {
                there: Some(there),
                back: Some(back),
            };
        }
        let (what, fate) = match self.rng.u32(0..3) {
            0 => (
                "request lost",
                Fate {
                    there: None,
                    back: None,
                },
            ),
            1 => (
                "reply lost",
                Fate {
                    there: Some(there),
                    back: None,
                },
            ),
            _ => {
                let late = PATIENCE + ms(self.rng.u64(0..400));
                (
                    "request late",
                    Fate {
                        there: Some(late),
                        back: None,
                    },
                )
            }
        };
        self.note_fault(|| format!("{server:?}: {what}"));
        fate
    }

    /// FNV-1a, so that two runs can be compared without keeping their schedules.
    fn mix(&mut self, value: u64) {
        let hash = &mut self.report.fingerprint;
        *hash = (*hash ^ value).wrapping_mul(0x0100_0000_01b3);
    }
}
