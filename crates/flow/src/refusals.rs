//! Rejects by stage and kind of reason, bounded whatever the records hold.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Kinds of reasons that are told apart in one leg: more would be a label for each record.
const KINDS_MAX: usize = 32;
/// Characters of a kind.
const KIND_CHARS_MAX: usize = 96;
/// What a reason is counted as once there are [`KINDS_MAX`] others.
const OTHER: &str = "other";

/// How many records each stage refused, by the kind of its reason.
#[derive(Debug, Default)]
pub struct Refusals(Mutex<BTreeMap<(String, String), u64>>);

impl Refusals {
    /// Count a record that `stage` refused for `reason`.
    pub fn add(&self, stage: &str, reason: &str) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut key = (stage.to_owned(), kind(reason));
        if !all.contains_key(&key) && all.len() >= KINDS_MAX {
            OTHER.clone_into(&mut key.1);
        }
        *all.entry(key).or_default() += 1;
    }

    /// Records by stage and kind of reason.
    pub fn read(&self) -> BTreeMap<(String, String), u64> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
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

    #[test]
    fn kinds_are_bounded_and_nothing_is_lost() {
        let refusals = Refusals::default();
        for a in 'a'..='z' {
            for b in 'a'..='z' {
                refusals.add("sse", &format!("{a}{b}"));
            }
        }
        let all = refusals.read();
        assert_eq!(all.len(), KINDS_MAX + 1);
        assert_eq!(all.values().sum::<u64>(), 26 * 26);
        assert!(all.contains_key(&("sse".to_owned(), OTHER.to_owned())));
    }
}
