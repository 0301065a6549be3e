//! Replaces a JSON record by the text of one of its fields; the key is kept.
//!
//! | the field is | the record becomes |
//! |---|---|
//! | a string | its text, escapes decoded |
//! | a number or a boolean | its JSON text, as written (`1.0` stays `1.0`) |
//! | absent, `null`, an object or an array | nothing: it is filtered out |
//!
//! A record that is not one whole, valid JSON document is an error with byte offset and reason.
//! Parameter `field` names a top-level field, or any place by a JSON pointer (RFC 6901, starts
//! with `/`); it is `type` unless given. Of duplicate keys the last one counts.

use std::borrow::Cow;

use gristmill_smartmodule::json::{Malformed, Path};
use gristmill_smartmodule::{Keyed, Params, Record, Result, State, smartmodule};

/// Which field to extract unless parameter `field` says so.
const FIELD_DEFAULT: &str = "type";

static FIELD: State<Path> = State::new();

/// Reads the parameters.
///
/// # Errors
/// A parameter that is not `field`, or a `field` that is no name and no JSON pointer.
#[smartmodule(init)]
pub fn init(mut params: Params) -> Result<()> {
    let field = params.or("field", FIELD_DEFAULT.parse()?)?;
    params.finish()?;
    FIELD.set(field)
}

/// Extracts the field.
///
/// # Errors
/// The record's value is malformed JSON.
#[smartmodule(filter_map)]
pub fn filter_map<'a>(record: Record<'a>) -> Result<Option<Keyed<'a, Cow<'a, str>>>> {
    let text = extract(FIELD.get()?, record.value())?;
    Ok(text.map(|text| (record.key(), text)))
}

/// The text of `field` in the document `json`; `None` if it is absent, null, an object or an array.
fn extract<'a>(field: &Path, json: &'a [u8]) -> Result<Option<Cow<'a, str>>, Malformed> {
    match field.find(json)? {
        Some(value) => value.text(),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests;
