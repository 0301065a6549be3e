//! What the outside sees of the stages, also while they come and go.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use gristmill_flow::{LegStats, Status};

use crate::plan::Stage;

/// What the outside sees of a stage.
#[derive(Debug, Clone)]
pub struct LegView {
    /// `meta.name`.
    pub name: String,
    /// `meta.type`.
    pub kind: &'static str,
    /// Whether the stage brings records into its topic (or takes them out of it).
    pub is_source: bool,
    /// `meta.topic`.
    pub topic: String,
    /// Its counters and state.
    pub stats: Arc<LegStats>,
}

/// The stages of a running pipeline, in the manifest's order; new ones at the end, and those that
/// are gone stay, so that a report has them. Cheap to clone, always current.
#[derive(Debug, Clone, Default)]
pub struct Legs(Arc<Mutex<Vec<LegView>>>);

impl Legs {
    pub(crate) fn of(stages: &[Stage]) -> Self {
        let legs = Self::default();
        stages.iter().for_each(|stage| {
            legs.enter(stage);
        });
        legs
    }

    /// These, which nobody else changes: for what looks at stages of its own.
    pub fn fixed(legs: Vec<LegView>) -> Self {
        Self(Arc::new(Mutex::new(legs)))
    }

    /// All of them, as they are now.
    pub fn all(&self) -> Vec<LegView> {
        self.lock().clone()
    }

    pub(crate) fn get(&self, name: &str) -> Option<LegView> {
        self.lock().iter().find(|leg| leg.name == name).cloned()
    }

    /// `stage` starts, or starts once more: its counters go on then.
    pub(crate) fn enter(&self, stage: &Stage) -> LegView {
        let mut legs = self.lock();
        let at = legs.iter().position(|leg| leg.name == stage.name);
        let fresh = || Arc::new(LegStats::with_clock(epoch_ms));
        let stats = at.map_or_else(fresh, |at| legs[at].stats.clone());
        stats
            .lag()
            .keys()
            .for_each(|partition| stats.clear_lag(*partition));
        stats.set_status(Status::Starting);
        let leg = LegView {
            name: stage.name.clone(),
            kind: stage.kind(),
            is_source: stage.is_source(),
            topic: stage.topic.clone(),
            stats,
        };
        match at {
            Some(at) => legs[at] = leg.clone(),
            None => legs.push(leg.clone()),
        }
        leg
    }

    fn lock(&self) -> MutexGuard<'_, Vec<LegView>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The wall clock: for latencies, and for when a closed window expires.
pub(crate) fn epoch_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as i64)
}
