//! Makes a record of each element of a JSON array.
//!
//! ```yaml
//! transforms:
//!   - uses: array-split@0.1.0
//!     with: {field: /log_params/ids}
//! ```
//!
//! Elements are copied as they are written; with `text: "true"` a string becomes its text. The key
//! is kept. A field that is absent or `null` makes no records; one that is there and no array is an
//! error, and so is a record that is not one whole, valid JSON document.

use gristmill_smartmodule::json::{Kind, Path, Value};
use gristmill_smartmodule::{Outputs, Params, Record, Result, State, bail, smartmodule};

static SPLIT: State<Split> = State::new();

/// Reads the parameters.
///
/// # Errors
/// A parameter that is not what it must be, or unknown.
#[smartmodule(init)]
pub fn init(params: Params) -> Result<()> {
    SPLIT.set(Split::new(params)?)
}

/// Makes the records.
///
/// # Errors
/// The record's value is malformed JSON, or the field is there and no array.
#[smartmodule(array_map)]
pub fn array_map(record: Record<'_>, outputs: &mut Outputs<'_>) -> Result<()> {
    let split = SPLIT.get_or(Split::default);
    split.each(record.value(), |element| {
        outputs.push(record.key(), element)
    })
}

/// What the parameters say.
#[derive(Debug, Default)]
struct Split {
    /// `None` is the whole record.
    field: Option<Path>,
    text: bool,
}

impl Split {
    fn new(mut params: Params) -> Result<Self> {
        let split = Self {
            field: params.optional("field")?,
            text: params.or("text", false)?,
        };
        params.finish()?;
        Ok(split)
    }

    fn each(&self, json: &[u8], mut element: impl FnMut(&str)) -> Result<()> {
        let array = match &self.field {
            Some(field) => field.find(json)?,
            None => Some(Value::parse(json)?),
        };
        let Some(array) = array.filter(|value| value.kind() != Kind::Null) else {
            return Ok(());
        };
        if array.kind() != Kind::Array {
            let what = match &self.field {
                Some(field) => format!("the field `{field}`"),
                None => "the record".to_owned(),
            };
            bail!("{what} is no array at byte {}", array.offset());
        }
        for value in array.elements() {
            match value.kind() {
                Kind::String if self.text => {
                    element(&value.text()?.unwrap_or_default());
                }
                _ => element(value.raw()),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use gristmill_smartmodule::params;

    use super::*;

    fn split(params: Params, json: &str) -> Result<Vec<String>> {
        let mut made = Vec::new();
        Split::new(params)?.each(json.as_bytes(), |element| made.push(element.to_owned()))?;
        Ok(made)
    }

    #[test]
    fn elements_of_every_kind() {
        let json = r#" [ "a\n" , 1.0 , null , [ 1, 2 ] , {"x": "]"} ] "#;
        let raw = split(params! {}, json).unwrap();
        assert_eq!(
            raw,
            [r#""a\n""#, "1.0", "null", "[ 1, 2 ]", r#"{"x": "]"}"#]
        );
        let text = split(params! { "text" => "true" }, json).unwrap();
        assert_eq!(text[0], "a\n");
        assert_eq!(text[1..], raw[1..]);
        assert!(split(params! {}, "[]").unwrap().is_empty());
    }

    #[test]
    fn a_field() {
        let field = || params! { "field" => "/a/b" };
        assert_eq!(split(field(), r#"{"a":{"b":[1,2]}}"#).unwrap(), ["1", "2"]);
        assert!(split(field(), r#"{"a":{"b":null}}"#).unwrap().is_empty());
        assert!(split(field(), r#"{"a":1}"#).unwrap().is_empty());
        let error = split(field(), r#"{"a":{"b":"[1]"}}"#).unwrap_err();
        assert_eq!(error.to_string(), "the field `/a/b` is no array at byte 10");
    }

    #[test]
    fn errors() {
        let error = split(params! {}, "{}").unwrap_err();
        assert_eq!(error.to_string(), "the record is no array at byte 0");
        let error = split(params! {}, "[1,]").unwrap_err();
        assert_eq!(
            error.to_string(),
            "malformed JSON at byte 3: expected value"
        );
        let error = split(params! { "feild" => "a" }, "[]")
            .unwrap_err()
            .to_string();
        assert!(error.ends_with("did you mean `field`?"), "{error}");
    }
}
