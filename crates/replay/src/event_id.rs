//! SSE ids in Wikimedia's form: a JSON array with, for each topic and partition, where to resume.
//!
//! A `timestamp` entry means the first record at or after it (milliseconds of the epoch), an
//! `offset` entry means that offset; -1 stands for "no position". The position is always that of
//! what comes *next*: Wikimedia adds one to the record's own.

use std::{borrow::Cow, fmt::Write as _};

/// Topic of ids that the server makes up for recordings whose own timestamps are not unique.
pub(crate) const REPLAY_TOPIC: &str = "replay";

/// One entry of an id.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub(crate) struct Entry<'a> {
    #[serde(borrow)]
    pub(crate) topic: Cow<'a, str>,
    pub(crate) partition: i64,
    pub(crate) timestamp: Option<i64>,
    pub(crate) offset: Option<i64>,
}

/// Where an entry points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Point {
    /// Milliseconds of the epoch.
    Timestamp(i64),
    Offset(u64),
}

impl Entry<'_> {
    /// Offsets win, as in Kafka clients; a negative number is no position.
    pub(crate) fn point(&self) -> Option<Point> {
        if let Some(offset) = self.offset.and_then(|offset| u64::try_from(offset).ok()) {
            return Some(Point::Offset(offset));
        }
        self.timestamp
            .filter(|&timestamp| timestamp >= 0)
            .map(Point::Timestamp)
    }
}

/// The entries of an id; the error says why it has none.
pub(crate) fn parse(id: &str) -> Result<Vec<Entry<'_>>, String> {
    let entries: Vec<Entry<'_>> = serde_json::from_str(id).map_err(|error| error.to_string())?;
    if entries.iter().all(|entry| entry.point().is_none()) {
        return Err("no entry has a timestamp or an offset of 0 or more".to_owned());
    }
    Ok(entries)
}

/// Appends the id that resumes at `timestamp_ms` of `topic`. Where the topic is one of Wikimedia's
/// two data centres', the other one's follows without a position, as Wikimedia sends it.
pub(crate) fn write_timestamp(out: &mut String, topic: &str, partition: i64, timestamp_ms: i64) {
    // Writing to a String cannot fail.
    let _ = write!(
        out,
        r#"[{{"topic":"{topic}","partition":{partition},"timestamp":{timestamp_ms}}}"#
    );
    let twin = match topic.split_once('.') {
        Some(("eqiad", rest)) => Some(("codfw", rest)),
        Some(("codfw", rest)) => Some(("eqiad", rest)),
        _ => None,
    };
    if let Some((centre, rest)) = twin {
        let _ = write!(
            out,
            r#",{{"topic":"{centre}.{rest}","partition":0,"offset":-1}}"#
        );
    }
    out.push(']');
}

/// Appends the id that resumes at event `index` of a recording.
pub(crate) fn write_offset(out: &mut String, index: u64) {
    let _ = write!(
        out,
        r#"[{{"topic":"{REPLAY_TOPIC}","partition":0,"offset":{index}}}]"#
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_ids_parse_back() {
        let mut id = String::new();
        write_timestamp(
            &mut id,
            "eqiad.mediawiki.recentchange",
            0,
            1_630_093_500_001,
        );
        assert_eq!(
            id,
            r#"[{"topic":"eqiad.mediawiki.recentchange","partition":0,"timestamp":1630093500001},{"topic":"codfw.mediawiki.recentchange","partition":0,"offset":-1}]"#
        );
        let entries = parse(&id).unwrap();
        assert_eq!(
            entries[0].point(),
            Some(Point::Timestamp(1_630_093_500_001))
        );
        assert_eq!(entries[1].point(), None);

        let mut id = String::new();
        write_offset(&mut id, 7);
        assert_eq!(parse(&id).unwrap()[0].point(), Some(Point::Offset(7)));
    }

    #[test]
    fn an_id_without_position_is_refused() {
        for id in [
            "",
            "7",
            "[]",
            "{}",
            "[1]",
            r#"[{"topic":"a","partition":0,"offset":-1}]"#,
        ] {
            assert!(parse(id).is_err(), "{id}");
        }
    }
}
