//! A value within a document that was checked.

use std::borrow::Cow;
use std::ops::Range;

use super::decode::decode;
use super::scan::{Seen, plain};
use super::walk::{self, Name, malformed};
use super::{Malformed, text};

/// A value within a document, all of which was checked. It borrows from the document.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Value<'a> {
    document: &'a str,
    start: usize,
    end: usize,
}

/// What a [`Value`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `null`
    Null,
    /// `true` or `false`
    Boolean,
    /// A number of any size.
    Number,
    /// Text in quotes.
    String,
    /// `[…]`
    Array,
    /// `{…}`
    Object,
}

impl<'a> Value<'a> {
    pub(super) fn new(document: &'a str, range: Range<usize>) -> Self {
        Self {
            document,
            start: range.start,
            end: range.end,
        }
    }

    /// The whole of a document, once checked.
    ///
    /// # Errors
    /// `json` is not one valid document.
    pub fn parse(json: &'a [u8]) -> Result<Self, Malformed> {
        let range = walk::whole(json)?;
        Ok(Self::new(text(json), range))
    }

    /// As it is written in the document, without white space around it.
    pub fn raw(&self) -> &'a str {
        &self.document[self.start..self.end]
    }

    /// Byte of the document that it starts at.
    pub fn offset(&self) -> usize {
        self.start
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        match self.document.as_bytes().get(self.start) {
            Some(b'"') => Kind::String,
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::Array,
            Some(b't' | b'f') => Kind::Boolean,
            Some(b'n') => Kind::Null,
            _ => Kind::Number,
        }
    }

    /// Its text: a string's, escapes decoded, or a number or boolean as written; `None` for all
    /// else.
    ///
    /// # Errors
    /// An escaped surrogate without its other half, which is JSON but no text.
    #[inline]
    pub fn text(&self) -> Result<Option<Cow<'a, str>>, Malformed> {
        match self.kind() {
            Kind::String => self.string().map(Some),
            Kind::Number | Kind::Boolean => Ok(Some(Cow::Borrowed(self.raw()))),
            Kind::Null | Kind::Array | Kind::Object => Ok(None),
        }
    }

    fn string(&self) -> Result<Cow<'a, str>, Malformed> {
        let bytes = self.document().get(..self.end).unwrap_or_default();
        let (start, end) = (self.start + 1, self.end - 1);
        if plain(bytes, start, &mut Seen::new()) == end {
            return Ok(Cow::Borrowed(&self.document[start..end]));
        }
        let (decoded, _) = decode(bytes, self.start + 1, &mut Seen::new())
            .map_err(|failed| malformed(self.document(), failed))?;
        Ok(as_text(decoded))
    }

    /// The elements, where it is an array; none otherwise.
    pub fn elements(&self) -> Vec<Value<'a>> {
        let mut found = Vec::new();
        if self.kind() == Kind::Array {
            // It was checked: nothing is left to fail.
            let _ = walk::part(self.document(), self.start, |name, range| {
                if let Name::Index(_) = name {
                    found.push(Self::new(self.document, range));
                }
            });
        }
        found
    }

    /// The members in order, duplicates included, where it is an object; none otherwise.
    ///
    /// # Errors
    /// A key holds an escaped surrogate without its other half, which is JSON but no text.
    pub fn members(&self) -> Result<Vec<(Cow<'a, str>, Value<'a>)>, Malformed> {
        let mut found = Vec::new();
        if self.kind() == Kind::Object {
            walk::part(self.document(), self.start, |name, range| {
                if let Name::Key(key) = name {
                    found.push((as_text(key), Self::new(self.document, range)));
                }
            })?;
        }
        Ok(found)
    }

    pub(super) fn document(&self) -> &'a [u8] {
        self.document.as_bytes()
    }

    pub(super) fn range(&self) -> Range<usize> {
        self.start..self.end
    }
}

/// A decoded string of a document that was checked: what was UTF-8 stays so, as escapes are replaced
/// by whole characters.
fn as_text(decoded: Cow<'_, [u8]>) -> Cow<'_, str> {
    match decoded {
        Cow::Borrowed(bytes) => String::from_utf8_lossy(bytes),
        Cow::Owned(bytes) => match String::from_utf8(bytes) {
            Ok(text) => Cow::Owned(text),
            Err(error) => Cow::Owned(String::from_utf8_lossy(error.as_bytes()).into_owned()),
        },
    }
}

impl std::fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Value({} at {})", self.raw(), self.start)
    }
}
