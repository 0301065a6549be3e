//! Rejects by stage and kind of reason, bounded whatever the records hold.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use gristmill_record::Batch;
use serde::{Deserialize, Serialize};

/// Kinds of reasons that are told apart in one leg: more would be a label for each record.
const KINDS_MAX: usize = 32;
/// Characters of a kind.
const KIND_CHARS_MAX: usize = 96;
/// What a reason is counted as once there are [`KINDS_MAX`] others.
const OTHER: &str = "other";

/// Refused records that are remembered one by one.
const RECENT_MAX: usize = 20;
/// Characters of a reason that are remembered.
const REASON_CHARS_MAX: usize = 300;

/// How many records each stage refused, by the kind of its reason; and the newest of them.
#[derive(Debug, Default)]
pub struct Refusals(Mutex<Told>);

#[derive(Debug, Default)]
struct Told {
    kinds: BTreeMap<(String, String), u64>,
    recent: VecDeque<Refused>,
}

/// A record that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Milliseconds since the epoch when its reject was durable; 0 without a clock.
    pub at_ms: i64,
    /// Where it came from.
    pub partition: i32,
    /// Its offset there; of a stream its ordinal in the batch.
    pub offset: i64,
    /// The step that refused it.
    pub stage: String,
    /// Why: it may quote the record.
    pub reason: String,
}

impl Refusals {
    /// Count a record that `stage` refused for `reason`.
    pub fn add(&self, stage: &str, reason: &str) {
        self.lock().count(stage, reason);
    }

    /// Count and remember the rejects of `batch`, which are durable.
    pub(crate) fn written(&self, batch: &Batch, at_ms: i64) {
        if batch.rejects.is_empty() {
            return;
        }
        let mut told = self.lock();
        for reject in &batch.rejects {
            told.count(&reject.stage, &reject.reason);
        }
        let newest = batch.rejects.len().saturating_sub(RECENT_MAX);
        for reject in &batch.rejects[newest..] {
            if told.recent.len() == RECENT_MAX {
                told.recent.pop_front();
            }
            told.recent.push_back(Refused {
                at_ms,
                partition: batch.lane.partition,
                offset: reject.offset,
                stage: reject.stage.clone(),
                reason: reject.reason.chars().take(REASON_CHARS_MAX).collect(),
            });
        }
    }

    /// Records by stage and kind of reason.
    pub fn read(&self) -> BTreeMap<(String, String), u64> {
        self.lock().kinds.clone()
    }

    /// Become what another one was: step, kind of reason, records; and the newest, newest first.
    pub(crate) fn set(&self, all: &[(String, String, u64)], recent: &[Refused]) {
        let all = all.iter().cloned();
        let mut told = self.lock();
        told.kinds = all
            .map(|(step, kind, records)| ((step, kind), records))
            .collect();
        told.recent = recent.iter().rev().cloned().collect();
    }

    /// The newest refused records, newest first.
    pub fn recent(&self) -> Vec<Refused> {
        self.lock().recent.iter().rev().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Told {
    fn count(&mut self, stage: &str, reason: &str) {
        let mut key = (stage.to_owned(), kind(reason));
        if !self.kinds.contains_key(&key) && self.kinds.len() >= KINDS_MAX {
            OTHER.clone_into(&mut key.1);
        }
        *self.kinds.entry(key).or_default() += 1;
    }
}

/// A reason without what is different from record to record: numbers become `N`, what is quoted
/// `…`, and the place goes.
fn kind(reason: &str) -> String {
    let mut kind = String::new();
    let mut quoted = None;
    let mut chars = 0;
    for c in reason.chars() {
        match quoted {
            Some(quote) if c == quote => {
                quoted = None;
                kind.push(c);
            }
            Some(_) => continue,
            None if matches!(c, '`' | '"') => {
                quoted = Some(c);
                kind.push_str(if c == '`' { "`…" } else { "\"…" });
            }
            None if c.is_ascii_digit() => {
                if !kind.ends_with('N') {
                    kind.push('N');
                }
            }
            None if c.is_control() => kind.push(' '),
            None => kind.push(c),
        }
        // The place is cut off below; the kind itself has this much room.
        chars += 1;
        if chars > 8 * KIND_CHARS_MAX {
            break;
        }
    }
    // `extract-type: filter_map at edits[N] offset N: no field`: the place says nothing of the kind.
    let kind = kind
        .split_once(" offset N: ")
        .map_or(kind.as_str(), |(_, rest)| rest);
    kind.chars().take(KIND_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use gristmill_record::{Lane, Position, Reject};

    use super::*;

    #[test]
    fn kinds_hold_nothing_of_a_record() {
        for (reason, expect) in [
            (
                "extract-type: filter_map at edits[2] offset 1044: no field `type`",
                "no field `…`",
            ),
            ("the value has 2097152 bytes", "the value has N bytes"),
            (
                "expected `:` at line 1 column 17",
                "expected `…` at line N column N",
            ),
            ("bad \"se`cret\" here", "bad \"…\" here"),
            ("open `quote", "open `…"),
            ("two\nlines", "two lines"),
        ] {
            assert_eq!(kind(reason), expect);
        }
        assert_eq!(kind(&"ä".repeat(5000)).chars().count(), KIND_CHARS_MAX);
    }

    fn refused(reasons: impl IntoIterator<Item = String>) -> Batch {
        let mut batch = Batch::empty(Lane::new("t", 2), None, Position::Offset(0));
        let reject = |(offset, reason)| Reject {
            offset,
            timestamp_ms: 0,
            key: None,
            value: Vec::new(),
            stage: "sse".to_owned(),
            reason,
        };
        batch.rejects = (0..).zip(reasons).map(reject).collect();
        batch
    }

    #[test]
    fn kinds_are_bounded_and_nothing_is_lost() {
        let refusals = Refusals::default();
        let pairs = ('a'..='z').flat_map(|a| ('a'..='z').map(move |b| format!("{a}{b}")));
        refusals.written(&refused(pairs), 5);
        let all = refusals.read();
        assert_eq!(all.len(), KINDS_MAX + 1);
        assert_eq!(all.values().sum::<u64>(), 26 * 26);
        assert!(all.contains_key(&("sse".to_owned(), OTHER.to_owned())));
    }

    #[test]
    fn the_newest_are_remembered_and_cut() {
        let refusals = Refusals::default();
        refusals.written(&refused([String::from("old"), "ä".repeat(5000)]), 5);
        let recent = refusals.recent();
        assert_eq!(recent[0].reason.chars().count(), REASON_CHARS_MAX);
        assert_eq!((recent[0].partition, recent[0].offset), (2, 1));
        assert_eq!((recent[1].at_ms, recent[1].reason.as_str()), (5, "old"));
        refusals.written(&refused((0..100).map(|n| n.to_string())), 6);
        let reasons: Vec<String> = refusals.recent().into_iter().map(|r| r.reason).collect();
        let newest: Vec<String> = (80..100).rev().map(|n| n.to_string()).collect();
        assert_eq!(reasons, newest);
    }
}
