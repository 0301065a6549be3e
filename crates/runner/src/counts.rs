//! The counts of what runs, also after a change of the file has moved them.

use std::sync::Arc;

use gristmill_manifest::Manifest;
use tokio::sync::watch;

use crate::{Backend, BackendError, CountStore};

/// What a pipeline runs on, for those who look at its counts.
pub type Current = Arc<(Manifest, Backend)>;

/// A [`CountStore`] of what runs now.
pub struct LiveCounts {
    seen: watch::Receiver<Current>,
    store: CountStore,
}

impl LiveCounts {
    /// Follow `seen`.
    ///
    /// # Errors
    /// As [`CountStore::open`].
    pub fn follow(mut seen: watch::Receiver<Current>) -> Result<Self, BackendError> {
        let current = seen.borrow_and_update().clone();
        let store = CountStore::open(&current.0, &current.1)?;
        Ok(Self { seen, store })
    }

    /// The store of what runs now.
    ///
    /// # Errors
    /// As [`CountStore::open`].
    pub fn now(&mut self) -> Result<&mut CountStore, BackendError> {
        if self.seen.has_changed().unwrap_or(false) {
            let current = self.seen.borrow_and_update().clone();
            self.store = CountStore::open(&current.0, &current.1)?;
        }
        Ok(&mut self.store)
    }
}
