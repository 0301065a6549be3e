//! The count store: one step for counts and next offset, and losses of its newest writes.

use std::collections::BTreeMap;

use super::Mutant;
use super::stream::{BREAKABLE, Kind};
use super::world::State;

#[derive(Default)]
pub(super) struct Store {
    pub(super) counts: BTreeMap<String, u64>,
    /// Next offset by partition.
    pub(super) offsets: BTreeMap<i32, i64>,
    /// What it held after each write.
    history: Vec<(BTreeMap<String, u64>, BTreeMap<i32, i64>)>,
    /// From some moment on, a key that was counted cannot be (somebody put text into it).
    pub(super) broken: bool,
}

/// A batch as it is applied.
#[derive(Debug, Clone)]
pub(super) struct Apply {
    pub(super) partition: i32,
    pub(super) from: Option<i64>,
    pub(super) next: i64,
    /// No stored offset is fine: this may be the partition's first batch.
    pub(super) first: bool,
    pub(super) counts: BTreeMap<String, u64>,
    /// Whether to look at the stored offset at all.
    pub(super) checked: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Applied,
    /// The stored offset is another one.
    Stored(Option<i64>),
    /// These keys cannot be counted.
    Uncountable(Vec<String>),
}

impl State {
    pub(super) fn apply(&mut self, apply: &Apply) -> Answer {
        let stored = self.store.offsets.get(&apply.partition).copied();
        let aligned = match stored {
            Some(_) => stored == apply.from,
            None => apply.first || self.is(Mutant::BlindToFlush),
        };
        if apply.checked && !aligned && !self.is(Mutant::NoOffsetCheck) {
            return Answer::Stored(stored);
        }
        let broken = self.store.broken;
        let uncountable =
            |key: &&String| *key == Kind::Uncountable.name() || broken && *key == BREAKABLE;
        let keys: Vec<String> = apply.counts.keys().filter(uncountable).cloned().collect();
        if !keys.is_empty() {
            return Answer::Uncountable(keys);
        }
        self.note(|| format!("store: {apply:?}"));
        for (key, count) in &apply.counts {
            *self.store.counts.entry(key.clone()).or_default() += count;
        }
        self.store.offsets.insert(apply.partition, apply.next);
        if apply.checked && stored.is_some_and(|stored| stored > apply.next) {
            self.violate(|| format!("the stored offset went back: {stored:?}, {apply:?}"));
        }
        self.store
            .history
            .push((self.store.counts.clone(), self.store.offsets.clone()));
        self.check_store();
        Answer::Applied
    }

    /// Take the store back to an older state, counts and offsets together.
    pub(super) fn restore(&mut self) {
        let length = self.store.history.len();
        if length < 2 {
            return;
        }
        let kept = length - self.rng.usize(1..length.min(12));
        self.store.history.truncate(kept);
        if let Some((counts, offsets)) = self.store.history.last().cloned() {
            self.store.counts = counts;
            self.store.offsets = offsets;
        }
        self.note_fault(|| format!("store: lost its last {} writes", length - kept));
    }

    /// Empty the store.
    pub(super) fn flush(&mut self) {
        self.store = Store {
            broken: self.store.broken,
            ..Store::default()
        };
        self.note_fault(|| "store: flushed".to_owned());
    }
}
