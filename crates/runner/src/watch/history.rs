//! The last hour, a point a second: cumulative numbers of each stage and of the largest counts.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::Serialize;

use super::status::ranked;

/// Points kept.
const POINTS_MAX: usize = 3_600;
/// Points told at once: about what a chart has pixels for.
const TOLD_MAX: usize = 360;
/// Keys that get a line: more cannot be told apart.
const LINES: usize = 8;
/// Keys that are followed: those that were among the largest not long ago stay.
const FOLLOWED_MAX: usize = 12;
/// Stages that are followed.
const STAGES_MAX: usize = 32;

/// Bounded by the constants above, whatever keys there are.
#[derive(Debug, Default)]
pub(super) struct History {
    at_ms: VecDeque<i64>,
    stages: BTreeMap<String, [Column; 2]>,
    counts: BTreeMap<String, Column>,
}

/// As many values as there are points; unknown before the first of them.
type Column = VecDeque<Option<i64>>;

/// A part of the history, thinned out.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Told {
    /// Seconds between two points.
    step: usize,
    /// When, milliseconds since the epoch, oldest first.
    at_ms: Vec<i64>,
    /// Records in and out of each stage since the run started.
    stages: BTreeMap<String, StageLines>,
    /// Counts of the largest keys.
    counts: BTreeMap<String, Vec<Option<i64>>>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct StageLines {
    records_in: Vec<Option<i64>>,
    records_out: Vec<Option<i64>>,
}

impl History {
    /// Add a point. `stages` are (name, records in, records out); `counts` are all there are, or
    /// `None` while they are not known.
    pub(super) fn push(
        &mut self,
        at_ms: i64,
        stages: &[(String, u64, u64)],
        counts: Option<&BTreeMap<String, i64>>,
    ) {
        let before = self.at_ms.len();
        for (name, records_in, records_out) in stages {
            if !self.stages.contains_key(name) && self.stages.len() >= STAGES_MAX {
                continue;
            }
            let fresh = || [unknown(before), unknown(before)];
            let columns = self.stages.entry(name.clone()).or_insert_with(fresh);
            columns[0].push_back(Some(*records_in as i64));
            columns[1].push_back(Some(*records_out as i64));
        }
        if let Some(counts) = counts {
            self.follow(counts, before);
        }
        for (key, column) in &mut self.counts {
            column.push_back(counts.and_then(|counts| counts.get(key).copied()));
        }
        self.at_ms.push_back(at_ms);
        let excess = self.at_ms.len().saturating_sub(POINTS_MAX);
        self.at_ms.drain(..excess);
        let points = self.at_ms.len();
        let columns = self.stages.values_mut().flatten();
        for column in columns.chain(self.counts.values_mut()) {
            // A stage that is gone has no more values.
            column.resize((before + 1).max(column.len()), None);
            column.drain(..column.len() - points);
        }
    }

    /// See that the largest of `counts` are followed.
    fn follow(&mut self, counts: &BTreeMap<String, i64>, points: usize) {
        let ranked = ranked(counts);
        let top: BTreeSet<&str> = ranked.iter().take(LINES).map(|(key, _)| *key).collect();
        for key in &top {
            if self.counts.contains_key(*key) {
                continue;
            }
            if self.counts.len() >= FOLLOWED_MAX {
                let others = self.counts.keys().filter(|key| !top.contains(key.as_str()));
                let least = others.min_by_key(|key| counts.get(*key)).cloned();
                if let Some(least) = least {
                    self.counts.remove(&least);
                }
            }
            self.counts.insert((*key).to_owned(), unknown(points));
        }
    }

    /// The last `seconds` of it.
    pub(super) fn tell(&self, seconds: usize) -> Told {
        let points = self.at_ms.len();
        let wanted = seconds.clamp(1, POINTS_MAX);
        let step = wanted.div_ceil(TOLD_MAX);
        // Whole steps back from the newest point, which is always told.
        let last = points.saturating_sub(1);
        let first = last.saturating_sub(wanted);
        let mut picked: Vec<usize> = (first..points).rev().step_by(step).collect();
        picked.reverse();
        let pick = |column: &Column| -> Vec<Option<i64>> {
            picked.iter().map(|index| column[*index]).collect()
        };
        let newest = |key: &str| self.counts[key].back().copied().flatten();
        let mut keys: Vec<&String> = self.counts.keys().collect();
        keys.sort_by_key(|key| std::cmp::Reverse(newest(key)));
        Told {
            step,
            at_ms: picked.iter().map(|index| self.at_ms[*index]).collect(),
            stages: self
                .stages
                .iter()
                .map(|(name, [records_in, records_out])| {
                    let lines = StageLines {
                        records_in: pick(records_in),
                        records_out: pick(records_out),
                    };
                    (name.clone(), lines)
                })
                .collect(),
            counts: keys
                .into_iter()
                .take(LINES)
                .map(|key| (key.clone(), pick(&self.counts[key])))
                .collect(),
        }
    }
}

fn unknown(points: usize) -> Column {
    std::iter::repeat_n(None, points).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(pairs: &[(&str, i64)]) -> BTreeMap<String, i64> {
        let own = |(key, count): &(&str, i64)| ((*key).to_owned(), *count);
        pairs.iter().map(own).collect()
    }

    #[test]
    fn every_column_has_a_value_for_every_point() {
        let mut history = History::default();
        history.push(1_000, &[], None);
        history.push(2_000, &[("a".to_owned(), 5, 4)], Some(&counts(&[("x", 1)])));
        history.push(3_000, &[("b".to_owned(), 1, 1)], None);
        history.push(4_000, &[], Some(&counts(&[("x", 3), ("y", 2)])));
        let told = history.tell(60);
        assert_eq!(
            (told.step, &*told.at_ms),
            (1, &[1_000, 2_000, 3_000, 4_000][..])
        );
        assert_eq!(told.stages["a"].records_in, [None, Some(5), None, None]);
        assert_eq!(told.stages["b"].records_out, [None, None, Some(1), None]);
        assert_eq!(told.counts["x"], [None, Some(1), None, Some(3)]);
        assert_eq!(told.counts["y"], [None, None, None, Some(2)]);
    }

    #[test]
    fn an_hour_is_kept_and_thinned_out() {
        let mut history = History::default();
        for second in 0..10_000_u64 {
            let stage = [("s".to_owned(), second, second)];
            history.push(second as i64 * 1_000, &stage, Some(&counts(&[("k", 1)])));
        }
        assert_eq!(history.at_ms.len(), POINTS_MAX);
        assert_eq!(history.counts["k"].len(), POINTS_MAX);
        let told = history.tell(3_600);
        assert_eq!((told.step, told.at_ms.len()), (10, 360));
        assert_eq!(told.at_ms.last(), Some(&9_999_000));
        assert_eq!(told.stages["s"].records_in.last(), Some(&Some(9_999)));
        let told = history.tell(300);
        assert_eq!((told.step, told.at_ms.len()), (1, 301));
        assert_eq!(history.tell(usize::MAX).step, 10);
        assert_eq!(history.tell(0).at_ms.len(), 2);
        assert!(History::default().tell(60).at_ms.is_empty());
    }

    #[test]
    fn keys_without_end_take_no_memory() {
        let mut history = History::default();
        for round in 0..1_000_i64 {
            let keys: Vec<String> = (0..50).map(|n| format!("{round}-{n}")).collect();
            let all = keys.into_iter().zip(round * 100..).collect();
            history.push(round, &[], Some(&all));
            assert!(history.counts.len() <= FOLLOWED_MAX);
        }
        let told = history.tell(60);
        assert_eq!(told.counts.len(), LINES);
        assert!(told.counts.contains_key("999-49"), "{:?}", told.counts);
    }

    #[test]
    fn stages_without_end_take_no_memory() {
        let mut history = History::default();
        for n in 0..100 {
            history.push(n, &[(n.to_string(), 1, 1)], None);
        }
        assert_eq!(history.stages.len(), STAGES_MAX);
    }
}
