//! A leg's transforms, which can be replaced between two of its batches.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use gristmill_flow::{Transform, TransformError};
use gristmill_record::Batch;
use gristmill_smartengine::Chain;

use crate::look_back::Past;

/// A batch that takes longer makes the next one wait for its write.
const SLOW: Duration = Duration::from_millis(20);

/// Holds the chain that is to replace a leg's. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Slot(Arc<Mutex<Option<Chain>>>);

impl Slot {
    /// Let the leg go on with `chain` from its next batch on.
    pub(crate) fn put(&self, chain: Chain) {
        *self.lock() = Some(chain);
    }

    fn take(&self) -> Option<Chain> {
        self.lock().take()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Chain>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The transform of every leg: a chain, empty where the stage has no transforms.
pub(crate) struct Swap {
    stage: String,
    chain: Chain,
    slot: Slot,
    past: Past,
    /// Whether the last batch was; the first one of a chain counts as such.
    slow: bool,
}

impl Swap {
    pub(crate) fn new(stage: &str, chain: Chain, slot: Slot, past: Past) -> Self {
        Self {
            stage: stage.to_owned(),
            slow: !chain.is_empty(),
            chain,
            slot,
            past,
        }
    }

    fn replace(&mut self, next: Chain) {
        match next.succeed(&mut self.chain) {
            Ok(chain) => {
                tracing::info!(connector = self.stage, "goes on with its new transforms");
                self.slow = !chain.is_empty();
                self.chain = chain;
            }
            Err(error) => {
                let connector = &self.stage;
                tracing::error!(connector, %error, "goes on with its old transforms");
            }
        }
    }
}

impl Transform for Swap {
    fn apply(&mut self, batch: Batch) -> Result<Batch, TransformError> {
        if let Some(next) = self.slot.take() {
            self.replace(next);
        }
        if let Some(records) = self.past.take() {
            let shown = self.chain.look_back(&records);
            shown.map_err(|error| TransformError(error.to_string()))?;
        }
        if self.chain.is_empty() {
            return Ok(batch);
        }
        let started = Instant::now();
        let result = self.chain.apply(batch);
        self.slow = started.elapsed() > SLOW;
        result
    }

    fn is_slow(&self) -> bool {
        self.slow
    }
}
