//! Any field of any bytes, by what extract-type and every module of our SDK uses: it accepts what
//! RFC 8259 is, refuses the rest, and gives the text that is there.
//!
//! Input: the field, a line feed, the record's value.
#![no_main]

use std::borrow::Cow;

use gristmill_smartmodule::json::{Path, Value};
use libfuzzer_sys::fuzz_target;
use yardsticks::json::{self, Json, Member};
use yardsticks::lies_in;

fuzz_target!(|input: &[u8]| {
    let at = input.iter().position(|byte| *byte == b'\n');
    let (name, document) = at.map_or((&b"type"[..], input), |at| (&input[..at], &input[at + 1..]));
    let Ok(name) = std::str::from_utf8(name) else {
        return;
    };
    let Some(tokens) = tokens(name) else {
        assert!(name.parse::<Path>().is_err(), "`{name}` is no pointer");
        return;
    };
    let path: Path = name.parse().expect(name);
    // Memory that ends where the document does, so that reading on is reading elsewhere.
    let document: Box<[u8]> = document.into();
    let found = path.find(&document);

    let tree = std::str::from_utf8(&document).ok().and_then(json::parse);
    let Some(tree) = tree else {
        let malformed = found.expect_err("not one JSON document in UTF-8");
        assert!(malformed.offset <= document.len(), "{malformed}");
        assert!(!malformed.to_string().is_empty());
        assert!(Value::parse(&document).is_err());
        return;
    };
    let whole = Value::parse(&document).expect("one JSON document");
    assert_eq!(whole.raw(), tree.raw);
    let expect = tree.get(&tokens);
    match &found {
        Ok(found) => {
            assert_eq!(
                found.map(|value| value.raw()),
                expect.map(|member| member.raw)
            );
            if let (Some(value), Some(member)) = (found, expect) {
                assert!(lies_in(value.raw().as_bytes(), &document));
                assert_eq!(
                    &document[value.offset()..][..member.raw.len()],
                    member.raw.as_bytes()
                );
                text(value, member);
            }
        }
        Err(malformed) => assert!(tree.has_half_a_pair(), "{malformed}, though it is JSON"),
    }
    if !tree.has_half_a_pair() {
        let expect = expect.and_then(|member| plain(&member.value));
        by_serde_json(&document, &tokens, expect.as_deref());
    }
});

/// A value's text.
fn text(value: &Value<'_>, member: &Member<'_>) {
    match (value.text(), &member.value) {
        // Half of a surrogate pair is no text.
        (Err(_), Json::String(None)) => {}
        (Ok(text), Json::String(None)) => panic!("{text:?} of {}", member.raw),
        (text, value) => assert_eq!(text.ok(), Some(plain(value)), "{}", member.raw),
    }
}

fn plain<'a>(value: &'a Json<'_>) -> Option<Cow<'a, str>> {
    match value {
        Json::String(text) => text.as_deref().map(Cow::Borrowed),
        Json::Number(text) | Json::Bool(text) => Some(Cow::Borrowed(*text)),
        _ => None,
    }
}

/// A name, or the tokens of a JSON pointer; `None` for what is neither.
fn tokens(name: &str) -> Option<Vec<String>> {
    let Some(pointer) = name.strip_prefix('/') else {
        return (!name.is_empty()).then(|| vec![name.to_owned()]);
    };
    let token = |token: &str| {
        let mut text = String::new();
        let mut chars = token.chars();
        while let Some(c) = chars.next() {
            text.push(match (c, c == '~') {
                (_, true) => match chars.next()? {
                    '0' => '~',
                    '1' => '/',
                    _ => return None,
                },
                (c, false) => c,
            });
        }
        Some(text)
    };
    pointer.split('/').map(token).collect()
}

/// The yardstick against the parser that everybody uses, where that one can read it: it refuses
/// numbers beyond a double and more than 128 levels.
fn by_serde_json(document: &[u8], tokens: &[String], expect: Option<&str>) {
    let Ok(root) = serde_json::from_slice::<serde_json::Value>(document) else {
        return;
    };
    let pointer: String = tokens
        .iter()
        .map(|token| format!("/{}", token.replace('~', "~0").replace('/', "~1")))
        .collect();
    match root.pointer(&pointer) {
        Some(serde_json::Value::String(text)) => assert_eq!(Some(text.as_str()), expect),
        Some(serde_json::Value::Bool(bool)) => assert_eq!(Some(&*bool.to_string()), expect),
        Some(number @ serde_json::Value::Number(_)) => {
            let text = expect.expect("a number's text");
            let theirs: serde_json::Value = serde_json::from_str(text).expect("a number");
            assert_eq!(*number, theirs);
        }
        Some(_) | None => assert_eq!(expect, None),
    }
}
