use gristmill_smartmodule::params;

use super::*;

/// What `field` gives for `json`: the text, `None`, or the error.
fn extract(field: &str, json: &str) -> Result<Option<String>, String> {
    extract_bytes(field, json.as_bytes())
}

fn extract_bytes(field: &str, json: &[u8]) -> Result<Option<String>, String> {
    let field = field.parse().unwrap();
    match super::extract(&field, json) {
        Ok(text) => Ok(text.map(Cow::into_owned)),
        Err(error) => Err(error.to_string()),
    }
}

/// What the UDF for Arroyo must do as well: it is tested on the same file.
#[test]
fn the_table_of_cases() {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Case {
        field: String,
        json: String,
        text: Option<String>,
        /// What the error begins with, if it is one.
        error: Option<String>,
    }
    let mut cases = 0;
    for line in include_str!("../tests/cases.ndjson").lines() {
        let case: Case = serde_json::from_str(line).unwrap();
        let got = extract(&case.field, &case.json);
        match case.error {
            None => assert_eq!(got, Ok(case.text), "{line}"),
            Some(error) => {
                let got = got.expect_err(line);
                assert!(got.starts_with(&error), "{line}: {got}");
            }
        }
        cases += 1;
    }
    assert!(cases > 70, "{cases}");
}

#[test]
fn invalid_utf8_is_an_error_wherever_it_is() {
    for json in [
        &b"{\"type\":\"edit\",\"x\":\"\xff\"}"[..],
        b"{\"type\":\"edit\"}\xc3",
    ] {
        let error = extract_bytes("type", json).unwrap_err();
        assert!(error.ends_with("invalid UTF-8"), "{error}");
    }
}

#[test]
fn deep_nesting_does_not_exhaust_the_stack() {
    let deep = 100_000;
    let json = format!(
        r#"{{"x":{}{},"type":"edit"}}"#,
        "[".repeat(deep),
        "]".repeat(deep)
    );
    assert_eq!(extract("type", &json), Ok(Some("edit".to_owned())));
}

#[test]
fn unknown_parameters_are_an_error() {
    let error = init(params! { "feild" => "type" }).unwrap_err();
    assert_eq!(
        error.to_string(),
        "unknown parameter `feild`; extract-type takes: field"
    );
}

#[test]
fn an_empty_field_is_an_error() {
    let error = init(params! { "field" => "" }).unwrap_err();
    assert!(error.to_string().contains("`field` is empty"), "{error}");
}

#[test]
fn a_bad_pointer_escape_is_an_error() {
    let error = init(params! { "field" => "/a~2" }).unwrap_err();
    assert!(error.to_string().contains("~"), "{error}");
}

#[test]
fn the_key_is_kept() {
    init(params! {}).unwrap();
    let record = Record::new(r#"{"type":"edit"}"#).with_key("k");
    let made = filter_map(record).unwrap();
    assert_eq!(made, Some((Some(&b"k"[..]), Cow::Borrowed("edit"))));
    assert_eq!(filter_map(Record::new("{}")).unwrap(), None);
    let error = filter_map(Record::new("{")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "malformed JSON at byte 1: EOF while parsing an object"
    );
}
