//! `{value}`, `{topic}:{value}`, `{{wiki}}:{value}`: which key a record counts for.

use std::fmt;
use std::str::FromStr;

use gristmill_record::RecordRef;

use crate::RESERVED_PREFIX;

/// What a template may name.
const PLACEHOLDERS: [(&str, Segment); 3] = [
    ("value", Segment::Value),
    ("key", Segment::Key),
    ("topic", Segment::Topic),
];

/// A parsed key template: literal text, `{value}`, `{key}`, `{topic}`; `{{` and `}}` stand for
/// literal braces.
///
/// A null key fills in as nothing, as an empty one does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyTemplate {
    text: String,
    segments: Vec<Segment>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Literal(String),
    Value,
    Key,
    Topic,
}

/// Why a text is no key template. Columns are in characters, from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// There is no text at all.
    #[error("the key template is empty: try `{{value}}`")]
    Empty,
    /// `{name}` with an unknown name.
    #[error(
        "column {column}: unknown placeholder `{{{name}}}`, known are `{{value}}`, `{{key}}` and \
         `{{topic}}`{}; for a literal brace write `{{{{`",
        did_you_mean(suggestion)
    )]
    Unknown {
        /// Where the `{` stands.
        column: usize,
        /// The name between the braces.
        name: String,
        /// The known placeholder that looks most like it.
        suggestion: Option<&'static str>,
    },
    /// `{` without `}`.
    #[error("column {column}: `{{` without a closing `}}`; for a literal brace write `{{{{`")]
    Unclosed {
        /// Where the `{` stands.
        column: usize,
    },
    /// `}` without `{`.
    #[error("column {column}: `}}` without an opening `{{`; for a literal brace write `}}}}`")]
    Unopened {
        /// Where the `}` stands.
        column: usize,
    },
    /// Every key would be one of the sink's own.
    #[error(
        "column 1: keys that begin with `{RESERVED_PREFIX}` are Gristmill's own: choose another \
         prefix"
    )]
    Reserved,
}

fn did_you_mean(suggestion: &Option<&'static str>) -> String {
    suggestion.map_or_else(String::new, |name| format!(" (did you mean `{{{name}}}`?)"))
}

impl KeyTemplate {
    /// Parse a template.
    ///
    /// # Errors
    /// See [`TemplateError`].
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let segments = segments(text)?;
        let template = Self {
            text: text.to_owned(),
            segments,
        };
        match template.segments.first() {
            None => Err(TemplateError::Empty),
            Some(Segment::Literal(first))
                if crate::check_key(first.as_bytes())
                    .is_err_and(|e| e == crate::KeyError::Reserved) =>
            {
                Err(TemplateError::Reserved)
            }
            Some(_) => Ok(template),
        }
    }

    /// Write the key of `record` into `key`, which is cleared first. The result is unchecked: see
    /// [`check_key`](crate::check_key).
    pub fn render(&self, topic: &str, record: &RecordRef<'_>, key: &mut Vec<u8>) {
        key.clear();
        for segment in &self.segments {
            key.extend_from_slice(match segment {
                Segment::Literal(text) => text.as_bytes(),
                Segment::Value => record.value,
                Segment::Key => record.key.unwrap_or_default(),
                Segment::Topic => topic.as_bytes(),
            });
        }
    }

    /// The Redis Cluster hash tag that every key of this template has: the text of a `{{tag}}`
    /// before the first placeholder.
    pub fn hash_tag(&self) -> Option<&str> {
        let Some(Segment::Literal(first)) = self.segments.first() else {
            return None;
        };
        let (_, after) = first.split_once('{')?;
        let (tag, _) = after.split_once('}')?;
        (!tag.is_empty()).then_some(tag)
    }
}

impl fmt::Display for KeyTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for KeyTemplate {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        Self::parse(text)
    }
}

fn segments(text: &str) -> Result<Vec<Segment>, TemplateError> {
    let mut segments = Vec::new();
    let mut literal = String::new();
    let mut chars = text.chars().zip(1..).peekable();
    while let Some((c, column)) = chars.next() {
        let doubled = chars.next_if(|(next, _)| matches!(c, '{' | '}') && *next == c);
        match c {
            '{' | '}' if doubled.is_some() => literal.push(c),
            '}' => return Err(TemplateError::Unopened { column }),
            '{' => {
                if !literal.is_empty() {
                    segments.push(Segment::Literal(std::mem::take(&mut literal)));
                }
                let mut name = String::new();
                loop {
                    match chars.next() {
                        Some(('}', _)) => break,
                        None | Some(('{', _)) => return Err(TemplateError::Unclosed { column }),
                        Some((c, _)) => name.push(c),
                    }
                }
                segments.push(placeholder(name, column)?);
            }
            c => literal.push(c),
        }
    }
    if !literal.is_empty() {
        segments.push(Segment::Literal(literal));
    }
    Ok(segments)
}

fn placeholder(name: String, column: usize) -> Result<Segment, TemplateError> {
    for (known, segment) in PLACEHOLDERS {
        if known == name {
            return Ok(segment);
        }
    }
    let lower = name.trim().to_lowercase();
    let suggestion = PLACEHOLDERS
        .iter()
        .map(|(known, _)| (strsim::damerau_levenshtein(known, &lower), *known))
        .filter(|(distance, known)| *distance <= known.len().div_ceil(3))
        .min()
        .map(|(_, known)| known);
    Err(TemplateError::Unknown {
        column,
        name,
        suggestion,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(template: &str, expect: &str) {
        let record = RecordRef::new(0, 0, Some(b"k"), b"edit");
        let mut key = b"left over".to_vec();
        KeyTemplate::parse(template)
            .unwrap()
            .render("edits", &record, &mut key);
        assert_eq!(String::from_utf8(key).unwrap(), expect, "{template}");
    }

    #[test]
    fn templates_render() {
        check("{value}", "edit");
        check("{key}", "k");
        check("{topic}:{value}:{key}", "edits:edit:k");
        check("all", "all");
        check("{{wiki}}:{value}", "{wiki}:edit");
        check("{{{value}}}", "{edit}");
        check("}}{{", "}{");
        check("größe:{value}", "größe:edit");
    }

    #[test]
    fn a_null_key_fills_in_as_nothing() {
        let mut key = Vec::new();
        KeyTemplate::parse("k:{key}").unwrap().render(
            "t",
            &RecordRef::new(0, 0, None, b"v"),
            &mut key,
        );
        assert_eq!(key, b"k:");
    }

    #[test]
    fn mistakes_are_named_with_their_column() {
        for (template, expect) in [
            ("", "the key template is empty: try `{value}`"),
            (
                "ä:{valeu}",
                "column 3: unknown placeholder `{valeu}`, known are `{value}`, `{key}` and \
                 `{topic}` (did you mean `{value}`?); for a literal brace write `{{`",
            ),
            (
                "{Topic}",
                "column 1: unknown placeholder `{Topic}`, known are `{value}`, `{key}` and \
                 `{topic}` (did you mean `{topic}`?); for a literal brace write `{{`",
            ),
            (
                "{partition}",
                "column 1: unknown placeholder `{partition}`, known are `{value}`, `{key}` and \
                 `{topic}`; for a literal brace write `{{`",
            ),
            (
                "a{value",
                "column 2: `{` without a closing `}`; for a literal brace write `{{`",
            ),
            (
                "{va{lue}",
                "column 1: `{` without a closing `}`; for a literal brace write `{{`",
            ),
            (
                "value}",
                "column 6: `}` without an opening `{`; for a literal brace write `}}`",
            ),
            (
                "gristmill:{value}",
                "column 1: keys that begin with `gristmill:` are Gristmill's own: choose another \
                 prefix",
            ),
            (
                "{{a}}gristmill:{value}",
                "column 1: keys that begin with `gristmill:` are Gristmill's own: choose another \
                 prefix",
            ),
        ] {
            let error = KeyTemplate::parse(template).unwrap_err();
            assert_eq!(error.to_string(), expect, "{template}");
        }
    }

    #[test]
    fn the_hash_tag_is_what_every_key_has() {
        for (template, expect) in [
            ("{{wiki}}:{value}", Some("wiki")),
            ("n:{{wiki}}{value}", Some("wiki")),
            ("{value}{{wiki}}", None),
            ("{{{value}}}", None),
            ("{{}}:{value}", None),
            ("{value}", None),
        ] {
            assert_eq!(
                KeyTemplate::parse(template).unwrap().hash_tag(),
                expect,
                "{template}"
            );
        }
    }
}
