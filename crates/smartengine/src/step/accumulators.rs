//! An aggregate's state, by lane.

use std::collections::{BTreeMap, VecDeque};

use gristmill_record::{Lane, Position};

/// Batches that a lane can be taken back by. The leg re-seeks to what the sink stored, which is
/// at most the batch before the refused one, unless the store itself was rewound.
const BACK_MAX: usize = 16;
/// Bytes of earlier accumulators that a lane keeps.
const BACK_BYTES_MAX: usize = 4 << 20;

/// The accumulator of each lane, and what it was before the last batches.
#[derive(Debug, Clone, Default)]
pub(crate) struct Accumulators {
    lanes: BTreeMap<Lane, State>,
}

#[derive(Debug, Clone, Default)]
struct State {
    value: Vec<u8>,
    before: VecDeque<(Position, Vec<u8>)>,
}

impl Accumulators {
    /// A batch of `lane` that starts at `from` comes next.
    pub(crate) fn begin(&mut self, lane: &Lane, from: Option<&Position>) {
        let state = self.lanes.entry(lane.clone()).or_default();
        if let Some(from) = from {
            state.before.push_back((from.clone(), state.value.clone()));
        }
        let bytes = |state: &State| state.before.iter().map(|(_, v)| v.len()).sum::<usize>();
        while state.before.len() > BACK_MAX
            || state.before.len() > 1 && bytes(state) > BACK_BYTES_MAX
        {
            state.before.pop_front();
        }
    }

    /// `lane` goes on at `to`, not where it was: take back what was counted since, if that is
    /// still known. Where it is not, the accumulator stays; false then.
    pub(crate) fn rewind(&mut self, lane: &Lane, to: Option<&Position>) -> bool {
        let Some(state) = self.lanes.get_mut(lane) else {
            return true;
        };
        let Some(at) = state.before.iter().rposition(|(from, _)| Some(from) == to) else {
            return false;
        };
        if let Some((_, value)) = state.before.drain(at..).next() {
            state.value = value;
        }
        true
    }

    /// The accumulator; empty before the first record.
    pub(crate) fn get(&self, lane: &Lane) -> Vec<u8> {
        self.lanes
            .get(lane)
            .map(|state| state.value.clone())
            .unwrap_or_default()
    }

    /// What the guest made of it.
    pub(crate) fn set(&mut self, lane: &Lane, value: Vec<u8>) {
        self.lanes.entry(lane.clone()).or_default().value = value;
    }
}
