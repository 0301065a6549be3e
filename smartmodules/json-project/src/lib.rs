//! Makes JSON records of some fields of JSON records, under other names if need be.
//!
//! ```yaml
//! transforms:
//!   - uses: json-project@0.1.0
//!     with: {fields: "wiki, type, domain=/meta/domain, page=title"}
//! ```
//!
//! makes `{"wiki":"enwiki","type":"edit","domain":"en.wikipedia.org","page":"Kafka"}` of an event.
//! Values are copied as they are written; the key is kept. A field given by pointer and without a
//! name gets its last token's. What a record does not have is left out, or is `null`, or is an error
//! (`missing`). A record that is not one whole, valid JSON document is an error with byte offset and
//! reason.

use std::str::FromStr;

use gristmill_smartmodule::json::{Path, Paths, write_string};
use gristmill_smartmodule::{Error, Output, Params, Record, Result, State, bail, smartmodule};

static PROJECTION: State<Projection> = State::new();

/// Reads the parameters.
///
/// # Errors
/// No fields, a field that is none, the same name twice.
#[smartmodule(init)]
pub fn init(params: Params) -> Result<()> {
    PROJECTION.set(Projection::new(params)?)
}

/// Makes the record.
///
/// # Errors
/// The record's value is malformed JSON, or a field is missing that must be there.
#[smartmodule(map)]
pub fn map(record: Record<'_>, output: &mut Output<'_>) -> Result<()> {
    PROJECTION.get()?.write(record.value(), output.value())
}

/// What the parameters say.
#[derive(Debug)]
struct Projection {
    paths: Paths,
    /// For each path: its name, as JSON, and the colon.
    names: Vec<Vec<u8>>,
    missing: Missing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missing {
    Omit,
    Null,
    Error,
}

impl Projection {
    fn new(mut params: Params) -> Result<Self> {
        let fields: String = params.required("fields")?;
        let missing = params.or("missing", Missing::Omit)?;
        params.finish()?;
        let (mut paths, mut names) = (Vec::new(), Vec::<Vec<u8>>::new());
        for field in fields.split(',').map(str::trim) {
            let (name, path) = match field.split_once('=') {
                Some((name, path)) => (Some(name.trim()), path.trim()),
                None => (None, field),
            };
            let path: Path = path.parse().map_err(|error| {
                Error::new(format_args!("parameter `fields`: `{field}`: {error}"))
            })?;
            let mut json = Vec::new();
            write_string(&mut json, name.unwrap_or(&path.name()));
            json.push(b':');
            if names.contains(&json) {
                bail!(
                    "parameter `fields`: two fields are called {}; rename one: NAME=FIELD",
                    String::from_utf8_lossy(&json[..json.len() - 1])
                );
            }
            paths.push(path);
            names.push(json);
        }
        Ok(Self {
            paths: Paths::new(paths),
            names,
            missing,
        })
    }

    fn write(&self, json: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let mut found = Vec::with_capacity(self.names.len());
        self.paths.find(json, &mut found)?;
        out.push(b'{');
        let mut first = true;
        for ((name, value), path) in self.names.iter().zip(found).zip(self.paths.iter()) {
            let raw = match (value, self.missing) {
                (Some(value), _) => value.raw(),
                (None, Missing::Null) => "null",
                (None, Missing::Omit) => continue,
                (None, Missing::Error) => bail!("the field `{path}` is missing"),
            };
            if !std::mem::take(&mut first) {
                out.push(b',');
            }
            out.extend_from_slice(name);
            out.extend_from_slice(raw.as_bytes());
        }
        out.push(b'}');
        Ok(())
    }
}

impl FromStr for Missing {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "omit" => Ok(Self::Omit),
            "null" => Ok(Self::Null),
            "error" => Ok(Self::Error),
            _ => Err("it can be omit, null or error"),
        }
    }
}

#[cfg(test)]
mod tests {
    use gristmill_smartmodule::params;

    use super::*;

    const EVENT: &str =
        r#"{"meta":{"domain":"d","x":[1, 2]},"type":"edit","title":"a \"b\"","n":1.0}"#;

    fn project(params: Params, json: &str) -> Result<String> {
        let mut out = Vec::new();
        Projection::new(params)?.write(json.as_bytes(), &mut out)?;
        Ok(String::from_utf8_lossy(&out).into_owned())
    }

    #[track_caller]
    fn check(fields: &str, expect: &str) {
        let made = project(params! { "fields" => fields }, EVENT).unwrap();
        assert_eq!(made, expect);
        Path::from_str("x").unwrap().find(made.as_bytes()).unwrap();
    }

    #[test]
    fn fields_in_the_order_asked_for() {
        check("type", r#"{"type":"edit"}"#);
        check("n, type", r#"{"n":1.0,"type":"edit"}"#);
        check("/meta/domain,/meta/x", r#"{"domain":"d","x":[1, 2]}"#);
        check(" page = title ", r#"{"page":"a \"b\""}"#);
        check("a\"b=/meta/x/1", r#"{"a\"b":2}"#);
        check("nothing", "{}");
        check("nothing,n", r#"{"n":1.0}"#);
        check("all=/meta", r#"{"all":{"domain":"d","x":[1, 2]}}"#);
    }

    #[test]
    fn what_is_missing() {
        let with = |missing: &str| {
            project(
                params! { "fields" => "user, type", "missing" => missing },
                EVENT,
            )
        };
        assert_eq!(with("omit").unwrap(), r#"{"type":"edit"}"#);
        assert_eq!(with("null").unwrap(), r#"{"user":null,"type":"edit"}"#);
        let error = with("error").unwrap_err();
        assert_eq!(error.to_string(), "the field `user` is missing");
        let error = with("none").unwrap_err().to_string();
        assert!(error.ends_with("it can be omit, null or error"), "{error}");
    }

    #[test]
    fn parameters_that_do_not_fit() {
        for (fields, error) in [
            ("", "`fields`: ``: give a name"),
            ("a,,b", "`fields`: ``: give a name"),
            ("a=", "`fields`: `a=`: give a name"),
            ("/a~2", "must be written `~0`"),
            ("a,a", "two fields are called \"a\""),
            ("type,/meta/type", "two fields are called \"type\""),
        ] {
            let text = Projection::new(params! { "fields" => fields }).unwrap_err();
            assert!(text.to_string().contains(error), "{fields}: {text}");
        }
    }

    #[test]
    fn what_is_no_json_is_an_error() {
        let error = project(params! { "fields" => "type" }, r#"{"type":"edit",}"#).unwrap_err();
        assert_eq!(
            error.to_string(),
            "malformed JSON at byte 15: trailing comma"
        );
    }
}
