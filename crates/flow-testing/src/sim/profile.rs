//! Worlds to simulate.

/// What a world has and what goes wrong in it.
#[derive(Debug, Clone, Copy)]
pub struct Profile {
    /// Its name, and that of the test which runs it.
    pub name: &'static str,
    /// The stream resumes by timestamps that run out of order, instead of at the last event.
    pub inexact: bool,
    /// Copies of the ingest leg that run at once.
    pub ingest_copies: usize,
    /// Copies of the count leg that run at once.
    pub count_copies: usize,
    /// Per mille of the calls to broker and store that lose their request or their reply, or come
    /// late.
    pub lost_per_mille: u32,
    /// Per cent of the lives that are killed, put to sleep, or stopped in order.
    pub mortality_percent: u32,
    /// The group moves lanes about for no reason.
    pub rebalances: bool,
    /// The store is taken back to an older state, or emptied, and comes to refuse a key that it
    /// took before.
    pub store_losses: bool,
}

impl Profile {
    /// Nothing goes wrong: what the others are compared with.
    pub const CALM: Self = Self {
        name: "calm",
        inexact: false,
        ingest_copies: 1,
        count_copies: 1,
        lost_per_mille: 0,
        mortality_percent: 0,
        rebalances: false,
        store_losses: false,
    };
    /// One copy of each leg, killed again and again, over a bad network.
    pub const CRASHES: Self = Self {
        name: "crashes",
        lost_per_mille: 40,
        mortality_percent: 80,
        ..Self::CALM
    };
    /// The same against a stream that resumes as Wikimedia's does.
    pub const INEXACT: Self = Self {
        name: "inexact",
        inexact: true,
        ..Self::CRASHES
    };
    /// Several copies of each leg: fenced sources, consumers that do not know that they are out.
    pub const ZOMBIES: Self = Self {
        name: "zombies",
        ingest_copies: 2,
        count_copies: 3,
        rebalances: true,
        ..Self::CRASHES
    };
    /// A store that forgets.
    pub const STORE_LOSSES: Self = Self {
        name: "store_losses",
        count_copies: 2,
        rebalances: true,
        store_losses: true,
        ..Self::CRASHES
    };
    /// All of it at once.
    pub const EVERYTHING: Self = Self {
        name: "everything",
        inexact: true,
        store_losses: true,
        lost_per_mille: 60,
        ..Self::ZOMBIES
    };
}
