//! Between the reader's thread and the leg: bounded in batches and in bytes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use gristmill_flow::{SourceError, SourceEvent};
use tokio::sync::Notify;

use crate::context::lock;

/// Batches that may wait for the leg: enough that neither side idles, and few, so that little is
/// read in vain when the sink says to go elsewhere.
const BATCHES_MAX: usize = 8;

pub(super) type Item = Result<SourceEvent, SourceError>;

#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    readable: Notify,
    writable: Condvar,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct State {
    items: VecDeque<Item>,
    bytes: usize,
    batches: usize,
    /// By partition: what the sink has, and has not been committed to the group.
    commits: BTreeMap<i32, i64>,
    woken: bool,
    closed: bool,
}

impl Queue {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            state: Mutex::default(),
            readable: Notify::new(),
            writable: Condvar::new(),
            bytes_max,
        }
    }

    /// The leg's side: the next item. Cancel-safe, since it takes one only on its way out.
    pub(super) async fn pop(&self) -> Item {
        loop {
            {
                let mut state = lock(&self.state);
                if let Some(item) = state.items.pop_front() {
                    if let Ok(SourceEvent::Batch(batch)) = &item {
                        state.bytes -= batch.records.bytes();
                        state.batches -= 1;
                        self.writable.notify_one();
                    }
                    return item;
                }
                if state.closed {
                    return Ok(SourceEvent::End);
                }
            }
            self.readable.notified().await;
        }
    }

    /// The thread's side: never blocks. The thread asks [`is_full`](Self::is_full) before it polls
    /// for more, so this is over the limit by one batch a partition at most.
    pub(super) fn push(&self, item: Item) {
        let mut state = lock(&self.state);
        match &item {
            Ok(SourceEvent::Batch(batch)) => {
                state.bytes += batch.records.bytes();
                state.batches += 1;
            }
            // One trouble at a time is enough: the leg waits after each.
            Err(SourceError::Retry { .. }) => {
                state
                    .items
                    .retain(|item| !matches!(item, Err(SourceError::Retry { .. })));
            }
            _ => {}
        }
        state.items.push_back(item);
        drop(state);
        self.readable.notify_one();
    }

    pub(super) fn is_full(&self) -> bool {
        let state = lock(&self.state);
        self.over(&state)
    }

    fn over(&self, state: &State) -> bool {
        !state.closed && (state.batches >= BATCHES_MAX || state.bytes >= self.bytes_max)
    }

    /// Wait until there is room, or a command to look at; true if there is room.
    pub(super) fn wait_for_room(&self, timeout: Duration) -> bool {
        let state = lock(&self.state);
        let (mut state, _) = self
            .writable
            .wait_timeout_while(state, timeout, |state| self.over(state) && !state.woken)
            .unwrap_or_else(PoisonError::into_inner);
        state.woken = false;
        !self.over(&state)
    }

    /// A command is on its way.
    pub(super) fn wake(&self) {
        lock(&self.state).woken = true;
        self.writable.notify_one();
    }

    /// Drop what was read ahead of these partitions.
    pub(super) fn discard(&self, partitions: &[i32]) {
        let mut state = lock(&self.state);
        let State {
            items,
            bytes,
            batches,
            ..
        } = &mut *state;
        items.retain(|item| match item {
            Ok(SourceEvent::Batch(batch)) if partitions.contains(&batch.lane.partition) => {
                *bytes -= batch.records.bytes();
                *batches -= 1;
                false
            }
            _ => true,
        });
    }

    pub(super) fn commit(&self, partition: i32, offset: i64) {
        lock(&self.state).commits.insert(partition, offset);
    }

    pub(super) fn take_commits(&self) -> BTreeMap<i32, i64> {
        std::mem::take(&mut lock(&self.state).commits)
    }

    pub(super) fn close(&self) {
        lock(&self.state).closed = true;
        self.writable.notify_one();
        self.readable.notify_one();
    }

    pub(super) fn is_closed(&self) -> bool {
        lock(&self.state).closed
    }
}
