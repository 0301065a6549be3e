//! Replaces a JSON record by the text of one of its fields, and drops it where there is none.

use std::borrow::Cow;

use gristmill_smartmodule::{Keyed, Params, Record, Result, State, json, smartmodule};

/// Set once by `init`, before the first record.
static FIELD: State<json::Path> = State::new();

/// Takes the parameters, which `SmartModule.toml` describes.
#[smartmodule(init)]
fn init(mut params: Params) -> Result<()> {
    FIELD.set(params.required("field")?)?;
    params.finish()
}

/// An error sends the record to the dead-letter topic, with the error's words.
#[smartmodule(filter_map)]
fn filter_map<'a>(record: Record<'a>) -> Result<Option<Keyed<'a, Cow<'a, str>>>> {
    let text = field(FIELD.get()?, record.value())?;
    Ok(text.map(|text| (record.key(), text)))
}

fn field<'a>(path: &json::Path, document: &'a [u8]) -> Result<Option<Cow<'a, str>>> {
    match path.find(document)? {
        Some(value) => Ok(value.text()?),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, document: &str, expect: Option<&str>) {
        let path = path.parse().unwrap();
        let found = field(&path, document.as_bytes()).unwrap();
        assert_eq!(found.as_deref(), expect);
    }

    #[test]
    fn a_field_by_name_or_pointer() {
        check("type", r#"{"type":"edit"}"#, Some("edit"));
        check("/meta/domain", r#"{"meta":{"domain":"canary"}}"#, Some("canary"));
        check("type", r#"{"other":1}"#, None);
    }

    #[test]
    fn a_document_that_is_broken_is_an_error() {
        let path = "type".parse().unwrap();
        assert!(field(&path, b"{\"type\":\"edit\"").is_err());
    }
}
