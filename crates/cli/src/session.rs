//! A pipeline in the foreground: run, show, end, drain, report. Shared by `up` and `demo`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use gristmill_runner::{
    Backend, BackendError, Idle, LegView, Legs, LiveCounts, Pipeline, Plan, Report,
};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::live::Live;
use crate::reload::Reload;
use crate::served::{Listen, Served};
use crate::{Outcome, logging, output, windows};

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

/// What a run shows beside its live view.
#[derive(Debug)]
pub(crate) struct Show {
    /// Where the page and metrics are served.
    pub(crate) listen: Listen,
    /// Windows that close are printed as JSON.
    pub(crate) json: bool,
}

/// Ctrl-C, SIGTERM, and the end of the terminal.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// None under `nohup`, which asks for it to be ignored.
    hangup: Option<Signal>,
}

impl Signals {
    /// From now on none of them ends the process by itself.
    pub(crate) fn new() -> std::io::Result<Self> {
        let hangup = match is_ignored(SignalKind::hangup()) {
            true => None,
            false => Some(signal(SignalKind::hangup())?),
        };
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup,
        })
    }

    /// True for Ctrl-C, false for SIGTERM (a supervisor's ordinary stop) and a terminal's end.
    pub(crate) async fn next(&mut self) -> bool {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => true,
            _ = self.terminate.recv() => false,
            _ = hangup => false,
        }
    }
}

/// Whether whoever started us wants `kind` to be ignored; where that cannot be read, no.
fn is_ignored(kind: SignalKind) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.unwrap_or(0) >> (kind.as_raw_value() - 1) & 1 == 1
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
    how: Show,
    show: impl FnOnce(&Report) -> anyhow::Result<()>,
) -> anyhow::Result<Outcome> {
    let started = Instant::now();
    let name = plan.name.clone();
    let listen = how.listen.or(plan.manifest.metrics.listen);
    let (changes, current) = watch::channel(Arc::new((plan.manifest.clone(), backend.clone())));
    let mut store = LiveCounts::follow(current.clone())?;
    let mut signals = Signals::new()?;
    let mut pipeline = Pipeline::start(plan, backend);
    let legs = pipeline.legs().clone();
    // Held to the end: the last scrape may well be the one that tells why it ended.
    let served = Served::start(&name, &legs, current, listen).await?;
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
        () = watch(&legs, &mut store, &ends, how.json) => None,
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
    let last = async {
        print_closed(&mut store, how.json).await;
        counts(&mut store).await
    };
    // A store that is down must not hide why the pipeline ended, nor hold up who wants to leave.
    let counts = tokio::select! {
        counts = last => counts.map_err(|error| error.to_string()),
        _ = signals.next() => Err("stopped before they came".to_owned()),
    };
    let counts = counts.unwrap_or_else(|reason| {
        output::note(&format!("the counts cannot be read: {reason}"));
        BTreeMap::new()
    });
    show(&Report::new(&name, &legs.all(), counts, started.elapsed()))?;
    served.close().await;
    match result {
        Some(Err(error)) => Err(error.into()),
        _ => Ok(outcome),
    }
}

async fn counts(store: &mut LiveCounts) -> Result<BTreeMap<String, i64>, BackendError> {
    store.now()?.counts().await
}

/// Print the windows that have closed since the last time: what this process saw closing. Those
/// that close while none runs are in `gristmill counts --window`.
async fn print_closed(store: &mut LiveCounts, json: bool) {
    let closed = async {
        let store = store.now()?;
        if store.has_windows() {
            store.closed().await
        } else {
            Ok(Vec::new())
        }
    };
    let closed = match closed.await {
        Ok(closed) => closed,
        Err(error) => {
            tracing::debug!(%error, "windows cannot be read");
            return;
        }
    };
    for window in closed {
        let text = match json {
            true => serde_json::json!({ "window": window }).to_string(),
            false => windows::lines(&window),
        };
        logging::beside_live(|| {
            // Who reads our output may be gone; the final report finds that out.
            let _ = output::line(&text);
        });
    }
}

/// Show the stages until one of `ends` is met.
async fn watch(all: &Legs, store: &mut LiveCounts, ends: &Ends, json: bool) {
    let started = Instant::now();
    let mut live = output::is_live().then(|| Live::new(&all.all()));
    let mut idle = ends.until_idle.map(Idle::new);
    let mut known = BTreeMap::new();
    let mut counts_at = Instant::now();
    // Only windows that close are to be printed: nobody sees the difference, and a quiet pipeline
    // sleeps.
    let watched = live.is_some() || idle.is_some() || ends.run_for.is_some() || ends.when.is_some();
    let mut ticks = tokio::time::interval(if watched { TICK } else { COUNTS_EVERY });
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
        let due = counts_at.elapsed() >= COUNTS_EVERY;
        if due {
            counts_at = Instant::now();
            // What cannot be asked now is told next time.
            let _ = tokio::time::timeout(COUNTS_EVERY, print_closed(store, json)).await;
        }
        if let Some(live) = &mut live {
            live.follow(legs);
            if due {
                // The view goes on with the last known counts while the store is away.
                if let Ok(Ok(now)) = tokio::time::timeout(COUNTS_EVERY, counts(store)).await {
                    known = now;
                }
            }
            live.draw(&known);
        }
    }
}
