//! Where a stream goes on: the token that is stored with the records' effect, and the
//! `Last-Event-ID` that is made from it.
//!
//! Wikimedia's ids are JSON arrays of positions in Kafka. They name timestamps (a millisecond
//! beyond the event's), and timestamps run backward by up to 15 s, so that a resumption at the
//! last id loses some events and repeats others. Going back by `rewind` loses none; what comes
//! again is [`dedupe`](crate::dedupe)'s business.

use std::borrow::Cow;
use std::collections::BTreeMap;

use gristmill_record::Position;
use serde::{Deserialize, Serialize};
use serde_json::Value;

const VERSION: u32 = 1;

/// What a position holds, as JSON text.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Token {
    pub(crate) v: u32,
    /// The whole last event id; empty if the server gives none.
    pub(crate) id: String,
    /// Timestamp of the newest record, milliseconds since the epoch.
    #[serde(default)]
    pub(crate) newest_ms: Option<i64>,
    /// Oldest timestamp of a record that a rewind can bring back: the topic's tail is read from
    /// there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tail_ms: Option<i64>,
    /// The server's reconnection time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) retry_ms: Option<u64>,
    /// Records and rejects before this position: the next one's offset.
    #[serde(default)]
    pub(crate) next_offset: i64,
    /// Last `meta.offset` by `topic/partition`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) offsets: BTreeMap<String, i64>,
    /// Events without such a number that no gap has accounted for yet.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) unnumbered: i64,
    /// Identities of recent rejects, which the topic's tail does not hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) rejected: Vec<String>,
}

/// The position right after the event with this id, for a stream that somebody else has read.
pub fn position(last_event_id: &str) -> Position {
    let token = Token {
        id: last_event_id.to_owned(),
        ..Token::default()
    };
    Position::Token(token.print().into())
}

impl Token {
    /// The position as text.
    pub(crate) fn print(&self) -> String {
        let token = Self {
            v: VERSION,
            ..self.clone()
        };
        // Strings, numbers and a map with string keys: this cannot fail.
        serde_json::to_string(&token).unwrap_or_default()
    }

    /// Read a position.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let unreadable = |why: &str| {
            format!(
                "the stored position `{}` {why}: delete the checkpoint to start anew (sse.since \
                 says where), or run the version that wrote it",
                text.chars().take(200).collect::<String>()
            )
        };
        let token: Self = serde_json::from_str(text)
            .map_err(|error| unreadable(&format!("is unreadable ({error})")))?;
        match token.v {
            VERSION => Ok(token),
            other => Err(unreadable(&format!(
                "has version {other}, this is version {VERSION}"
            ))),
        }
    }
}

fn is_zero(n: &i64) -> bool {
    *n == 0
}

/// One entry of an id in Wikimedia's form.
#[derive(Debug, Deserialize)]
struct Entry<'i> {
    #[serde(borrow)]
    topic: Cow<'i, str>,
    #[serde(default)]
    partition: i64,
    #[serde(default)]
    timestamp: Option<i64>,
    #[serde(default)]
    offset: Option<i64>,
}

impl Entry<'_> {
    fn same_lane(&self, other: &Entry<'_>) -> bool {
        self.partition == other.partition && self.topic == other.topic
    }
}

/// The timestamp that `id` names for a partition; without one for this partition the newest of
/// all. `None` if the id has not Wikimedia's form.
pub(crate) fn stamp_ms(id: &str, lane: Option<(&str, i64)>) -> Option<i64> {
    if !id.starts_with('[') {
        return None;
    }
    let entries: Vec<Entry<'_>> = serde_json::from_str(id).ok()?;
    let own = entries
        .iter()
        .find(|entry| lane == Some((&*entry.topic, entry.partition)))
        .and_then(|entry| entry.timestamp);
    own.or_else(|| entries.iter().filter_map(|entry| entry.timestamp).max())
}

/// The id to go on with after `new` came at position `current`: for each partition the later of
/// the two. `None` if that is `new` itself, also where the ids have not Wikimedia's form.
///
/// A rewound connection starts with ids that were passed before. Were one of them taken for the
/// position, then each connection that is cut early would go back further, past what
/// deduplication remembers.
pub(crate) fn later(current: &str, new: &str) -> Option<String> {
    if current == new || !current.starts_with('[') || !new.starts_with('[') {
        return None;
    }
    let old: Vec<Entry<'_>> = serde_json::from_str(current).ok()?;
    let came: Vec<Entry<'_>> = serde_json::from_str(new).ok()?;
    let passed = |old: &Entry<'_>| {
        let Some(ms) = old.timestamp else { return true };
        came.iter().any(|came| {
            came.same_lane(old) && (came.timestamp >= Some(ms) || came.offset >= Some(0))
        })
    };
    if old.iter().all(passed) {
        return None;
    }
    let texts: Vec<Value> = serde_json::from_str(current).ok()?;
    let mut merged: Vec<Value> = serde_json::from_str(new).ok()?;
    for (entry, text) in old.iter().zip(texts).filter(|(entry, _)| !passed(entry)) {
        match came.iter().position(|came| came.same_lane(entry)) {
            Some(at) => merged[at] = text,
            None => merged.push(text),
        }
    }
    serde_json::to_string(&merged).ok()
}

/// `id` taken back by `rewind_ms`: timestamps less that much, and for an entry that would start at
/// the partition's end (`"offset":-1`) the newest timestamp less that much. Entries with an offset
/// are exact and stay, and every entry stays: a topic that is not named falls silent. `None` if the
/// id has not that form and goes out as it is.
pub(crate) fn rewind(id: &str, rewind_ms: i64, newest_ms: Option<i64>) -> Option<String> {
    let mut entries: Vec<serde_json::Map<String, Value>> = serde_json::from_str(id).ok()?;
    let stamp =
        |entry: &serde_json::Map<String, Value>| entry.get("timestamp").and_then(Value::as_i64);
    let offset =
        |entry: &serde_json::Map<String, Value>| entry.get("offset").and_then(Value::as_i64);
    if !entries
        .iter()
        .all(|entry| stamp(entry).is_some() || offset(entry).is_some())
    {
        return None;
    }
    let newest_ms = entries.iter().filter_map(stamp).max().or(newest_ms);
    let back = |ms: i64| Value::from(ms.saturating_sub(rewind_ms).max(0));
    for entry in &mut entries {
        match (offset(entry), stamp(entry).or(newest_ms)) {
            (Some(0..), _) | (_, None) => {}
            (_, Some(ms)) => {
                // `remove` would fill the hole with the last key; the server does not care, but a
                // human who compares ids does.
                entry.shift_remove("offset");
                entry.insert("timestamp".to_owned(), back(ms));
            }
        }
    }
    serde_json::to_string(&entries).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = r#"[{"topic":"eqiad.rc","partition":0,"timestamp":1630093500001},{"topic":"codfw.rc","partition":0,"offset":-1}]"#;

    #[test]
    fn a_rewound_id_keeps_every_topic() {
        for (id, expect) in [
            (
                ID,
                Some(
                    r#"[{"topic":"eqiad.rc","partition":0,"timestamp":1630093440001},{"topic":"codfw.rc","partition":0,"timestamp":1630093440001}]"#,
                ),
            ),
            (
                r#"[{"topic":"a","partition":0,"offset":17},{"topic":"b","partition":1,"timestamp":5}]"#,
                Some(
                    r#"[{"topic":"a","partition":0,"offset":17},{"topic":"b","partition":1,"timestamp":0}]"#,
                ),
            ),
            (
                r#"[{"topic":"a","partition":0,"offset":-1}]"#,
                Some(r#"[{"topic":"a","partition":0,"timestamp":940000}]"#),
            ),
            ("42", None),
            ("", None),
            ("[1,2]", None),
            (r#"[{"topic":"a"}]"#, None),
            (r#"{"timestamp":5}"#, None),
        ] {
            assert_eq!(
                rewind(id, 60_000, Some(1_000_000)).as_deref(),
                expect,
                "{id}"
            );
        }
        let no_time = r#"[{"topic":"a","partition":0,"offset":-1}]"#;
        assert_eq!(rewind(no_time, 60_000, None).as_deref(), Some(no_time));
    }

    #[test]
    fn stamps_are_those_of_the_partition() {
        assert_eq!(stamp_ms(ID, Some(("eqiad.rc", 0))), Some(1_630_093_500_001));
        assert_eq!(stamp_ms(ID, Some(("codfw.rc", 0))), Some(1_630_093_500_001));
        assert_eq!(stamp_ms(ID, None), Some(1_630_093_500_001));
        let two = r#"[{"topic":"a","partition":0,"timestamp":5},{"topic":"b","partition":0,"timestamp":9}]"#;
        assert_eq!(stamp_ms(two, Some(("a", 0))), Some(5));
        assert_eq!(stamp_ms("7", None), None);
        assert_eq!(stamp_ms("[", None), None);
    }

    #[test]
    fn a_position_does_not_go_back() {
        let id = |a: i64, b: &str| {
            format!(
                r#"[{{"topic":"a","partition":0,"timestamp":{a}}},{{"topic":"b","partition":0,{b}}}]"#
            )
        };
        for (current, new, expect) in [
            (id(5, r#""offset":-1"#), id(6, r#""offset":-1"#), None),
            (id(5, r#""offset":-1"#), id(5, r#""timestamp":1"#), None),
            (
                id(5, r#""offset":-1"#),
                id(4, r#""timestamp":1"#),
                Some(id(5, r#""timestamp":1"#)),
            ),
            (
                id(5, r#""timestamp":9"#),
                id(7, r#""timestamp":8"#),
                Some(id(7, r#""timestamp":9"#)),
            ),
            (
                id(5, r#""timestamp":9"#),
                id(7, r#""offset":-1"#),
                Some(id(7, r#""timestamp":9"#)),
            ),
            (id(5, r#""timestamp":9"#), id(7, r#""offset":3"#), None),
            ("4".to_owned(), "3".to_owned(), None),
            (id(5, r#""timestamp":9"#), "3".to_owned(), None),
            ("3".to_owned(), id(5, r#""timestamp":9"#), None),
        ] {
            assert_eq!(later(&current, &new), expect, "{current} then {new}");
        }
        let less = r#"[{"topic":"a","partition":0,"timestamp":7}]"#;
        let merged = later(&id(5, r#""timestamp":9"#), less).unwrap();
        assert_eq!(merged, id(7, r#""timestamp":9"#), "no topic is lost");
    }

    #[test]
    fn tokens_survive_their_text() {
        let token = Token {
            v: VERSION,
            id: ID.to_owned(),
            newest_ms: Some(5),
            tail_ms: Some(3),
            retry_ms: Some(4321),
            next_offset: 9,
            offsets: [("a/0".to_owned(), 7)].into(),
            unnumbered: 2,
            rejected: vec!["00ff".to_owned()],
        };
        assert_eq!(Token::parse(&token.print()), Ok(token));
        let error = Token::parse(r#"{"v":2,"id":""}"#).unwrap_err();
        assert!(error.contains("version 2"), "{error}");
        assert!(Token::parse("17").unwrap_err().contains("unreadable"));
    }
}
