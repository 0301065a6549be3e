//! Fields of JSON documents, the whole of which is checked.
//!
//! ```text
//! bytes ─▶ quotes, escapes, UTF-8: 64 bytes at a time ─▶ places of all strings
//!       ─▶ one pass over the grammar between them ─▶ range of the member ─▶ Value
//!            └─ anything wrong? again, byte after byte: what, and where
//! ```
//!
//! What is accepted is what `serde_json` accepts: RFC 8259, any depth, duplicate keys (the last one
//! counts), numbers of any size. An escaped surrogate without its other half is valid JSON; it is
//! an error only where the text that it is part of is asked for. Nothing is allocated unless a
//! string with escapes is decoded, or arrays and objects are nested more than 64 deep.

mod block;
mod decode;
mod error;
mod nest;
mod pass;
mod path;
mod quotes;
mod scan;
mod utf8;
mod value;
mod walk;

pub use decode::write_string;
pub use error::{Malformed, Reason};
pub use path::{Path, PathError, Paths};
pub use value::{Kind, Value};

/// A document that was checked, as text.
#[inline(always)]
fn text(checked: &[u8]) -> &str {
    debug_assert!(std::str::from_utf8(checked).is_ok());
    // SAFETY: every caller has `checked` from `walk`, which gives `Ok` only where all bytes are
    // UTF-8. Outside of strings the grammar has ASCII alone. Within them either `Quotes` checked
    // each word up to the last string's end, or `Seen` noted all bytes, and then they are ASCII or
    // `utf8::is_valid` says that they are UTF-8.
    #[allow(unsafe_code)]
    unsafe {
        std::str::from_utf8_unchecked(checked)
    }
}
