//! What extract-type does: one string of each event, or none, or a reject.

use gristmill_flow::{Transform, TransformError};
use gristmill_record::{Batch, RecordRef, Records, Reject};

use super::stream::{Kind, event_kind};

#[derive(Debug, Clone, Copy)]
pub(super) struct ExtractKind;

impl Transform for ExtractKind {
    fn apply(&mut self, mut batch: Batch) -> Result<Batch, TransformError> {
        let mut records = Records::default();
        for record in batch.records.iter() {
            let kind = event_kind(record.value).unwrap_or_default();
            if kind == Kind::Malformed.name() {
                batch.rejects.push(Reject {
                    offset: record.offset,
                    timestamp_ms: record.timestamp_ms,
                    key: None,
                    value: record.value.to_vec(),
                    stage: "extract-kind".to_owned(),
                    reason: "malformed".to_owned(),
                });
            } else if kind != Kind::Untyped.name() {
                let kind = kind.as_bytes();
                records.push(RecordRef::new(
                    record.offset,
                    record.timestamp_ms,
                    None,
                    kind,
                ));
            }
        }
        batch.records = records;
        Ok(batch)
    }
}
