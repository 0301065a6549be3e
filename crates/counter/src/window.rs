//! Tumbling windows on event time: which window each record counts in, and which come too late.
//!
//! A lane's *mark* is the highest event time that was seen in it. A record is late if its window
//! ended, grace included, at or before the mark as it was when the record's turn came. That
//! depends on the lane's records and their order alone, not on batches, other lanes or the clock:
//! a replay decides the same.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use gristmill_record::Batch;

use crate::{KeyTemplate, check_key};

/// How far before the clock an event may be and still move the mark: one wrong clock at the other
/// end must not make everybody else late. Such an event still counts in its own window.
const AHEAD_MAX_MS: i64 = 3_600_000;

/// Windows of one size, aligned to the epoch (UTC).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowRules {
    /// Length of each window.
    pub size_ms: i64,
    /// How long after its end a window waits for events.
    pub grace_ms: i64,
}

/// What happens to late records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Late {
    /// They are counted by key, apart from the windows.
    #[default]
    Count,
    /// They are refused, and become dead letters.
    Refuse,
}

/// A lane's state between two batches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mark {
    /// Highest event time seen; `None` before any.
    pub at_ms: Option<i64>,
    /// Every window that ended by then is final, whatever this lane has seen.
    pub closed_ms: Option<i64>,
}

/// A record that cannot be counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowRefusal {
    /// Index of the record in its batch.
    pub index: usize,
    /// Why.
    pub reason: String,
}

/// A window as a store holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowCounts {
    /// When it starts, milliseconds since the epoch.
    pub start_ms: i64,
    /// When it ends; an event of this time is in the next one.
    pub end_ms: i64,
    /// Whether it is final.
    pub closed: bool,
    /// Its counts by key; bytes that are no UTF-8 show as U+FFFD.
    pub counts: BTreeMap<String, i64>,
}

/// One window's keys with their increments.
pub type Increments = BTreeMap<Vec<u8>, u64>;

/// Turns batches into increments of windows.
#[derive(Debug)]
pub struct WindowCounter {
    template: KeyTemplate,
    rules: WindowRules,
    late_rule: Late,
    /// By window and key, so that a key's first record of a batch alone allocates.
    counts: HashMap<i64, HashMap<Vec<u8>, u64>>,
    late: Increments,
    refused: Vec<WindowRefusal>,
    mark_ms: Option<i64>,
    key: Vec<u8>,
}

impl WindowRules {
    /// Windows of `size`, which is at least a millisecond.
    pub fn new(size: Duration, grace: Duration) -> Self {
        let ms = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4);
        Self {
            size_ms: ms(size).max(1),
            grace_ms: ms(grace),
        }
    }

    /// Start of the window that `at_ms` is in.
    pub fn start(&self, at_ms: i64) -> i64 {
        at_ms.div_euclid(self.size_ms).saturating_mul(self.size_ms)
    }

    /// Windows that end at or before this are over where the mark is `mark_ms`.
    pub fn edge(&self, mark_ms: i64) -> i64 {
        self.start(mark_ms.saturating_sub(self.grace_ms))
    }
}

impl WindowCounter {
    /// Counts by `template` in windows by `rules`.
    pub fn new(template: KeyTemplate, rules: WindowRules, late_rule: Late) -> Self {
        Self {
            template,
            rules,
            late_rule,
            counts: HashMap::new(),
            late: Increments::new(),
            refused: Vec::new(),
            mark_ms: None,
            key: Vec::new(),
        }
    }

    /// The windows' rules.
    pub fn rules(&self) -> WindowRules {
        self.rules
    }

    /// Count the records of `batch`, whose lane is at `mark`; what an earlier batch left is
    /// forgotten. `now_ms` is the clock, for [events from the future](AHEAD_MAX_MS) only.
    pub fn count(&mut self, batch: &Batch, mark: Mark, now_ms: i64) {
        self.counts.clear();
        self.late.clear();
        self.refused.clear();
        self.mark_ms = mark.at_ms;
        for (index, record) in batch.records.iter().enumerate() {
            let at_ms = record.timestamp_ms;
            if at_ms < 0 {
                let reason = "it has no timestamp, so it is in no window: set `sse.timestamp`";
                self.refuse(index, reason.to_owned());
                continue;
            }
            self.template
                .render(&batch.lane.topic, &record, &mut self.key);
            let start = self.rules.start(at_ms);
            let end = start.saturating_add(self.rules.size_ms);
            let edge = self.mark_ms.map(|mark| self.rules.edge(mark));
            let is_late = edge.max(mark.closed_ms).is_some_and(|edge| end <= edge);
            let known = self.counts.get_mut(&start);
            if let Some(count) = known.and_then(|keys| keys.get_mut(self.key.as_slice()))
                && !is_late
            {
                *count += 1;
            } else if let Err(reason) = check_key(&self.key) {
                self.refuse(index, reason.to_string());
                continue;
            } else if !is_late {
                let keys = self.counts.entry(start).or_default();
                keys.insert(self.key.clone(), 1);
            } else if self.late_rule == Late::Count {
                *self.late.entry(self.key.clone()).or_default() += 1;
            } else {
                let reason = format!(
                    "late: its window ended at {end}, and is final since an event of {}",
                    self.mark_ms.or(mark.closed_ms).unwrap_or_default()
                );
                self.refuse(index, reason);
                continue;
            }
            if at_ms <= now_ms.saturating_add(AHEAD_MAX_MS) {
                self.mark_ms = self.mark_ms.max(Some(at_ms));
            }
        }
    }

    /// The last batch's windows: start and what each key grows by, in order.
    pub fn windows(&self) -> BTreeMap<i64, Increments> {
        let window = |(start, keys): (&i64, &HashMap<Vec<u8>, u64>)| {
            let keys = keys.iter().map(|(key, count)| (key.clone(), *count));
            (*start, keys.collect())
        };
        self.counts.iter().map(window).collect()
    }

    /// The last batch's late records by key.
    pub fn late(&self) -> &Increments {
        &self.late
    }

    /// The last batch's records that cannot be counted, in order.
    pub fn refused(&self) -> &[WindowRefusal] {
        &self.refused
    }

    /// The lane's mark after the last batch.
    pub fn mark_ms(&self) -> Option<i64> {
        self.mark_ms
    }

    /// The records of `batch` in windows and under keys that `pick` wants, with what it says.
    pub fn records_where<T>(
        &mut self,
        batch: &Batch,
        mut pick: impl FnMut(i64, &[u8]) -> Option<T>,
    ) -> Vec<(usize, T)> {
        let mut found = Vec::new();
        for (index, record) in batch.records.iter().enumerate() {
            self.template
                .render(&batch.lane.topic, &record, &mut self.key);
            let start = self.rules.start(record.timestamp_ms);
            if let Some(picked) = pick(start, &self.key) {
                found.push((index, picked));
            }
        }
        found
    }

    fn refuse(&mut self, index: usize, reason: String) {
        self.refused.push(WindowRefusal { index, reason });
    }
}

#[cfg(test)]
mod tests {
    use gristmill_record::{Lane, Position, RecordRef};
    use proptest::prelude::*;

    use super::*;

    const RULES: WindowRules = WindowRules {
        size_ms: 100,
        grace_ms: 30,
    };
    const NOW: i64 = 1_000_000;

    fn batch(records: &[(i64, &str)]) -> Batch {
        let next = Position::Offset(records.len() as i64);
        let mut batch = Batch::empty(Lane::new("t", 0), Some(Position::Offset(0)), next);
        for (offset, (at, value)) in (0..).zip(records) {
            let record = RecordRef::new(offset, *at, None, value.as_bytes());
            batch.records.push(record);
        }
        batch
    }

    fn counter(late: Late) -> WindowCounter {
        WindowCounter::new(KeyTemplate::parse("{value}").unwrap(), RULES, late)
    }

    fn counted(counter: &WindowCounter) -> Vec<(i64, String, u64)> {
        let windows = counter.windows();
        let rows = windows.iter().flat_map(|(start, keys)| {
            keys.iter().map(|(key, n)| {
                let key = String::from_utf8_lossy(key).into_owned();
                (*start, key, *n)
            })
        });
        rows.collect()
    }

    fn at(at_ms: i64) -> Mark {
        Mark {
            at_ms: Some(at_ms),
            closed_ms: None,
        }
    }

    #[test]
    fn records_count_in_the_window_of_their_time() {
        let mut counter = counter(Late::Count);
        let records = [(0, "a"), (99, "a"), (100, "a"), (50, "b"), (199, "b")];
        counter.count(&batch(&records), Mark::default(), NOW);
        let row = |start, key: &str, n| (start, key.to_owned(), n);
        let expect = [
            row(0, "a", 2),
            row(0, "b", 1),
            row(100, "a", 1),
            row(100, "b", 1),
        ];
        assert_eq!(counted(&counter), expect);
        assert_eq!(counter.mark_ms(), Some(199));
    }

    #[test]
    fn a_record_is_late_once_its_window_and_the_grace_are_over() {
        let mut counter = counter(Late::Count);
        // 129 is within the grace of the first window, 130 ends it; 99 then comes too late.
        counter.count(
            &batch(&[(129, "x"), (99, "a"), (130, "x"), (99, "a")]),
            at(5),
            NOW,
        );
        assert_eq!(counter.late(), &Increments::from([(b"a".to_vec(), 1)]));
        assert_eq!(counted(&counter)[0], (0, "a".to_owned(), 1));
        // A record does not make itself late, however far it jumps.
        counter.count(&batch(&[(900, "a")]), at(0), NOW);
        assert!(counter.late().is_empty());
        // What is final stays final for a lane that knows nothing yet.
        let closed = Mark {
            at_ms: None,
            closed_ms: Some(200),
        };
        counter.count(&batch(&[(199, "a"), (200, "a")]), closed, NOW);
        assert_eq!(counter.late().len(), 1);
        assert_eq!(counted(&counter), [(200, "a".to_owned(), 1)]);
    }

    #[test]
    fn late_records_and_those_without_a_time_can_be_refused() {
        let mut counter = counter(Late::Refuse);
        counter.count(
            &batch(&[(-1, "a"), (10, "a"), (500, ""), (500, "b")]),
            at(400),
            NOW,
        );
        let refused: Vec<_> = counter.refused().iter().map(|r| r.index).collect();
        assert_eq!(refused, [0, 1, 2]);
        assert!(
            counter.refused()[1].reason.contains("late"),
            "{:?}",
            counter.refused()
        );
        assert_eq!(counted(&counter), [(500, "b".to_owned(), 1)]);
        assert!(counter.late().is_empty());
    }

    #[test]
    fn an_event_from_the_future_makes_nobody_late() {
        let mut counter = counter(Late::Count);
        let far = NOW + AHEAD_MAX_MS + 1;
        counter.count(&batch(&[(NOW, "a"), (far, "a"), (NOW, "a")]), at(0), NOW);
        assert!(counter.late().is_empty());
        assert_eq!(counter.mark_ms(), Some(NOW));
        assert_eq!(counted(&counter).len(), 2);
    }

    proptest! {
        /// However the lane is cut into batches, the same records count in the same windows.
        #[test]
        fn batches_make_no_difference(
            records in prop::collection::vec((0_i64..1000, "[ab]"), 1..60),
            cuts in prop::collection::vec(1_usize..8, 60),
        ) {
            let records: Vec<(i64, &str)> =
                records.iter().map(|(at, value)| (*at, value.as_str())).collect();
            let run = |cuts: &mut dyn FnMut() -> usize| {
                let mut counter = counter(Late::Count);
                let (mut mark, mut rest) = (Mark::default(), &records[..]);
                let (mut total, mut late) = (BTreeMap::new(), 0);
                while !rest.is_empty() {
                    let (now, then) = rest.split_at(cuts().min(rest.len()));
                    counter.count(&batch(now), mark, NOW);
                    for (start, key, n) in counted(&counter) {
                        *total.entry((start, key)).or_insert(0) += n;
                    }
                    late += counter.late().values().sum::<u64>();
                    mark.at_ms = counter.mark_ms();
                    rest = then;
                }
                (total, late, mark)
            };
            let mut each = cuts.iter().copied();
            let cut = run(&mut || each.next().unwrap_or(1));
            prop_assert_eq!(&cut, &run(&mut || usize::MAX));
            let counted: u64 = cut.0.values().sum();
            prop_assert_eq!(counted + cut.1, records.len() as u64);
        }
    }
}
