//! Changes of a table, in Debezium's JSON, as the fields of one hash: what is there is what the last
//! change said.
//!
//! ```text
//! {"before":…,"after":{"type":"edit","count":5},"op":"u"} ─▶ HSET types edit 5
//! {"before":{"type":"edit",…},"after":null,"op":"d"}      ─▶ HDEL types edit
//! ```
//!
//! Of a batch only the last change of each field is sent, together with the next offset. Changes of
//! one field must be in one partition: between partitions a topic has no order.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::LazyLock;

use gristmill_record::{Batch, Lane};
use redis::{Cmd, Script};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::config::Upsert;
use crate::keys::Keys;
use crate::script::By;

static APPLY: LazyLock<Script> = LazyLock::new(|| Script::new(SOURCE));
const SOURCE: &str = include_str!("upsert.lua");

/// The changes of a batch.
pub(crate) struct Upserts {
    columns: Upsert,
    /// What each field becomes; `None` is removed.
    fields: BTreeMap<String, Option<String>>,
}

/// A change, or the envelope of Kafka Connect's converter around one.
#[derive(Deserialize)]
struct Change<'r> {
    #[serde(borrow, default)]
    before: Option<Row<'r>>,
    #[serde(borrow, default)]
    after: Option<Row<'r>>,
    #[serde(borrow, default)]
    payload: Option<&'r RawValue>,
}

type Row<'r> = BTreeMap<Cow<'r, str>, &'r RawValue>;

/// One call of the script.
pub(crate) struct ApplyUpserts<'a> {
    pub(crate) keys: &'a Keys,
    pub(crate) hash: &'a str,
    pub(crate) lane: &'a Lane,
    pub(crate) from: Option<i64>,
    pub(crate) next: i64,
    pub(crate) first: bool,
    pub(crate) upserts: &'a Upserts,
}

impl Upserts {
    pub(crate) fn new(columns: &Upsert) -> Self {
        Self {
            columns: columns.clone(),
            fields: BTreeMap::new(),
        }
    }

    /// Take the changes of `batch`.
    ///
    /// # Errors
    /// The records that are no change of such a table, and why.
    pub(crate) fn take(&mut self, batch: &Batch) -> Result<(), Vec<(usize, String)>> {
        self.fields.clear();
        let mut refused = Vec::new();
        for (index, record) in batch.records.iter().enumerate() {
            // What a topic that is compacted holds of a row that is gone.
            if record.value.is_empty() {
                continue;
            }
            if let Err(reason) = self.change(record.value) {
                refused.push((index, reason));
            }
        }
        if refused.is_empty() {
            Ok(())
        } else {
            Err(refused)
        }
    }

    fn change(&mut self, json: &[u8]) -> Result<(), String> {
        let malformed = |error: serde_json::Error| format!("no change in Debezium's JSON: {error}");
        let mut change: Change<'_> = serde_json::from_slice(json).map_err(malformed)?;
        if let Some(payload) = change.payload {
            change = serde_json::from_str(payload.get()).map_err(malformed)?;
        }
        let Change { before, after, .. } = change;
        if before.is_none() && after.is_none() {
            return Err("a change with neither `before` nor `after`".to_owned());
        }
        let before = before.map(|row| self.field(&row)).transpose()?;
        let after = match after {
            Some(row) => Some((self.field(&row)?, self.value(&row)?)),
            None => None,
        };
        if let Some(before) = before {
            self.fields.insert(before, None);
        }
        if let Some((field, value)) = after {
            self.fields.insert(field, value);
        }
        Ok(())
    }

    fn field(&self, row: &Row<'_>) -> Result<String, String> {
        let column = &self.columns.field;
        match text(row, column)? {
            Some(field) => Ok(field),
            None => Err(format!(
                "the row's `{column}`, which names the field, is null"
            )),
        }
    }

    fn value(&self, row: &Row<'_>) -> Result<Option<String>, String> {
        text(row, &self.columns.value)
    }
}

/// A column's text: a string's own, anything else's JSON; `None` for null.
fn text(row: &Row<'_>, column: &str) -> Result<Option<String>, String> {
    let Some(json) = row.get(column).map(|json| json.get()) else {
        let known: Vec<String> = row.keys().map(|key| format!("`{key}`")).collect();
        return Err(format!(
            "the row has no column `{column}`, but {}",
            known.join(", ")
        ));
    };
    match json.as_bytes().first() {
        Some(b'n') => Ok(None),
        Some(b'"') => {
            let text = serde_json::from_str(json);
            text.map(Some)
                .map_err(|error| format!("column `{column}`: {error}"))
        }
        _ => Ok(Some(json.to_owned())),
    }
}

impl ApplyUpserts<'_> {
    /// The whole command.
    pub(crate) fn command(&self, by: By) -> Cmd {
        let mut cmd = Cmd::new();
        match by {
            By::Sha => cmd.arg("EVALSHA").arg(APPLY.get_hash()),
            By::Source => cmd.arg("EVAL").arg(SOURCE),
        };
        cmd.arg(2)
            .arg(self.keys.offsets(&self.lane.topic))
            .arg(self.hash)
            .arg(self.lane.partition);
        match self.from {
            Some(from) => cmd.arg(from),
            None => cmd.arg(""),
        };
        let set = || self.upserts.fields.iter();
        cmd.arg(self.next)
            .arg(u8::from(self.first))
            .arg(set().filter(|(_, value)| value.is_some()).count());
        for (field, value) in set() {
            if let Some(value) = value {
                cmd.arg(field).arg(value);
            }
        }
        for (field, _) in set().filter(|(_, value)| value.is_none()) {
            cmd.arg(field);
        }
        cmd
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(changes: &[&str]) -> (Vec<(String, Option<String>)>, Vec<String>) {
        let mut upserts = Upserts::new(&Upsert {
            field: "type".to_owned(),
            value: "count".to_owned(),
        });
        let errors = changes
            .iter()
            .filter_map(|change| upserts.change(change.as_bytes()).err());
        let errors = errors.collect();
        (upserts.fields.into_iter().collect(), errors)
    }

    #[test]
    fn the_last_change_of_a_field_counts() {
        let (fields, errors) = after(&[
            r#"{"before":null,"after":{"type":"edit","count":1},"op":"c"}"#,
            r#"{"before":null,"after":{"type":"new","count":1},"op":"c"}"#,
            r#"{"before":{"type":"edit","count":1},"after":{"type":"edit","count":2},"op":"u"}"#,
            r#"{"before":{"type":"new","count":1},"after":null,"op":"d"}"#,
            r#"{"before":{"type":"a","count":1},"after":{"type":"b","count":1.50},"op":"u"}"#,
            r#"{"schema":{},"payload":{"after":{"type":"caf\u00e9","count":"x"},"op":"r"}}"#,
            r#"{"after":{"type":7,"count":null}}"#,
        ]);
        let expect = [
            ("7", None),
            ("a", None),
            ("b", Some("1.50")),
            ("café", Some("x")),
            ("edit", Some("2")),
            ("new", None),
        ];
        let owned =
            |(field, value): (&str, Option<&str>)| (field.to_owned(), value.map(str::to_owned));
        assert_eq!(fields, expect.map(owned));
        assert_eq!(errors, Vec::<String>::new());
    }

    #[test]
    fn what_is_no_such_change_says_why() {
        for (change, expect) in [
            ("edit", "no change in Debezium's JSON: expected value"),
            ("{}", "neither `before` nor `after`"),
            (r#"{"before":null,"after":null}"#, "neither"),
            (
                r#"{"after":{"type":"edit","n":1}}"#,
                "no column `count`, but `n`, `type`",
            ),
            (
                r#"{"after":{"type":null,"count":1}}"#,
                "`type`, which names the field, is null",
            ),
            (r#"{"after":{"type":"\ud800","count":1}}"#, "column `type`"),
        ] {
            let (fields, errors) = after(&[change]);
            assert!(fields.is_empty(), "{fields:?}");
            assert!(errors[0].contains(expect), "{change}: {errors:?}");
        }
    }
}
