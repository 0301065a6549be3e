//! Records on their way through a chain, and what they were made from.

use std::collections::BTreeMap;

use gristmill_record::{Batch, Records, Reject};

/// Records between two steps. `origins[i]` is the index in the batch of the record that record
/// `i` was made from; it never decreases.
#[derive(Debug, Default)]
pub(crate) struct Working {
    pub(crate) records: Records,
    pub(crate) origins: Vec<u32>,
}

/// Records of the batch that some step refused: by index in the batch.
#[derive(Debug, Default)]
pub(crate) struct Refused {
    reasons: BTreeMap<u32, (String, String)>,
}

impl Refused {
    /// The first refusal of a record counts.
    pub(crate) fn add(&mut self, origin: u32, stage: &str, reason: String) {
        self.reasons
            .entry(origin)
            .or_insert_with(|| (stage.to_owned(), reason));
    }

    pub(crate) fn contains(&self, origin: u32) -> bool {
        self.reasons.contains_key(&origin)
    }

    /// Drop what was made from refused records.
    pub(crate) fn purge(&self, working: &mut Working) {
        if self.reasons.is_empty() || !working.origins.iter().any(|o| self.contains(*o)) {
            return;
        }
        let mut kept = Working {
            records: Records::with_capacity(working.records.len(), working.records.bytes()),
            origins: Vec::with_capacity(working.origins.len()),
        };
        for (record, origin) in working.records.iter().zip(&working.origins) {
            if !self.contains(*origin) {
                kept.records.push(record);
                kept.origins.push(*origin);
            }
        }
        *working = kept;
    }

    /// The refused records as they entered the chain.
    pub(crate) fn into_rejects(self, batch: &Batch) -> impl Iterator<Item = Reject> + use<'_> {
        self.reasons
            .into_iter()
            .filter_map(|(origin, (stage, reason))| {
                let record = batch.records.get(origin as usize)?;
                Some(Reject {
                    offset: record.offset,
                    timestamp_ms: record.timestamp_ms,
                    key: record.key.map(<[u8]>::to_vec),
                    value: record.value.to_vec(),
                    stage,
                    reason,
                })
            })
    }
}
