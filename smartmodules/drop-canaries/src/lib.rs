//! Drops Wikimedia's canary events: `meta.domain` is `canary`.
//!
//! Wikimedia sends them about hourly into every stream, so that silence can be told from failure.
//! They are no edits and carry no `type`. A record that is not one whole, valid JSON document is an
//! error with byte offset and reason; one without `meta` is no canary.

use gristmill_smartmodule::json::Path;
use gristmill_smartmodule::{Record, Result, State, smartmodule};

static DOMAIN: State<Option<Path>> = State::new();

/// Keeps what is no canary.
///
/// # Errors
/// The record's value is malformed JSON.
#[smartmodule(filter)]
pub fn filter(record: Record<'_>) -> Result<bool> {
    // Parsed once; the pointer is valid.
    let Some(domain) = DOMAIN.get_or(|| "/meta/domain".parse().ok()) else {
        return Ok(true);
    };
    let canary = match domain.find(record.value())? {
        Some(value) => value.text()?.is_some_and(|text| text == "canary"),
        None => false,
    };
    Ok(!canary)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(json: &str, kept: bool) {
        assert_eq!(filter(Record::new(json)).unwrap(), kept, "{json}");
    }

    #[test]
    fn canaries_go_and_all_else_stays() {
        check(r#"{"meta":{"domain":"canary"}}"#, false);
        check(r#"{"meta":{"domain":"c\u0061nary"},"x":1}"#, false);
        check(
            r#"{"meta":{"domain":"en.wikipedia.org"},"type":"edit"}"#,
            true,
        );
        check(
            r#"{"meta":{"domain":"canary","domain":"en.wikipedia.org"}}"#,
            true,
        );
        check(
            r#"{"domain":"canary","comment":"{\"meta\":{\"domain\":\"canary\"}}"}"#,
            true,
        );
        check(r#"{"meta":["canary"]}"#, true);
        check(r#"{"meta":{"domain":["canary"]}}"#, true);
        check("[]", true);
    }

    #[test]
    fn what_is_no_json_is_an_error() {
        let error = filter(Record::new(r#"{"meta":{"domain":"canary"}"#)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "malformed JSON at byte 27: EOF while parsing an object"
        );
    }
}
