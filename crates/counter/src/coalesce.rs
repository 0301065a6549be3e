//! Many records, few increments.

use std::collections::HashMap;
use std::sync::Arc;

use gristmill_record::Batch;

use crate::{KeyError, KeyTemplate, check_key};

/// Distinct keys that are remembered from batch to batch, so that the usual ones cost no
/// allocation. At [`KEY_BYTES_MAX`](crate::KEY_BYTES_MAX) that is 16 MiB at the very worst.
const KEYS_KEPT_MAX: usize = 16 * 1024;

/// Turns batches into increments, one for each distinct key, in the order of first appearance.
#[derive(Debug)]
pub struct Coalescer {
    template: KeyTemplate,
    slots: HashMap<Arc<[u8]>, usize>,
    entries: Vec<(Arc<[u8]>, u64)>,
    /// Slots that the current batch counts for.
    touched: Vec<usize>,
    refused: Vec<Refusal>,
    /// The key under construction.
    key: Vec<u8>,
}

/// A record that cannot be counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Index of the record in its batch.
    pub index: usize,
    /// Why.
    pub reason: KeyError,
}

impl Coalescer {
    /// Counts by `template`.
    pub fn new(template: KeyTemplate) -> Self {
        Self {
            template,
            slots: HashMap::new(),
            entries: Vec::new(),
            touched: Vec::new(),
            refused: Vec::new(),
            key: Vec::new(),
        }
    }

    /// The template that keys are made by.
    pub fn template(&self) -> &KeyTemplate {
        &self.template
    }

    /// Count the records of `batch`; what an earlier batch left is forgotten.
    pub fn count(&mut self, batch: &Batch) {
        self.reset();
        for (index, record) in batch.records.iter().enumerate() {
            self.template
                .render(&batch.lane.topic, &record, &mut self.key);
            if let Some(&slot) = self.slots.get(self.key.as_slice()) {
                let count = &mut self.entries[slot].1;
                if *count == 0 {
                    self.touched.push(slot);
                }
                *count += 1;
            } else if let Err(reason) = check_key(&self.key) {
                self.refused.push(Refusal { index, reason });
            } else {
                let key: Arc<[u8]> = self.key.as_slice().into();
                self.slots.insert(key.clone(), self.entries.len());
                self.touched.push(self.entries.len());
                self.entries.push((key, 1));
            }
        }
    }

    /// Key and increment of each distinct key of the last batch.
    pub fn increments(&self) -> impl ExactSizeIterator<Item = (&[u8], u64)> + Clone {
        self.touched.iter().map(|&slot| {
            let (key, count) = &self.entries[slot];
            (&**key, *count)
        })
    }

    /// Records of the last batch that cannot be counted, in order.
    pub fn refused(&self) -> &[Refusal] {
        &self.refused
    }

    /// The records of `batch` whose key `pick` wants, with what it says: for a store that cannot
    /// count some of the keys. Renders every key anew, so it is for the exception.
    pub fn records_where<T>(
        &mut self,
        batch: &Batch,
        mut pick: impl FnMut(&[u8]) -> Option<T>,
    ) -> Vec<(usize, T)> {
        let mut found = Vec::new();
        for (index, record) in batch.records.iter().enumerate() {
            self.template
                .render(&batch.lane.topic, &record, &mut self.key);
            if let Some(picked) = pick(&self.key) {
                found.push((index, picked));
            }
        }
        found
    }

    fn reset(&mut self) {
        for slot in self.touched.drain(..) {
            self.entries[slot].1 = 0;
        }
        self.refused.clear();
        if self.entries.len() > KEYS_KEPT_MAX {
            self.entries.clear();
            self.slots.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use gristmill_record::{Lane, Position, RecordRef};
    use proptest::prelude::*;

    use super::*;

    fn batch(values: &[&[u8]]) -> Batch {
        let lane = Lane::new("edits", 0);
        let next = Position::Offset(values.len() as i64);
        let mut batch = Batch::empty(lane, Some(Position::Offset(0)), next);
        for (offset, value) in values.iter().enumerate() {
            batch
                .records
                .push(RecordRef::new(offset as i64, 0, None, value));
        }
        batch
    }

    fn counted(coalescer: &Coalescer) -> BTreeMap<Vec<u8>, u64> {
        coalescer
            .increments()
            .map(|(key, count)| (key.to_vec(), count))
            .collect()
    }

    #[test]
    fn keys_come_in_the_order_of_their_first_record() {
        let mut coalescer = Coalescer::new(KeyTemplate::parse("{value}").unwrap());
        coalescer.count(&batch(&[b"b", b"a", b"b", b"c", b"a", b"b"]));
        let increments: Vec<_> = coalescer.increments().collect();
        assert_eq!(increments, [(&b"b"[..], 3), (b"a", 2), (b"c", 1)]);
    }

    #[test]
    fn bad_keys_are_refused_and_the_rest_is_counted() {
        let mut coalescer = Coalescer::new(KeyTemplate::parse("{value}").unwrap());
        coalescer.count(&batch(&[b"a", b"", b"gristmill:x", b"a", &[b'x'; 2000]]));
        assert_eq!(counted(&coalescer), [(b"a".to_vec(), 2)].into());
        let refused: Vec<_> = coalescer.refused().iter().map(|r| r.index).collect();
        assert_eq!(refused, [1, 2, 4]);
        coalescer.count(&batch(&[b"a"]));
        assert!(coalescer.refused().is_empty());
    }

    #[test]
    fn records_of_a_key_are_found_again() {
        let mut coalescer = Coalescer::new(KeyTemplate::parse("n:{value}").unwrap());
        let batch = batch(&[b"a", b"b", b"a"]);
        let found = coalescer.records_where(&batch, |key| (key == b"n:a").then_some(()));
        assert_eq!(found, [(0, ()), (2, ())]);
    }

    #[test]
    fn remembered_keys_are_bounded() {
        let mut coalescer = Coalescer::new(KeyTemplate::parse("{value}").unwrap());
        for round in 0..10 {
            let values: Vec<Vec<u8>> = (0..KEYS_KEPT_MAX / 2)
                .map(|i| format!("{round}-{i}").into_bytes())
                .collect();
            let values: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
            coalescer.count(&batch(&values));
            assert_eq!(coalescer.increments().len(), values.len());
            assert!(coalescer.entries.len() <= 2 * KEYS_KEPT_MAX);
            assert_eq!(coalescer.entries.len(), coalescer.slots.len());
        }
    }

    proptest! {
        #[test]
        fn increments_are_what_a_plain_count_says(
            batches in prop::collection::vec(prop::collection::vec("[a-d]{1,2}", 0..40), 1..6)
        ) {
            let mut coalescer = Coalescer::new(KeyTemplate::parse("{topic}/{value}").unwrap());
            for values in batches {
                let values: Vec<&[u8]> = values.iter().map(String::as_bytes).collect();
                coalescer.count(&batch(&values));
                let mut expect = BTreeMap::new();
                for value in values {
                    *expect.entry([b"edits/", value].concat()).or_insert(0) += 1;
                }
                prop_assert_eq!(counted(&coalescer), expect);
            }
        }
    }
}
