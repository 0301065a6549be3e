//! How far each lane of a sink is in event time, and which of them hold windows open for nothing.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use gristmill_record::Lane;

use crate::Mark;

/// The marks of the lanes that a sink owns, as it last read or wrote them. The clock is the
/// caller's.
#[derive(Debug)]
pub struct Marks {
    idle: Duration,
    lanes: HashMap<Lane, State>,
}

#[derive(Debug)]
struct State {
    mark: Mark,
    /// Since when nothing came of it and nothing went wrong.
    quiet_since: Instant,
}

impl Marks {
    /// A lane that is read to its end and quiet for `idle` no longer holds windows open.
    pub fn new(idle: Duration) -> Self {
        Self {
            idle,
            lanes: HashMap::new(),
        }
    }

    /// The lane's mark; the default for one that is not ours.
    pub fn get(&self, lane: &Lane) -> Mark {
        self.lanes
            .get(lane)
            .map_or_else(Mark::default, |state| state.mark)
    }

    /// The lane is ours, and stands at `mark`.
    pub fn set(&mut self, lane: Lane, mark: Mark, now: Instant) {
        let state = State {
            mark,
            quiet_since: now,
        };
        self.lanes.insert(lane, state);
    }

    /// A batch of the lane was applied.
    pub fn advance(&mut self, lane: &Lane, at_ms: Option<i64>, now: Instant) {
        let closed_ms = self.get(lane).closed_ms;
        self.set(lane.clone(), Mark { at_ms, closed_ms }, now);
    }

    /// Something went wrong: records may wait before the sink unseen, so no lane is quiet.
    pub fn disturbed(&mut self, now: Instant) {
        self.lanes
            .values_mut()
            .for_each(|state| state.quiet_since = now);
    }

    /// Lanes beside `lane` that are quiet, read to their end and behind it; with the mark that
    /// they are to get.
    pub fn quiet(
        &self,
        lane: &Lane,
        now: Instant,
        read_to_end: impl Fn(i32) -> bool,
    ) -> Vec<(Lane, i64)> {
        let Some(ahead) = self.get(lane).at_ms else {
            return Vec::new();
        };
        let quiet = self.lanes.iter().filter(|(other, state)| {
            *other != lane
                && state.mark.at_ms.is_none_or(|at| at < ahead)
                && now.saturating_duration_since(state.quiet_since) >= self.idle
                && read_to_end(other.partition)
        });
        quiet.map(|(other, _)| (other.clone(), ahead)).collect()
    }

    /// A quiet lane's mark is now stored as `to_ms`.
    pub fn moved(&mut self, lane: &Lane, to_ms: i64) {
        if let Some(state) = self.lanes.get_mut(lane) {
            state.mark.at_ms = Some(to_ms);
        }
    }

    /// The lane went to somebody else.
    pub fn forget(&mut self, lane: &Lane) {
        self.lanes.remove(lane);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_lane_that_is_done_and_quiet_stops_holding_windows_open() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let [busy, quiet, behind] = [0, 1, 2].map(|partition| Lane::new("t", partition));
        let mark = |at| Mark {
            at_ms: Some(at),
            closed_ms: None,
        };
        let mut marks = Marks::new(Duration::from_secs(60));
        marks.set(busy.clone(), mark(500), start);
        marks.set(quiet.clone(), Mark::default(), start);
        marks.set(behind.clone(), mark(100), start);
        let done = |partition: i32| partition == 1;
        assert_eq!(marks.quiet(&busy, after(59), done), []);
        assert_eq!(marks.quiet(&busy, after(60), done), [(quiet.clone(), 500)]);
        assert_eq!(
            marks.quiet(&behind, after(60), |_| true),
            [(quiet.clone(), 100)]
        );
        marks.disturbed(after(50));
        assert_eq!(marks.quiet(&busy, after(60), done), []);
        marks.moved(&quiet, 500);
        assert_eq!(marks.quiet(&busy, after(500), done), []);
    }
}
