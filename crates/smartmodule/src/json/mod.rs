//! Fields of JSON documents, the whole of which is checked.
//!
//! ```text
//! bytes ─▶ one pass over the grammar ─▶ range of the member ─▶ Value (text, raw, elements)
//!            strings 16 bytes at a time      └─ next token ─▶ one pass over that member
//!            └─ any byte beyond ASCII? UTF-8, 16 bytes at a time
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
mod path;
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
    // SAFETY: every caller has `checked` from `walk`, which gives `Ok` only where all
    // bytes are ASCII or `utf8::is_valid` says so: bytes within strings are noted in `Seen`, and
    // outside of strings the grammar has ASCII alone.
    #[allow(unsafe_code)]
    unsafe {
        std::str::from_utf8_unchecked(checked)
    }
}
