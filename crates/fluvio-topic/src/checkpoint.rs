//! What a writer keeps of itself: positions, and where its topics ended then.
//!
//! One topic of one partition for each writer; its newest checkpoint is the one that holds. Values are
//! small JSON objects with a version, so that a later Gristmill can read an earlier one's. Closed segments
//! go after a day: the newest record is always in the open one.

use std::collections::BTreeMap;

use gristmill_record::Position;
use serde::{Deserialize, Serialize};

const VERSION: u32 = 1;

/// A record of a checkpoint topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    v: u32,
    /// The copy that wrote it: different at every start.
    pub(crate) instance: String,
    /// Absent where a copy only says that it takes over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) state: Option<State>,
}

/// What holds after a write.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    /// By the lane's text.
    lanes: BTreeMap<String, Stored>,
    /// Behind the last record that is known to be ours or older, by topic and partition.
    pub(crate) ends: BTreeMap<String, Vec<i64>>,
    /// Of the records behind the ends, those that were finished since (see `present.rs`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) done: Vec<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Stored {
    Offset(i64),
    Token(String),
}

impl State {
    pub(crate) fn position(&self, lane: &str) -> Option<Position> {
        self.lanes.get(lane).map(|stored| match stored {
            Stored::Offset(offset) => Position::Offset(*offset),
            Stored::Token(token) => Position::Token(token.as_str().into()),
        })
    }

    pub(crate) fn set(&mut self, lane: &str, position: &Position) {
        let stored = match position {
            Position::Offset(offset) => Stored::Offset(*offset),
            Position::Token(token) => Stored::Token(token.to_string()),
        };
        self.lanes.insert(lane.to_owned(), stored);
    }
}

impl Entry {
    /// `instance` takes over.
    pub(crate) fn opening(instance: &str) -> Self {
        Self {
            v: VERSION,
            instance: instance.to_owned(),
            state: None,
        }
    }

    pub(crate) fn of(instance: &str, state: &State) -> Self {
        Self {
            state: Some(state.clone()),
            ..Self::opening(instance)
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        // Numbers and strings always have a JSON form.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// # Errors
    /// What is wrong with the record of `topic` at `offset`, and the remedy.
    pub(crate) fn decode(value: &[u8], topic: &str, offset: i64) -> Result<Self, String> {
        let unreadable = |reason: String| {
            format!(
                "checkpoint at offset {offset} of `{topic}` is unreadable ({reason}): delete the topic \
                 to start anew (`fluvio topic delete {topic}`)"
            )
        };
        let entry: Self =
            serde_json::from_slice(value).map_err(|error| unreadable(error.to_string()))?;
        if entry.v > VERSION {
            let reason = format!("version {}: made by a newer Gristmill", entry.v);
            return Err(unreadable(reason));
        }
        Ok(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoints_survive() {
        let mut state = State::default();
        state.set("stream[0]", &Position::Token("{\"id\":\"é\"}".into()));
        state.set("edits[1]", &Position::Offset(i64::MAX));
        state.ends.insert("edits".to_owned(), vec![3, 0]);
        state.done.push(u64::MAX);
        for entry in [Entry::opening("i"), Entry::of("i", &state)] {
            let read = Entry::decode(&entry.encode(), "t", 4);
            assert_eq!(read.as_ref(), Ok(&entry));
        }
        let token = Position::Token("{\"id\":\"é\"}".into());
        assert_eq!(state.position("stream[0]"), Some(token));
        assert_eq!(state.position("stream[1]"), None);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for bad in ["", "{}", "{\"v\":2,\"instance\":\"i\"}", "null"] {
            let error = Entry::decode(bad.as_bytes(), "t", 4).unwrap_err();
            assert!(error.contains("offset 4 of `t`"), "{error}");
        }
    }
}
