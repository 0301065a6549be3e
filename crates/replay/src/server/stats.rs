use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

/// What a server has done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Streams opened.
    pub connections: u64,
    /// Streams open now.
    pub open: u64,
    /// Events sent over all connections, those sent again included.
    pub events: u64,
    /// The most advanced event that any connection was sent: its index plus one.
    pub high_water: u64,
    /// Requests answered with something other than a stream.
    pub refused: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    requests: AtomicU64,
    connections: AtomicU64,
    open: AtomicU64,
    events: AtomicU64,
    high_water: AtomicU64,
    refused: AtomicU64,
}

impl Counters {
    pub(super) fn stats(&self) -> Stats {
        Stats {
            connections: self.connections.load(Relaxed),
            open: self.open.load(Relaxed),
            events: self.events.load(Relaxed),
            high_water: self.high_water.load(Relaxed),
            refused: self.refused.load(Relaxed),
        }
    }

    /// Counts a request and returns its number, from 0.
    pub(super) fn request(&self) -> u64 {
        self.requests.fetch_add(1, Relaxed)
    }

    pub(super) fn sent(&self, events: u64, next_index: u64) {
        self.events.fetch_add(events, Relaxed);
        self.high_water.fetch_max(next_index, Relaxed);
    }

    pub(super) fn refused(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    /// Counts a stream as open until the guard is dropped.
    pub(super) fn open(self: &Arc<Self>) -> Open {
        self.connections.fetch_add(1, Relaxed);
        self.open.fetch_add(1, Relaxed);
        Open(Arc::clone(self))
    }
}

pub(super) struct Open(Arc<Counters>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}
