/*
[dependencies]
serde = "1"
serde_json = { version = "1", features = ["raw_value"] }
*/

// `extract_type('type', value)`: the text of one field of a JSON document, as SQL on Arroyo; the
// same as the SmartModule `extract-type`, on the same table of cases
// (`smartmodules/extract-type/tests/cases.ndjson`).
//
// | the field is                                | it gives                                     |
// |---------------------------------------------|----------------------------------------------|
// | a string                                    | its text, escapes decoded                    |
// | a number or a boolean                       | its JSON text, as written (`1.0` stays `1.0`)|
// | absent, `null`, an object or an array       | NULL                                         |
// | in a document that is no whole, valid JSON  | NULL: SQL has no dead letters                |
//
// The first argument names a top-level field, or any place by a JSON pointer (RFC 6901, starts with
// `/`). Of duplicate keys the last one counts. A field that is neither ends the query.
//
// This one file is what Arroyo is given (`gristmill export arroyo`): it stands by itself, so it
// uses published crates only.

use std::fmt;

use arroyo_udf_plugin::udf;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

#[udf]
pub fn extract_type(field: &str, json: &str) -> Option<String> {
    extract(field, json).unwrap_or(None)
}

/// The text of `field` in the document `json`.
///
/// # Errors
/// The document is malformed.
///
/// # Panics
/// If `field` is no name and no JSON pointer: the query is wrong, not the record. The panic ends
/// the query with an error, as Arroyo has it for UDFs.
pub fn extract(field: &str, json: &str) -> Result<Option<String>, serde_json::Error> {
    // All of the document, whatever is looked for.
    let mut found: &RawValue = serde_json::from_str(json)?;
    for step in path(field) {
        match child(found.get(), &step)? {
            Some(value) => found = value,
            None => return Ok(None),
        }
    }
    match found.get().as_bytes().first() {
        Some(b'"') => serde_json::from_str(found.get()).map(Some),
        Some(b'{' | b'[' | b'n') | None => Ok(None),
        Some(_) => Ok(Some(found.get().to_owned())),
    }
}

/// The names that lead to the field.
fn path(field: &str) -> Vec<String> {
    assert!(!field.is_empty(), "extract_type: the field is empty");
    let Some(pointer) = field.strip_prefix('/') else {
        return vec![field.to_owned()];
    };
    let step = |step: &str| {
        let mut parts = step.split('~');
        let mut text = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (escaped, rest) = match part.as_bytes().first() {
                Some(b'0') => ('~', &part[1..]),
                Some(b'1') => ('/', &part[1..]),
                _ => panic!("extract_type: `{field}` is no JSON pointer: write `~0` for `~`"),
            };
            text.push(escaped);
            text.push_str(rest);
        }
        text
    };
    pointer.split('/').map(step).collect()
}

/// The member or item `step` of a document.
fn child<'j>(json: &'j str, step: &str) -> Result<Option<&'j RawValue>, serde_json::Error> {
    let mut document = serde_json::Deserializer::from_str(json);
    match json.as_bytes().first() {
        Some(b'{') => document.deserialize_map(Child(step)),
        Some(b'[') => document.deserialize_seq(Child(step)),
        _ => Ok(None),
    }
}

struct Child<'s>(&'s str);

impl<'j> Visitor<'j> for Child<'_> {
    type Value = Option<&'j RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or an array")
    }

    fn visit_map<A: MapAccess<'j>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(is_it) = map.next_key_seed(Is(self.0))? {
            if is_it {
                found = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'j>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        // RFC 6901: digits, no leading zeros.
        let digits = self.0.bytes().all(|byte| byte.is_ascii_digit());
        let plain = digits && (self.0 == "0" || !self.0.starts_with('0'));
        let mut left = self.0.parse::<usize>().ok().filter(|_| plain);
        let mut found = None;
        while let Some(item) = items.next_element::<&RawValue>()? {
            found = found.or((left == Some(0)).then_some(item));
            left = left.and_then(|left| left.checked_sub(1));
        }
        Ok(found)
    }
}

/// Whether a key is this one.
struct Is<'s>(&'s str);

impl<'j> DeserializeSeed<'j> for Is<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'j>>(self, key: D) -> Result<bool, D::Error> {
        key.deserialize_str(self)
    }
}

impl Visitor<'_> for Is<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<bool, E> {
        Ok(key == self.0)
    }
}
