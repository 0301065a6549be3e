//! One field out of a JSON document, the whole of which is validated.
//!
//! ```text
//! bytes ─▶ UTF-8 ─▶ object or array of the pointer's first token ─▶ raw text of the member
//!                       ▲                                                  │ next token
//!                       └──────────────────────────────────────────────────┘
//! ```
//! The first pass checks the document to its end; the next ones only look into the member that
//! the token before led to. Nothing but the result is ever allocated.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::Malformed;

/// Where a field is: a top-level name or a JSON pointer, parsed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Field {
    tokens: Vec<String>,
}

impl Field {
    /// Parse a name, or a JSON pointer if it starts with `/` (RFC 6901: `~1` is `/`, `~0` is `~`).
    ///
    /// # Errors
    /// The text is empty, or holds a `~` that is followed by neither 0 nor 1.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err(
                "parameter `field` is empty; give a name such as `type` or a JSON \
                        pointer such as `/meta/domain`"
                    .to_owned(),
            );
        }
        let Some(pointer) = text.strip_prefix('/') else {
            return Ok(Self {
                tokens: vec![text.to_owned()],
            });
        };
        let tokens = pointer.split('/').map(|token| {
            let escapes = token.match_indices('~');
            for (at, _) in escapes {
                if !matches!(token.as_bytes().get(at + 1), Some(b'0' | b'1')) {
                    return Err(format!(
                        "parameter `field`: `{text}` is no JSON pointer: `~` must be written `~0`"
                    ));
                }
            }
            Ok(token.replace("~1", "/").replace("~0", "~"))
        });
        Ok(Self {
            tokens: tokens.collect::<Result<_, _>>()?,
        })
    }

    /// The field's text in the document `json`; `None` if it is absent, null, an object or an
    /// array.
    ///
    /// # Errors
    /// `json` is not one valid document, whether or not that concerns the field.
    pub fn extract<'a>(&self, json: &'a [u8]) -> Result<Option<Cow<'a, str>>, Malformed> {
        let json = std::str::from_utf8(json).map_err(|error| Malformed {
            offset: error.valid_up_to(),
            reason: "invalid UTF-8".to_owned(),
        })?;
        let mut value = json.trim_start_matches([' ', '\t', '\r', '\n']);
        for token in &self.tokens {
            match member(value, token).map_err(|error| locate(json, value, &error))? {
                Some(member) => value = member.get(),
                None => return Ok(None),
            }
        }
        match value.as_bytes().first() {
            Some(b'"') => serde_json::from_str::<Text<'_>>(value)
                .map(|text| Some(text.0))
                .map_err(|error| locate(json, value, &error)),
            Some(b'-' | b'0'..=b'9' | b't' | b'f') => Ok(Some(Cow::Borrowed(value))),
            _ => Ok(None),
        }
    }
}

/// The error's place in `json`, of which `part` is a slice.
fn locate(json: &str, part: &str, error: &serde_json::Error) -> Malformed {
    let start = part.as_ptr() as usize - json.as_ptr() as usize;
    let mut malformed = Malformed::json(part, error);
    malformed.offset += start;
    malformed
}

/// The member of `json` that `token` names: the last of an object's duplicates, or an array's
/// element. All of `json` is validated.
fn member<'a>(json: &'a str, token: &str) -> Result<Option<&'a RawValue>, serde_json::Error> {
    let mut parser = serde_json::Deserializer::from_str(json);
    let found = match json.as_bytes().first() {
        Some(b'{' | b'[') => (&mut parser).deserialize_any(Member(token))?,
        _ => serde::Deserialize::deserialize(&mut parser).map(|IgnoredAny| None)?,
    };
    parser.end()?;
    Ok(found)
}

struct Member<'t>(&'t str);

impl<'de> Visitor<'de> for Member<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or an array")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
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

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        // RFC 6901: no leading zeros, so `01` names nothing.
        let index = match self.0.as_bytes() {
            [b'0'] | [b'1'..=b'9', ..] => self.0.parse::<usize>().ok(),
            _ => None,
        };
        let mut found = None;
        for at in 0.. {
            if Some(at) == index {
                match seq.next_element()? {
                    Some(value) => found = Some(value),
                    None => break,
                }
            } else if seq.next_element::<IgnoredAny>()?.is_none() {
                break;
            }
        }
        Ok(found)
    }
}

/// Whether a key, its escapes decoded, is this one.
struct Is<'t>(&'t str);

impl<'de> DeserializeSeed<'de> for Is<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
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

/// A string, borrowed where it has no escapes.
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> serde::Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Borrow;
        impl<'de> Visitor<'de> for Borrow {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Borrow)
    }
}
