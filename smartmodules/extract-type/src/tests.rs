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

#[track_caller]
fn gives(field: &str, json: &str, text: &str) {
    assert_eq!(
        extract(field, json),
        Ok(Some(text.to_owned())),
        "{field} of {json}"
    );
}

#[track_caller]
fn absent(field: &str, json: &str) {
    assert_eq!(extract(field, json), Ok(None), "{field} of {json}");
}

#[track_caller]
fn fails(field: &str, json: &str, error: &str) {
    assert_eq!(
        extract(field, json),
        Err(error.to_owned()),
        "{field} of {json}"
    );
}

#[test]
fn text_by_the_kind_of_field() {
    gives("type", r#"{"type":"edit"}"#, "edit");
    gives("type", r#"{"type":"142"}"#, "142");
    gives("type", r#"{"type":""}"#, "");
    gives("type", r#" { "type" : "edit" } "#, "edit");
    gives("id", r#"{"id":1900000000000}"#, "1900000000000");
    // As written: not through a float.
    for number in [
        "0",
        "-0",
        "1.0",
        "1e5",
        "1E+400",
        "123456789012345678901234567890",
    ] {
        gives("n", &format!(r#"{{"n":{number}}}"#), number);
    }
    gives("bot", r#"{"bot":false}"#, "false");
    for none in ["null", "{}", r#"{"type":"x"}"#, "[]", r#"["edit"]"#] {
        absent("type", &format!(r#"{{"type":{none}}}"#));
    }
}

#[test]
fn only_the_very_field_counts() {
    absent("type", r#"{"log_type":"block","types":1,"Type":2,"typ":3}"#);
    absent(
        "type",
        r#"{"log_params":{"type":"nested"},"a":[{"type":1}]}"#,
    );
    gives("type", r#"{"log_type":"block","type":"log"}"#, "log");
    gives(
        "type",
        r#"{"comment":"\"type\":\"fake\"","type":"edit"}"#,
        "edit",
    );
    gives("type", r#"{"comment":"\\","type":"edit"}"#, "edit");
    gives(
        "type",
        r#"{"a":"{\"type\":1","type":"edit","b":"}"}"#,
        "edit",
    );
}

#[test]
fn keys_and_strings_are_decoded() {
    gives("type", r#"{"\u0074ype":"edit"}"#, "edit");
    gives(
        "type",
        r#"{"type":"caf\u00e9 \ud83d\ude00\n\"\/"}"#,
        "café 😀\n\"/",
    );
    gives("naïve", r#"{"naïve":"ü"}"#, "ü");
    gives("a/b", r#"{"a/b":"name, not pointer"}"#, "name, not pointer");
}

#[test]
fn the_last_duplicate_counts() {
    gives("type", r#"{"type":"new","x":1,"type":"edit"}"#, "edit");
    absent("type", r#"{"type":"new","type":null}"#);
    absent("/a/b", r#"{"a":{"b":1},"a":{}}"#);
    absent("/a/b", r#"{"a":{"b":1},"a":7}"#);
}

#[test]
fn pointers() {
    let json = r#"{"meta":{"domain":"canary","":"e","a/b":"s","m~n":"t"},"xs":[10,[20]],"":"top"}"#;
    gives("/meta/domain", json, "canary");
    gives("/meta/", json, "e");
    gives("/", json, "top");
    gives("/meta/a~1b", json, "s");
    gives("/meta/m~0n", json, "t");
    gives("/xs/0", json, "10");
    gives("/xs/1/0", json, "20");
    for nothing in [
        "/xs/2",
        "/xs/00",
        "/xs/-",
        "/xs/+0",
        "/xs",
        "/meta",
        "/meta/domain/x",
    ] {
        absent(nothing, json);
    }
}

#[test]
fn documents_that_are_no_object_have_no_field() {
    for json in ["1", "\"type\"", "null", "true", "[]", " 1 ", "1e999"] {
        absent("type", json);
    }
}

#[test]
fn the_whole_document_is_validated() {
    fails(
        "type",
        "",
        "malformed JSON at byte 0: EOF while parsing a value",
    );
    fails(
        "type",
        "  ",
        "malformed JSON at byte 2: EOF while parsing a value",
    );
    fails(
        "type",
        r#"{"type":"edit""#,
        "malformed JSON at byte 14: EOF while parsing an object",
    );
    fails(
        "type",
        r#"{"type":"edit"} x"#,
        "malformed JSON at byte 16: trailing characters",
    );
    fails(
        "type",
        r#"{"type":"edit"}{}"#,
        "malformed JSON at byte 15: trailing characters",
    );
    fails(
        "type",
        r#"{"type":"edit","x":nul}"#,
        "malformed JSON at byte 22: expected ident",
    );
    for json in [
        r#"{"type":"edit","x":01}"#,
        r#"{"type":"edit","x":"\x"}"#,
        r#"{"type":"edit",}"#,
        r#"{"type":"edit" "x":1}"#,
        r#"{type:"edit"}"#,
        r#"{"type":'edit'}"#,
        r#"{"type":NaN}"#,
        r#"{"type":+1}"#,
        r#"{"type":1.}"#,
        r#"{"type":"\ud800"}"#,
        r#"{"type":"edit","x":[1,]}"#,
        r#"[1,2"#,
        "{\"type\":\"a\nb\"}",
        "\u{feff}{\"type\":\"edit\"}",
    ] {
        let error = extract("type", json).expect_err(json);
        assert!(
            error.starts_with("malformed JSON at byte "),
            "{json}: {error}"
        );
    }
}

#[test]
fn offsets_count_from_the_documents_start() {
    fails(
        "type",
        "{\n  \"type\": x\n}",
        "malformed JSON at byte 12: expected value",
    );
    // Found in the second pass, over the member alone.
    fails(
        "/a/b",
        r#"{"a":{"\ud800":1}}"#,
        "malformed JSON at byte 13: unexpected end of hex escape",
    );
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
    gives("type", &json, "edit");
    gives("/x/0", r#"{"x":["y"]}"#, "y");
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
