//! A dead letter as one record: Fluvio's records have no headers, so where it came from stands around it.
//!
//! ```json
//! {"topic": "edits", "partition": 2, "offset": 41, "stage": "redis", "reason": "…",
//!  "writer": "wikipedia.type-counts", "value": "…"}
//! ```
//!
//! The value is in `value`, or, if it is no UTF-8, in `value-base64`. The key and the timestamp are the
//! record's own.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gristmill_flow::header;
use gristmill_record::{RecordRef, Records};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Letter<'a> {
    #[serde(borrow)]
    pub(crate) topic: Cow<'a, str>,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    #[serde(borrow)]
    stage: Cow<'a, str>,
    #[serde(borrow)]
    reason: Cow<'a, str>,
    /// Who wrote it: two sinks may refuse records of one topic.
    #[serde(borrow)]
    pub(crate) writer: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    value: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
}

impl Letter<'_> {
    fn around(&self, value: &[u8]) -> Vec<u8> {
        let text = std::str::from_utf8(value).ok();
        let letter = Letter {
            topic: Cow::Borrowed(&self.topic),
            stage: Cow::Borrowed(&self.stage),
            reason: Cow::Borrowed(&self.reason),
            writer: Cow::Borrowed(&self.writer),
            value: text.map(Cow::Borrowed),
            value_base64: text.is_none().then(|| STANDARD.encode(value)),
            ..*self
        };
        // Numbers and strings always have a JSON form.
        serde_json::to_vec(&letter).unwrap_or_default()
    }
}

/// Bytes of a letter, at most, and of the value in one that would be longer.
const LETTER_BYTES_MAX: usize = 1 << 20;
const CUT_BYTES: usize = 64 << 10;

/// Dead letters with headers (`gristmill_flow::dead_letter_records`) as records without, written by
/// `writer`.
pub(crate) fn pack(letters: &Records, writer: &str) -> Records {
    let mut packed = Records::with_capacity(letters.len(), 2 * letters.bytes());
    for record in letters.iter() {
        let text = |name| String::from_utf8_lossy(record.headers.get(name).unwrap_or_default());
        let letter = Letter {
            topic: text(header::TOPIC),
            partition: text(header::PARTITION).parse().unwrap_or(-1),
            offset: text(header::OFFSET).parse().unwrap_or(-1),
            stage: text(header::STAGE),
            reason: text(header::REASON),
            writer: writer.into(),
            value: None,
            value_base64: None,
        };
        let mut bytes = letter.around(record.value);
        if bytes.len() > LETTER_BYTES_MAX {
            let whole = record.value.len();
            let reason = format!("{}; cut: it has {whole} bytes", letter.reason).into();
            bytes = Letter { reason, ..letter }.around(&record.value[..CUT_BYTES.min(whole)]);
        }
        packed.push(RecordRef::new(
            record.offset,
            record.timestamp_ms,
            record.key,
            &bytes,
        ));
    }
    packed
}

/// What is in `record`, if it is a letter.
pub(crate) fn parse<'a>(record: &RecordRef<'a>) -> Option<Letter<'a>> {
    serde_json::from_slice(record.value).ok()
}

/// What tells a letter from others: everything but its offset, which for a stream is a place in a batch and
/// may be another one when the record comes again.
pub(crate) fn identity<'a>(record: &RecordRef<'a>) -> Cow<'a, [u8]> {
    match parse(record) {
        Some(letter) => serde_json::to_vec(&Letter {
            offset: 0,
            ..letter
        })
        .unwrap_or_default()
        .into(),
        None => record.value.into(),
    }
}

/// Put `record` of a dead-letter topic into `into` as it is on Kafka: the value that was refused, and
/// where it came from in headers. What is no letter is put in as it is.
pub fn unpack(record: &RecordRef<'_>, into: &mut Records) {
    let Some(letter) = parse(record) else {
        return into.push(*record);
    };
    let decoded = letter
        .value_base64
        .as_deref()
        .and_then(|text| STANDARD.decode(text).ok());
    let value = match (&letter.value, &decoded) {
        (Some(value), _) => value.as_bytes(),
        (None, Some(value)) => value,
        (None, None) => return into.push(*record),
    };
    let (partition, offset) = (letter.partition.to_string(), letter.offset.to_string());
    into.push_with_headers(
        RecordRef::new(record.offset, record.timestamp_ms, record.key, value),
        [
            (header::TOPIC, letter.topic.as_bytes()),
            (header::PARTITION, partition.as_bytes()),
            (header::OFFSET, offset.as_bytes()),
            (header::STAGE, letter.stage.as_bytes()),
            (header::REASON, letter.reason.as_bytes()),
        ],
    );
}

#[cfg(test)]
mod tests {
    use gristmill_flow::dead_letter_records;
    use gristmill_record::{Lane, Reject};

    use super::*;

    #[test]
    fn letters_survive_whatever_is_in_them() {
        let reject = |offset, value: &[u8]| Reject {
            offset,
            timestamp_ms: 7,
            key: Some(b"key".to_vec()),
            value: value.to_vec(),
            stage: "redis".to_owned(),
            reason: "\"why\"\u{1}".to_owned(),
        };
        let rejects = [
            reject(3, "é\"\n".as_bytes()),
            reject(4, &[0xff, 0]),
            reject(5, b""),
        ];
        let letters = dead_letter_records(&Lane::new("edits", 2), &rejects);
        let mut back = Records::default();
        for record in pack(&letters, "p.s").iter() {
            assert_eq!(parse(&record).unwrap().writer, "p.s");
            unpack(&record, &mut back);
        }
        assert_eq!(back, letters);
    }

    #[test]
    fn a_letter_that_would_be_too_long_is_cut_and_says_so() {
        let value = vec![b'x'; 2 * LETTER_BYTES_MAX];
        let mut letters = Records::default();
        letters.push(RecordRef::new(0, 0, None, &value));
        let packed = pack(&letters, "w");
        let letter = parse(&packed.get(0).unwrap()).unwrap();
        assert!(
            letter.reason.ends_with("cut: it has 2097152 bytes"),
            "{}",
            letter.reason
        );
        assert_eq!(letter.value.map(|value| value.len()), Some(CUT_BYTES));
    }

    #[test]
    fn what_is_no_letter_stays_as_it_is() {
        for value in [
            "",
            "{}",
            "[1]",
            "{\"topic\":\"t\",\"partition\":0,\"offset\":1,\"stage\":\"\",\"reason\":\"\",\"writer\":\"\"}",
        ] {
            let mut back = Records::default();
            let record = RecordRef::new(1, 2, None, value.as_bytes());
            unpack(&record, &mut back);
            assert_eq!(back.get(0), Some(record), "{value}");
        }
    }
}
