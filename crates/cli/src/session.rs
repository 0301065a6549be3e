//! A pipeline in the foreground: run, show, end, drain, report. Shared by `up` and `demo`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use gristmill_manifest::Manifest;
use gristmill_runner::{
    Backend, BackendError, CountStore, Idle, LegView, Legs, Pipeline, Plan, Report,
};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::live::Live;
use crate::reload::{Current, Reload};
use crate::{Outcome, output};

/// How often the live view and the end conditions are looked at.
const TICK: Duration = Duration::from_millis(100);
/// How often the live view asks the store for the counts.
const COUNTS_EVERY: Duration = Duration::from_millis(500);

/// Whether a run is to end, by what its stages say.
pub(crate) type When = Box<dyn Fn(&[LegView]) -> bool>;

/// When a run ends by itself.
pub(crate) struct Ends {
    /// After this long.
    pub(crate) run_for: Option<Duration>,
    /// Once nothing has moved for this long.
    pub(crate) until_idle: Option<Duration>,
    /// Once this is true of the stages.
    pub(crate) when: Option<When>,
    /// How long the sinks may then take to catch up.
    pub(crate) drain: Duration,
}

/// Ctrl-C and SIGTERM.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// From now on neither ends the process by itself.
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// True for Ctrl-C, false for SIGTERM (a supervisor's ordinary stop).
    pub(crate) async fn next(&mut self) -> bool {
        tokio::select! {
            _ = self.interrupt.recv() => true,
            _ = self.terminate.recv() => false,
        }
    }
}

/// Run `plan` until it ends, then drain it and report.
///
/// A first Ctrl-C or SIGTERM drains; a second one leaves at once, which loses nothing either:
/// positions live with the effects.
///
/// # Errors
/// A stage's failure, after the others were stopped in order and the report was printed by `show`.
pub(crate) async fn run(
    plan: Plan,
    backend: Backend,
    ends: Ends,
    reload: Option<Reload>,
    show: impl FnOnce(&Report) -> anyhow::Result<()>,
) -> anyhow::Result<Outcome> {
    let started = Instant::now();
    let name = plan.name.clone();
    let mut store = Store::open((plan.manifest.clone(), backend.clone()))?;
    let mut signals = Signals::new()?;
    let mut pipeline = Pipeline::start(plan, backend);
    let legs = pipeline.legs().clone();
    let changes = store.changes.clone();
    let control = pipeline.control();
    let reloading = async {
        match reload {
            Some(reload) => reload.run(control, changes).await,
            None => std::future::pending().await,
        }
    };

    let mut outcome = Outcome::Done;
    let mut result = tokio::select! {
        interrupted = signals.next() => {
            outcome = if interrupted { Outcome::Interrupted } else { Outcome::Done };
            None
        }
        result = pipeline.ended() => Some(result),
        () = watch(&legs, &mut store, &ends) => None,
        () = reloading => None,
    };
    if result.is_none() {
        result = tokio::select! {
            result = pipeline.stop(ends.drain) => Some(result),
            _ = signals.next() => {
                output::note("stopped at once; nothing is lost, the next run goes on here");
                return Ok(Outcome::Interrupted);
            }
        };
    }
    // A store that is down must not hide why the pipeline ended.
    let counts = match store.counts().await {
        Ok(counts) => counts,
        Err(error) => {
            output::note(&format!("the counts cannot be read: {error}"));
            BTreeMap::new()
        }
    };
    show(&Report::new(&name, &legs.all(), counts, started.elapsed()))?;
    match result {
        Some(Err(error)) => Err(error.into()),
        _ => Ok(outcome),
    }
}

/// The counts of what runs, also after a change.
struct Store {
    changes: watch::Sender<Current>,
    seen: watch::Receiver<Current>,
    counts: CountStore,
}

impl Store {
    fn open(current: (Manifest, Backend)) -> Result<Self, BackendError> {
        let counts = CountStore::open(&current.0, &current.1)?;
        let (changes, seen) = watch::channel(Arc::new(current));
        Ok(Self {
            changes,
            seen,
            counts,
        })
    }

    async fn counts(&mut self) -> Result<BTreeMap<String, i64>, BackendError> {
        if self.seen.has_changed().unwrap_or(false) {
            let current = self.seen.borrow_and_update().clone();
            self.counts = CountStore::open(&current.0, &current.1)?;
        }
        self.counts.counts().await
    }
}

/// Show the stages until one of `ends` is met.
async fn watch(all: &Legs, store: &mut Store, ends: &Ends) {
    let started = Instant::now();
    let mut live = output::is_live().then(|| Live::new(&all.all()));
    let mut idle = ends.until_idle.map(Idle::new);
    let mut counts = BTreeMap::new();
    let mut counts_at = Instant::now();
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let legs = &all.all();
        if ends
            .run_for
            .is_some_and(|run_for| started.elapsed() >= run_for)
            || idle.as_mut().is_some_and(|idle| idle.check(legs))
            || ends.when.as_ref().is_some_and(|when| when(legs))
        {
            return;
        }
        if let Some(live) = &mut live {
            live.follow(legs);
            if counts_at.elapsed() >= COUNTS_EVERY {
                counts_at = Instant::now();
                // The view goes on with the last known counts while the store is away.
                if let Ok(Ok(now)) = tokio::time::timeout(COUNTS_EVERY, store.counts()).await {
                    counts = now;
                }
            }
            live.draw(&counts);
        }
    }
}
