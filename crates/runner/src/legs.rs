//! What the outside sees of the stages, also while they come and go.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use gristmill_flow::LegStats;

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
    /// `uses` of its transforms, in order.
    pub transforms: Vec<String>,
    /// Its counters and state, over all its copies or streams.
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

    /// From now on these: for what tells of stages that run elsewhere.
    pub fn set(&self, legs: Vec<LegView>) {
        *self.lock() = legs;
    }

    /// All of them, as they are now.
    pub fn all(&self) -> Vec<LegView> {
        self.lock().clone()
    }

    pub(crate) fn get(&self, name: &str) -> Option<LegView> {
        self.lock().iter().find(|leg| leg.name == name).cloned()
    }

    /// A part of `stage` starts, or starts once more: the stage's counters go on then.
    pub(crate) fn enter(&self, stage: &Stage) -> LegView {
        let mut legs = self.lock();
        let at = legs.iter().position(|leg| leg.name == stage.name);
        let fresh = || Arc::new(LegStats::with_clock(epoch_ms));
        let stats = at.map_or_else(fresh, |at| legs[at].stats.clone());
        let leg = LegView {
            name: stage.name.clone(),
            kind: stage.kind(),
            is_source: stage.is_source(),
            topic: stage.topic.clone(),
            transforms: transforms(stage),
            stats,
        };
        match at {
            Some(at) => legs[at] = leg.clone(),
            None => legs.push(leg.clone()),
        }
        leg
    }

    /// `stage` goes on with other transforms.
    pub(crate) fn swapped(&self, stage: &Stage) {
        let mut legs = self.lock();
        if let Some(leg) = legs.iter_mut().find(|leg| leg.name == stage.name) {
            leg.transforms = transforms(stage);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<LegView>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn transforms(stage: &Stage) -> Vec<String> {
    let all = stage.entry.transforms.iter();
    all.map(|transform| transform.uses.clone()).collect()
}

/// The wall clock: for latencies, and for when a closed window expires.
pub(crate) fn epoch_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as i64)
}
