//! `json` against `serde_json`: what is accepted, what is found, and what errors say.
//!
//! The reference is the stock twin of `extract-type`, which takes a field out by `serde_json` and
//! validates the whole document: the same sources, compiled here.

#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

#[path = "../../../../smartmodules/test-guests/stock-extract-type/src/error.rs"]
mod error;
#[path = "../../../../smartmodules/test-guests/stock-extract-type/src/field.rs"]
mod field;

mod documents;
mod properties;

pub use error::Malformed;
pub use field::Field;

use gristmill_smartmodule::json::{Path, Reason};

/// Both give the same text, or the same error at the same byte.
#[track_caller]
fn check(path: &str, json: &[u8]) {
    let theirs = Field::parse(path).unwrap().extract(json);
    let parsed: Path = path.parse().unwrap();
    let ours = parsed.find(json).and_then(|found| match found {
        Some(value) => value.text(),
        None => Ok(None),
    });
    let shown = || format!("{path} of {:?}", String::from_utf8_lossy(json));
    match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => assert_eq!(ours, theirs, "{}", shown()),
        (Err(ours), Err(theirs)) => {
            assert_eq!(ours.reason.to_string(), theirs.reason, "{}", shown());
            let byte = json.get(ours.offset).copied();
            let allowed = match ours.offset as isize - theirs.offset as isize {
                0 => true,
                // serde_json counts from the line after a line feed that is in the way,
                -1 => byte == Some(b'\n'),
                // points before a control character in a string that it skips,
                1 if ours.reason == Reason::ControlCharacter => byte.is_some_and(|b| b < b' '),
                // and before the end where a number just ends.
                1 if ours.reason == Reason::InvalidNumber => byte.is_none(),
                _ => false,
            };
            let (ours, theirs) = (ours.offset, theirs.offset);
            assert!(allowed, "{}: at {ours}, serde_json at {theirs}", shown());
        }
        (ours, theirs) => panic!("{}: {ours:?}, serde_json {theirs:?}", shown()),
    }
}
