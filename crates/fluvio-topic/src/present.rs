//! Records of a write that was not finished.

use std::borrow::Cow;
use std::collections::HashMap;

use gristmill_record::{RecordRef, Records};
use sha2::{Digest, Sha256};

/// An unfinished write comes again at once: after so many records, or four times as many as were found,
/// what is left is of others, or never comes.
const OFFERED_MIN: usize = 20_000;

/// What of a record's value tells it from others.
pub(crate) type Identity = for<'a> fn(&RecordRef<'a>) -> Cow<'a, [u8]>;

/// All of it.
pub(crate) fn value<'a>(record: &RecordRef<'a>) -> Cow<'a, [u8]> {
    record.value.into()
}

/// What is in the topics behind the ends that a checkpoint names, by content, with how often.
///
/// Not by offset: a source may cut its batches elsewhere the second time, and records without a key may be
/// meant for another partition.
///
/// Until all of it came again, or is forgotten, those ends stay as they are, and what is finished behind
/// them is listed in the checkpoint: a further life must leave out the rest, and nothing but the rest.
#[derive(Debug, Default)]
pub(crate) struct Present {
    records: HashMap<u64, u32>,
    found: usize,
    offered: usize,
    done: Vec<u64>,
}

impl Present {
    /// `record` is in `topic`, behind its end.
    pub(crate) fn insert(&mut self, topic: &str, record: &RecordRef<'_>, identity: Identity) {
        let digest = digest(topic, record, identity);
        *self.records.entry(digest).or_default() += 1;
        self.found += 1;
    }

    /// Earlier lives finished these.
    pub(crate) fn finished(&mut self, done: &[u64]) {
        for digest in done {
            self.take(*digest);
        }
        self.done = done.to_vec();
    }

    /// Whether nothing is left to wait for.
    pub(crate) fn is_settled(&self) -> bool {
        self.records.is_empty()
    }

    /// How many records are waited for.
    pub(crate) fn len(&self) -> usize {
        self.records.values().map(|times| *times as usize).sum()
    }

    /// What was finished behind the ends, for the checkpoint.
    pub(crate) fn done(&self) -> &[u64] {
        &self.done
    }

    /// Which of `records` are in `topic` already: their indices. All of them count as finished then, so ask
    /// once for each write.
    pub(crate) fn there(
        &mut self,
        topic: &str,
        records: &Records,
        identity: Identity,
    ) -> Vec<usize> {
        let mut there = Vec::new();
        if self.is_settled() {
            return there;
        }
        for (index, record) in records.iter().enumerate() {
            let digest = digest(topic, &record, identity);
            if self.take(digest) {
                there.push(index);
            }
            self.done.push(digest);
        }
        self.offered += records.len();
        if self.offered > OFFERED_MIN.max(4 * self.found) {
            self.records.clear();
        }
        if self.is_settled() {
            self.done.clear();
        }
        there
    }

    fn take(&mut self, digest: u64) -> bool {
        let Some(times) = self.records.get_mut(&digest) else {
            return false;
        };
        *times -= 1;
        if *times == 0 {
            self.records.remove(&digest);
        }
        true
    }
}

/// Of topic, key and value. Lengths keep what is in one out of the other.
fn digest(topic: &str, record: &RecordRef<'_>, identity: Identity) -> u64 {
    let mut hash = Sha256::new();
    let value = identity(record);
    for part in [Some(topic.as_bytes()), record.key, Some(&*value)] {
        hash.update(part.map_or(-1, |part| part.len() as i64).to_le_bytes());
        hash.update(part.unwrap_or_default());
    }
    let mut short = [0; 8];
    short.copy_from_slice(&hash.finalize()[..8]);
    u64::from_le_bytes(short)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(values: &[&str]) -> Records {
        let mut records = Records::default();
        for text in values {
            records.push(RecordRef::new(0, 0, None, text.as_bytes()));
        }
        records
    }

    fn present(values: &[&str]) -> Present {
        let mut present = Present::default();
        for record in records(values).iter() {
            present.insert("t", &record, value);
        }
        present
    }

    #[test]
    fn each_record_is_left_out_as_often_as_it_is_there() {
        let mut present = present(&["a", "a", "b"]);
        let mut there = |topic, values: &[&str]| present.there(topic, &records(values), value);
        assert_eq!(there("t", &["a", "c", "a", "a"]), [0, 2]);
        assert!(there("other", &["b"]).is_empty());
        assert_eq!(there("t", &["b", "b"]), [0]);
        assert!(there("t", &["b"]).is_empty());
        assert!(present.is_settled() && present.done().is_empty());
    }

    #[test]
    fn a_further_life_leaves_out_the_rest_only() {
        let mut first = present(&["a", "b", "c"]);
        assert_eq!(first.there("t", &records(&["a", "x"]), value), [0]);
        // It wrote `x`, and died: now that is there too.
        let mut second = present(&["a", "b", "c", "x"]);
        second.finished(first.done());
        assert_eq!(second.len(), 2);
        assert_eq!(
            second.there("t", &records(&["b", "x", "a", "c"]), value),
            [0, 3]
        );
        assert!(second.is_settled());
    }

    #[test]
    fn what_does_not_come_again_is_forgotten() {
        let mut present = present(&["a"]);
        let many = records(&vec!["x"; OFFERED_MIN + 1]);
        assert!(present.there("t", &many, value).is_empty());
        assert!(present.there("t", &records(&["a"]), value).is_empty());
    }
}
