//! The few fields of an event that the connector itself needs, in one pass over its JSON.
//!
//! No tree is built: a trie of the wanted pointers walks the text, everything else is skipped,
//! and what is found stays a slice of the event.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// A JSON pointer (RFC 6901), unescaped into its tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pointer(Vec<String>);

impl Pointer {
    /// `None` unless `text` is empty (the whole document) or starts with `/`, with `~` only in
    /// `~0` and `~1`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self(Vec::new()));
        }
        let tokens = text.strip_prefix('/')?.split('/').map(unescape);
        tokens.collect::<Option<_>>().map(Self)
    }
}

fn unescape(token: &str) -> Option<String> {
    let mut text = String::with_capacity(token.len());
    let mut chars = token.chars();
    while let Some(c) = chars.next() {
        text.push(match c {
            '~' => match chars.next()? {
                '0' => '~',
                '1' => '/',
                _ => return None,
            },
            c => c,
        });
    }
    Some(text)
}

/// Pulls a fixed list of pointers out of JSON texts.
#[derive(Debug, Default)]
pub(crate) struct Extractor {
    root: Node,
    slots: usize,
}

#[derive(Debug, Default)]
struct Node {
    /// Key, the same as an array index where it is one, and what is wanted below it.
    children: Vec<(String, Option<usize>, Node)>,
    /// Where to put the value that stands here.
    slots: Vec<usize>,
}

/// The values found, by the order in which their pointers were added; raw JSON texts.
pub(crate) type Found<'j> = Vec<Option<&'j str>>;

impl Extractor {
    /// Add a pointer; returns its index in [`Found`].
    pub(crate) fn add(&mut self, pointer: &Pointer) -> usize {
        let slot = self.slots;
        self.slots += 1;
        let mut node = &mut self.root;
        for token in &pointer.0 {
            let at = node.children.iter().position(|(key, _, _)| key == token);
            let at = at.unwrap_or_else(|| {
                let index = match token.as_str() {
                    "0" => Some(0),
                    // RFC 6901, section 4: an index has no leading zeros (nor a sign).
                    token if token.starts_with(|c: char| matches!(c, '1'..='9')) => {
                        token.parse().ok()
                    }
                    _ => None,
                };
                node.children.push((token.clone(), index, Node::default()));
                node.children.len() - 1
            });
            node = &mut node.children[at].2;
        }
        node.slots.push(slot);
        slot
    }

    /// The values in `json`; `None` if it is not one well-formed JSON document. As in most
    /// parsers, the last of repeated keys counts.
    pub(crate) fn extract<'j>(&self, json: &'j str) -> Option<Found<'j>> {
        let mut found = vec![None; self.slots];
        let mut deserializer = serde_json::Deserializer::from_str(json);
        let walk = Walk {
            node: &self.root,
            found: &mut found,
        };
        walk.deserialize(&mut deserializer).ok()?;
        deserializer.end().ok()?;
        Some(found)
    }
}

struct Walk<'n, 'f, 'j> {
    node: &'n Node,
    found: &'f mut [Option<&'j str>],
}

impl Walk<'_, '_, '_> {
    fn forget(node: &Node, found: &mut [Option<&str>]) {
        node.slots.iter().for_each(|slot| found[*slot] = None);
        node.children
            .iter()
            .for_each(|(_, _, child)| Self::forget(child, found));
    }
}

impl<'j> DeserializeSeed<'j> for Walk<'_, '_, 'j> {
    type Value = ();

    fn deserialize<D: Deserializer<'j>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.node.slots.is_empty() {
            return deserializer.deserialize_any(self);
        }
        let raw: &'j RawValue = serde::Deserialize::deserialize(deserializer)?;
        for slot in &self.node.slots {
            self.found[*slot] = Some(raw.get());
        }
        if self.node.children.is_empty() {
            return Ok(());
        }
        serde_json::Deserializer::from_str(raw.get())
            .deserialize_any(self)
            .map_err(Error::custom)
    }
}

impl<'j> Visitor<'j> for Walk<'_, '_, 'j> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'j>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(child) = map.next_key_seed(Key(self.node))? {
            match child {
                Some(node) => {
                    Self::forget(node, self.found);
                    map.next_value_seed(Walk {
                        node,
                        found: self.found,
                    })?;
                }
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'j>>(self, mut seq: A) -> Result<(), A::Error> {
        for at in 0.. {
            let child = self
                .node
                .children
                .iter()
                .find(|(_, index, _)| *index == Some(at));
            let more = match child {
                Some((_, _, node)) => seq
                    .next_element_seed(Walk {
                        node,
                        found: self.found,
                    })?
                    .is_some(),
                None => seq.next_element::<IgnoredAny>()?.is_some(),
            };
            if !more {
                break;
            }
        }
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// Reads a key and finds what is wanted below it, without keeping the key.
struct Key<'n>(&'n Node);

impl<'n, 'j> DeserializeSeed<'j> for Key<'n> {
    type Value = Option<&'n Node>;

    fn deserialize<D: Deserializer<'j>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'n> Visitor<'_> for Key<'n> {
    type Value = Option<&'n Node>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        let child = self.0.children.iter().find(|(wanted, _, _)| wanted == key);
        Ok(child.map(|(_, _, node)| node))
    }
}

/// A value's text: a string's content, else its JSON text; `None` for null.
pub(crate) fn text(raw: &str) -> Option<Cow<'_, str>> {
    let Some(content) = raw.strip_prefix('"').and_then(|raw| raw.strip_suffix('"')) else {
        return (raw != "null").then_some(Cow::Borrowed(raw));
    };
    if !content.contains('\\') {
        return Some(Cow::Borrowed(content));
    }
    // A lone surrogate is no text; its escaped form still tells one value from another.
    let owned = serde_json::from_str::<String>(raw).map(Cow::Owned);
    Some(owned.unwrap_or(Cow::Borrowed(content)))
}

/// Milliseconds since the epoch from epoch seconds, epoch milliseconds or ISO 8601; `None` for
/// what is neither, lies before 1970 or after 9999.
pub(crate) fn timestamp_ms(text: &str) -> Option<i64> {
    const YEAR_10000_MS: i64 = 253_402_300_800_000;
    // As seconds this is the year 5138, as milliseconds 1973: what real streams hold lies clearly
    // on one side.
    const SECONDS_MAX: i64 = 100_000_000_000;
    let ms = if let Ok(number) = text.parse::<i64>() {
        if (0..SECONDS_MAX).contains(&number) {
            number * 1000
        } else {
            number
        }
    } else if let Some(number) = text.parse::<f64>().ok().filter(|number| number.is_finite()) {
        let seconds = number.abs() < SECONDS_MAX as f64;
        (if seconds { number * 1000.0 } else { number }) as i64
    } else {
        text.parse::<jiff::Timestamp>().ok()?.as_millisecond()
    };
    (0..YEAR_10000_MS).contains(&ms).then_some(ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, pointer: &str, expect: Option<&str>) {
        let mut extractor = Extractor::default();
        // A second pointer, so that the trie has something to step over.
        extractor.add(&Pointer::parse("/other/x").unwrap());
        let slot = extractor.add(&Pointer::parse(pointer).unwrap());
        let found = extractor.extract(json).expect(json);
        assert_eq!(
            found[slot].and_then(text).as_deref(),
            expect,
            "{pointer} in {json}"
        );
    }

    #[test]
    fn pointers_find_what_they_name() {
        check(r#"{"id":12}"#, "/id", Some("12"));
        check(r#"{"id":1.50e3}"#, "/id", Some("1.50e3"));
        check(r#"{"id":"a\n\u00e9"}"#, "/id", Some("a\né"));
        check(r#"{"id":null}"#, "/id", None);
        check(r#"{"id":false}"#, "/id", Some("false"));
        check(r#"{"id":{"a": [1]}}"#, "/id", Some(r#"{"a": [1]}"#));
        check(r#"{"x":{"id":1},"id":2}"#, "/id", Some("2"));
        check(r#"{"id":1,"id":2}"#, "/id", Some("2"));
        check(r#"{"m":{"id":1},"m":{}}"#, "/m/id", None);
        check(r#"{"m":{"id":1},"m":7}"#, "/m/id", None);
        check(r#"{"m":[{"id":5},{"id":6}]}"#, "/m/1/id", Some("6"));
        check(r#"{"m":{"1":"k"}}"#, "/m/1", Some("k"));
        check(r#"{"m":[1,2]}"#, "/m/01", None);
        check(r#"{"a/b":1,"~":2}"#, "/a~1b", Some("1"));
        check(r#"{"a/b":1,"~":2}"#, "/~0", Some("2"));
        check(r#"{"":{"":3}}"#, "//", Some("3"));
        check(r#"{"\u0069d":"esc"}"#, "/id", Some("esc"));
        check("[1]", "/id", None);
        check("7", "", Some("7"));
        check(
            r#" {"other":{"x":1},"id":2} "#,
            "/other",
            Some(r#"{"x":1}"#),
        );
        check(r#"{"id":"\ud800"}"#, "/id", Some("\\ud800"));
    }

    #[test]
    fn what_is_no_json_gives_nothing() {
        let mut extractor = Extractor::default();
        extractor.add(&Pointer::parse("/id").unwrap());
        for json in [
            "",
            "{",
            r#"{"id":1"#,
            r#"{"id":1}}"#,
            r#"{"id":1}x"#,
            "nope",
            r#"{"id":01}"#,
        ] {
            assert_eq!(extractor.extract(json), None, "{json}");
        }
    }

    #[test]
    fn bad_pointers_are_refused() {
        for text in ["id", "/a~", "/a~2"] {
            assert_eq!(Pointer::parse(text), None, "{text}");
        }
    }

    #[test]
    fn timestamps_in_every_form() {
        for (text, expect) in [
            ("1630093500", Some(1_630_093_500_000)),
            ("1630093500001", Some(1_630_093_500_001)),
            ("1630093500.25", Some(1_630_093_500_250)),
            ("2021-08-27T19:45:00Z", Some(1_630_093_500_000)),
            ("2021-08-27T19:45:00.123Z", Some(1_630_093_500_123)),
            ("2021-08-27T21:45:00+02:00", Some(1_630_093_500_000)),
            ("0", Some(0)),
            ("-5", None),
            ("99999999999999999", None),
            ("NaN", None),
            ("yesterday", None),
            ("", None),
        ] {
            assert_eq!(timestamp_ms(text), expect, "{text}");
        }
    }
}
