//! Where a field is.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use super::value::Value;
use super::walk::{self, Name};
use super::{Malformed, text};

/// A field's place in a document: the name of a top-level member, or a JSON pointer (RFC 6901) if
/// it starts with `/`.
///
/// ```
/// use gristmill_smartmodule::json::Path;
///
/// let event = br#"{"type": "edit", "meta": {"domain": "canary"}, "length": [1200, 1234]}"#;
/// let text = |path: &str| -> Option<String> {
///     let path: Path = path.parse().unwrap();
///     Some(path.find(event).unwrap()?.text().unwrap()?.into_owned())
/// };
/// assert_eq!(text("type").as_deref(), Some("edit"));
/// assert_eq!(text("/meta/domain").as_deref(), Some("canary"));
/// assert_eq!(text("/length/1").as_deref(), Some("1234"));
/// assert_eq!(text("user"), None);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    text: String,
    /// At least one.
    tokens: Vec<Token>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Token {
    key: Vec<u8>,
    /// What it is in an array: an index without leading zeros.
    index: Option<usize>,
}

/// Text that is no [`Path`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PathError {
    /// There is none.
    Empty,
    /// A `~` that is followed by neither 0 nor 1.
    Escape {
        /// The pointer.
        pointer: String,
    },
}

impl Path {
    /// The field in the document `json`, all of which is checked, whether or not the field is
    /// there. Of duplicate keys the last one counts.
    ///
    /// # Errors
    /// `json` is not one valid document.
    #[inline]
    pub fn find<'a>(&self, json: &'a [u8]) -> Result<Option<Value<'a>>, Malformed> {
        let [first, rest @ ..] = self.tokens.as_slice() else {
            return Ok(None);
        };
        let mut found = None;
        walk::document(json, |name, range| {
            if first.is(&name) {
                found = Some(range);
            }
        })?;
        self::descend(json, found, rest)
    }

    /// The field within `value`.
    ///
    /// # Errors
    /// A key on the way holds an escaped surrogate without its other half.
    pub fn find_in<'a>(&self, value: &Value<'a>) -> Result<Option<Value<'a>>, Malformed> {
        self::descend(value.document(), Some(value.range()), &self.tokens)
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The last token: the name that the field has in what holds it.
    pub fn name(&self) -> Cow<'_, str> {
        self.tokens.last().map_or(Cow::Borrowed(""), |token| {
            String::from_utf8_lossy(&token.key)
        })
    }
}

/// Follow `tokens` from the value at `found` in a document that is known to be right.
fn descend<'a>(
    json: &'a [u8],
    mut found: Option<Range<usize>>,
    tokens: &[Token],
) -> Result<Option<Value<'a>>, Malformed> {
    for token in tokens {
        let Some(range) = found.take() else {
            return Ok(None);
        };
        walk::part(json, range.start, |name, range| {
            if token.is(&name) {
                found = Some(range);
            }
        })?;
    }
    Ok(found.map(|range| Value::new(text(json), range)))
}

impl Token {
    #[inline(always)]
    fn is(&self, name: &Name<'_>) -> bool {
        match name {
            // First bytes first: to compare the rest is a call, and keys of the same length are many.
            Name::Key(key) => key.first() == self.key.first() && **key == *self.key,
            Name::Index(index) => self.index == Some(*index),
        }
    }
}

/// Several fields of one document, found in one pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    paths: Vec<Path>,
}

impl Paths {
    /// These, in this order.
    pub fn new(paths: impl IntoIterator<Item = Path>) -> Self {
        Self {
            paths: paths.into_iter().collect(),
        }
    }

    /// Each field in the document `json`, in the order of the paths, into `found`, which is
    /// overwritten. As [`Path::find`].
    ///
    /// # Errors
    /// `json` is not one valid document.
    pub fn find<'a>(
        &self,
        json: &'a [u8],
        found: &mut Vec<Option<Value<'a>>>,
    ) -> Result<(), Malformed> {
        found.clear();
        let mut firsts = vec![None; self.paths.len()];
        walk::document(json, |name, range| {
            for (path, first) in self.paths.iter().zip(&mut firsts) {
                if path.tokens.first().is_some_and(|token| token.is(&name)) {
                    *first = Some(range.clone());
                }
            }
        })?;
        for (path, first) in self.paths.iter().zip(firsts) {
            found.push(descend(
                json,
                first,
                path.tokens.get(1..).unwrap_or_default(),
            )?);
        }
        Ok(())
    }

    /// The paths, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Path> {
        self.paths.iter()
    }
}

impl FromStr for Path {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        if text.is_empty() {
            return Err(PathError::Empty);
        }
        let tokens = match text.strip_prefix('/') {
            None => vec![Token {
                key: text.as_bytes().to_vec(),
                index: index(text),
            }],
            Some(pointer) => pointer
                .split('/')
                .map(|token| unescape(text, token))
                .collect::<Result<_, _>>()?,
        };
        Ok(Self {
            text: text.to_owned(),
            tokens,
        })
    }
}

fn unescape(pointer: &str, token: &str) -> Result<Token, PathError> {
    for (at, _) in token.match_indices('~') {
        if !matches!(token.as_bytes().get(at + 1), Some(b'0' | b'1')) {
            return Err(PathError::Escape {
                pointer: pointer.to_owned(),
            });
        }
    }
    let key = token.replace("~1", "/").replace("~0", "~");
    Ok(Token {
        index: index(&key),
        key: key.into_bytes(),
    })
}

/// RFC 6901: no leading zeros, so `01` names nothing.
fn index(token: &str) -> Option<usize> {
    match token.as_bytes() {
        [b'0'] | [b'1'..=b'9', ..] => token.parse().ok(),
        _ => None,
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => {
                f.write_str("give a name such as `type` or a JSON pointer such as `/meta/domain`")
            }
            Self::Escape { pointer } => write!(
                f,
                "`{pointer}` is no JSON pointer: `~` must be written `~0`"
            ),
        }
    }
}

impl std::error::Error for PathError {}
