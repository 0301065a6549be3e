//! What is wrong with a document, and where.

use std::fmt;

/// A value that is not one whole JSON document in UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed {
    /// Byte at which it went wrong, counted from 0; the value's length when it just ends.
    pub offset: usize,
    /// Why.
    pub reason: Reason,
}

/// Why bytes are not JSON. The words are `serde_json`'s, so that a module that is moved from there
/// keeps its errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// Bytes that are not UTF-8, in strings or elsewhere.
    InvalidUtf8,
    /// It ends within an array.
    EofInList,
    /// It ends within an object.
    EofInObject,
    /// It ends within a string.
    EofInString,
    /// It ends where a value is due.
    EofInValue,
    /// A key is not followed by `:`.
    ExpectedColon,
    /// An element is followed by neither `,` nor `]`.
    ExpectedListCommaOrEnd,
    /// A member is followed by neither `,` nor `}`.
    ExpectedObjectCommaOrEnd,
    /// A word that starts like `true`, `false` or `null` and goes on otherwise.
    ExpectedIdent,
    /// Something that starts no value.
    ExpectedValue,
    /// `\` and something that JSON does not know.
    InvalidEscape,
    /// A number that JSON's grammar does not have, such as `01` or `1.`.
    InvalidNumber,
    /// A bare control character.
    ControlCharacter,
    /// A member that does not start with `"`.
    KeyMustBeAString,
    /// `\u` with a surrogate that is not the first of a pair.
    LoneSurrogate,
    /// A first surrogate that no second one follows.
    UnexpectedEndOfEscape,
    /// A `,` before the end of the outermost object or array.
    TrailingComma,
    /// Something after the document.
    TrailingCharacters,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InvalidUtf8 => "invalid UTF-8",
            Self::EofInList => "EOF while parsing a list",
            Self::EofInObject => "EOF while parsing an object",
            Self::EofInString => "EOF while parsing a string",
            Self::EofInValue => "EOF while parsing a value",
            Self::ExpectedColon => "expected `:`",
            Self::ExpectedListCommaOrEnd => "expected `,` or `]`",
            Self::ExpectedObjectCommaOrEnd => "expected `,` or `}`",
            Self::ExpectedIdent => "expected ident",
            Self::ExpectedValue => "expected value",
            Self::InvalidEscape => "invalid escape",
            Self::InvalidNumber => "invalid number",
            Self::ControlCharacter => {
                "control character (\\u0000-\\u001F) found while parsing a string"
            }
            Self::KeyMustBeAString => "key must be a string",
            Self::LoneSurrogate => "lone leading surrogate in hex escape",
            Self::UnexpectedEndOfEscape => "unexpected end of hex escape",
            Self::TrailingComma => "trailing comma",
            Self::TrailingCharacters => "trailing characters",
        })
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "malformed JSON at byte {}: {}", self.offset, self.reason)
    }
}

impl std::error::Error for Malformed {}
