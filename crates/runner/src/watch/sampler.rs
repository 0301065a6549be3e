//! What is looked at in the background while somebody can ask: the stages once a second, the counts
//! about as often, and passing records while somebody looks at them.
//!
//! ```text
//! stages ─▶ samples, history ─▶ status ─▶ frames (/events)
//! stores ─▶ counts ───────────────┘
//! taps   ─▶ tapped (/tap), only while it has readers
//! ```

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gristmill_flow::CancellationToken;
use serde::Serialize;
use tokio::sync::{Notify, Semaphore, broadcast, watch};
use tokio::time::{Instant, MissedTickBehavior};

use super::history::{History, Told};
use super::sample::Samples;
use super::status::{CountsStatus, PipelineStatus, ranked};
use super::{Watched, process};
use crate::legs::epoch_ms;
use crate::{BackendError, CountStore, Counted, LiveCounts, Window};

/// How often the stages are looked at.
const EVERY: Duration = Duration::from_secs(1);
/// Reading counts may take one part in this many of the time: a store with many keys is asked less.
const COUNTS_SHARE: u32 = 50;
/// A store that does not answer for this long is told as such.
const COUNTS_PATIENCE: Duration = Duration::from_secs(5);
/// Counts that are told: more cannot be looked at.
const LARGEST: usize = 100;
/// Windows that are told, and counts of each.
const WINDOWS: usize = 6;
const WINDOW_LARGEST: usize = 20;
/// How often passing records are collected, and how many of each stage then.
const TAP_EVERY: Duration = Duration::from_millis(250);
const TAP_RECORDS: usize = 2;
/// Frames that a slow reader of `/tap` may be behind before it loses some.
const TAP_FRAMES: usize = 16;
/// Readers of streams at once: each holds a connection.
const STREAMS_MAX: usize = 32;

/// What every listener of one pipeline shares.
pub(super) struct Shared {
    pub(super) watched: Watched,
    recent: Mutex<Recent>,
    counts: Mutex<Counts>,
    /// The newest status as JSON; made only while somebody reads it.
    pub(super) frames: watch::Sender<Arc<str>>,
    /// Records that passed, as JSON.
    pub(super) tapped: broadcast::Sender<Arc<str>>,
    pub(super) tap_wanted: Notify,
    pub(super) streams: Arc<Semaphore>,
    pub(super) stop: CancellationToken,
}

#[derive(Default)]
struct Recent {
    samples: Samples,
    history: History,
}

#[derive(Default)]
struct Counts {
    /// As told; `None` where no sink counts.
    status: Option<CountsStatus>,
    /// All of them, until the history has them.
    fresh: Option<BTreeMap<String, i64>>,
}

/// A frame of `/tap`.
#[derive(Serialize)]
struct TapFrame {
    records: Vec<TapRecord>,
}

#[derive(Serialize)]
struct TapRecord {
    stage: String,
    topic: String,
    partition: i32,
    offset: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    at_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// The beginning of it.
    value: String,
    /// Bytes of all of it.
    bytes: usize,
}

/// A dead letter of this run, without the record itself.
#[derive(Serialize)]
pub(super) struct RecentReject {
    at_ms: i64,
    stage: String,
    step: String,
    topic: String,
    partition: i32,
    offset: i64,
    reason: String,
}

impl Shared {
    pub(super) fn new(watched: Watched) -> Self {
        Self {
            watched,
            recent: Mutex::default(),
            counts: Mutex::default(),
            frames: watch::Sender::new("".into()),
            tapped: broadcast::Sender::new(TAP_FRAMES),
            tap_wanted: Notify::new(),
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
            stop: CancellationToken::new(),
        }
    }

    /// Everything at this moment.
    pub(super) fn status(&self) -> PipelineStatus {
        let watched = &self.watched;
        let legs = watched.legs.all();
        let now = Instant::now();
        let recent = lock(&self.recent);
        let stages = legs
            .iter()
            .map(|leg| recent.samples.status(watched, leg, now))
            .collect();
        PipelineStatus {
            pipeline: watched.pipeline.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            started_ms: since_epoch_ms(watched.started),
            at_ms: epoch_ms(),
            healthy: watched.is_healthy(),
            ready: watched.is_ready(),
            stages,
            counts: lock(&self.counts).status.clone(),
            memory_bytes: process::resident_bytes(),
            cpu_seconds: process::cpu_seconds(),
        }
    }

    /// All that is counted now, read for whoever asks; else why it cannot be.
    pub(super) async fn counted(&self, in_windows: bool) -> Result<Counted, String> {
        let Some(current) = &self.watched.current else {
            return Err("no counts are known here".to_owned());
        };
        let current = current.borrow().clone();
        let counted = async {
            CountStore::open(&current.0, &current.1)?
                .counted(in_windows)
                .await
        };
        counted
            .await
            .map_err(|error: BackendError| (self.watched.redact)(&error.to_string()))
    }

    /// The last `seconds`.
    pub(super) fn history(&self, seconds: usize) -> Told {
        lock(&self.recent).history.tell(seconds)
    }

    /// The newest dead letters of all stages, newest first.
    pub(super) fn recent_rejects(&self) -> Vec<RecentReject> {
        let mut all = Vec::new();
        for leg in self.watched.legs.all() {
            for refused in leg.stats.refusals.recent() {
                all.push(RecentReject {
                    at_ms: refused.at_ms,
                    stage: leg.name.clone(),
                    step: refused.stage,
                    topic: leg.topic.clone(),
                    partition: refused.partition,
                    offset: refused.offset,
                    reason: (self.watched.redact)(&refused.reason),
                });
            }
        }
        all.sort_by_key(|reject| std::cmp::Reverse(reject.at_ms));
        all
    }

    /// Look once a second until stopped.
    pub(super) async fn sample(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while self.runs_on(ticks.tick()).await {
            let legs = self.watched.legs.all();
            let numbers: Vec<_> = legs
                .iter()
                .map(|leg| {
                    let of = gristmill_flow::LegStats::get;
                    let stats = &leg.stats;
                    (
                        leg.name.clone(),
                        of(&stats.records_in),
                        of(&stats.records_out),
                    )
                })
                .collect();
            let fresh = lock(&self.counts).fresh.take();
            {
                let mut recent = lock(&self.recent);
                recent.samples.take(&legs, Instant::now());
                recent.history.push(epoch_ms(), &numbers, fresh.as_ref());
            }
            if self.frames.receiver_count() > 0 {
                self.frames.send_replace(json(&self.status()));
            }
        }
    }

    /// Read the counts until stopped.
    pub(super) async fn count(self: Arc<Self>) {
        let Some(current) = self.watched.current.clone() else {
            return;
        };
        let mut store = match LiveCounts::follow(current) {
            Ok(store) => store,
            Err(error) => {
                tracing::debug!(%error, "counts cannot be watched");
                return;
            }
        };
        let mut wait = Duration::ZERO;
        while self.runs_on(tokio::time::sleep(wait)).await {
            let started = Instant::now();
            let read = tokio::time::timeout(COUNTS_PATIENCE, read(&mut store)).await;
            wait = EVERY.max(started.elapsed() * COUNTS_SHARE);
            let mut counts = lock(&self.counts);
            let error = match read {
                Ok(Ok(None)) => {
                    *counts = Counts::default();
                    continue;
                }
                Ok(Ok(Some((all, windows)))) => {
                    counts.status = Some(told(&all, windows));
                    counts.fresh = Some(all);
                    continue;
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => "the store does not answer".to_owned(),
            };
            // The last known ones stay, and say of when they are.
            let status = counts.status.get_or_insert_default();
            status.error = Some((self.watched.redact)(&error));
        }
    }

    /// Collect passing records, while somebody looks, until stopped.
    pub(super) async fn tap(self: Arc<Self>) {
        while self.runs_on(self.tap_wanted.notified()).await {
            while self.tapped.receiver_count() > 0 {
                let records = self.collect();
                if !records.is_empty() {
                    // They may all have gone meanwhile.
                    let _ = self.tapped.send(json(&TapFrame { records }));
                }
                if !self.runs_on(tokio::time::sleep(TAP_EVERY)).await {
                    break;
                }
            }
            let legs = self.watched.legs.all();
            legs.iter().for_each(|leg| leg.stats.tap.close());
        }
    }

    fn collect(&self) -> Vec<TapRecord> {
        let text = self.watched.redact;
        let mut records = Vec::new();
        for leg in self.watched.legs.all() {
            for tapped in leg.stats.tap.look(TAP_RECORDS) {
                records.push(TapRecord {
                    stage: leg.name.clone(),
                    topic: leg.topic.clone(),
                    partition: tapped.partition,
                    offset: tapped.offset,
                    at_ms: (tapped.timestamp_ms >= 0).then_some(tapped.timestamp_ms),
                    key: tapped.key.as_deref().map(text),
                    value: text(&tapped.value),
                    bytes: tapped.value_bytes,
                });
            }
        }
        records
    }

    /// Wait for `next`; false once stopped.
    async fn runs_on<T>(&self, next: impl Future<Output = T>) -> bool {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => false,
            _ = next => true,
        }
    }
}

type Read = (BTreeMap<String, i64>, Vec<Window>);

/// `None` where no sink counts.
async fn read(store: &mut LiveCounts) -> Result<Option<Read>, BackendError> {
    let store = store.now()?;
    if !store.has_sinks() {
        return Ok(None);
    }
    let counts = store.counts().await?;
    let windows = match store.has_windows() {
        true => store.windows().await?,
        false => Vec::new(),
    };
    Ok(Some((counts, windows)))
}

fn told(all: &BTreeMap<String, i64>, mut windows: Vec<Window>) -> CountsStatus {
    windows.drain(..windows.len().saturating_sub(WINDOWS));
    for window in &mut windows {
        window.counts = largest(&window.counts, WINDOW_LARGEST);
    }
    CountsStatus {
        at_ms: epoch_ms(),
        keys: all.len(),
        total: all
            .values()
            .fold(0, |sum, count| sum.saturating_add(*count)),
        largest: largest(all, LARGEST),
        windows,
        error: None,
    }
}

fn largest(all: &BTreeMap<String, i64>, max: usize) -> BTreeMap<String, i64> {
    let top = ranked(all).into_iter().take(max);
    top.map(|(key, count)| (key.to_owned(), count)).collect()
}

pub(super) fn json(value: &impl Serialize) -> Arc<str> {
    // Maps with text for keys and numbers that are finite: it cannot fail.
    serde_json::to_string(value).unwrap_or_default().into()
}

fn since_epoch_ms(at: SystemTime) -> i64 {
    at.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as i64)
}

/// A poisoned lock still holds plain data that is fit to be read.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
