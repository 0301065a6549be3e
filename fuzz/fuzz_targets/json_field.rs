//! Any field of any bytes, by what SmartModules use: it accepts what RFC 8259 is, refuses the
//! rest, and gives the text that is there.
//!
//! Input: the parameter `field`, a line feed, the record's value.
#![no_main]

use std::borrow::Cow;

use gristmill_smartmodule::json::Path;
use libfuzzer_sys::fuzz_target;
use yardsticks::json::{self, Json};

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
    let field: Path = name.parse().expect(name);
    let result = field.find(document).and_then(|found| match found {
        Some(value) => value.text(),
        None => Ok(None),
    });

    let tree = match std::str::from_utf8(document).ok() {
        Some(text) => json::parse(text),
        None => None,
    };
    let Some(tree) = tree else {
        let malformed = result.expect_err("not one JSON document in UTF-8");
        assert!(malformed.offset <= document.len(), "{malformed}");
        return;
    };
    let expect = match tree.get(&tokens).map(|member| &member.value) {
        Some(Json::String(Some(text))) => Some(Cow::Borrowed(text.as_str())),
        Some(Json::Number(text) | Json::Bool(text)) => Some(Cow::Borrowed(*text)),
        // Half of a surrogate pair is no text: an error, or what the parser makes of it.
        Some(Json::String(None)) => return,
        _ => None,
    };
    match result {
        Ok(found) => assert_eq!(found, expect),
        Err(malformed) => assert!(
            tree.has_half_a_pair(),
            "{malformed}, though it is JSON: {}",
            String::from_utf8_lossy(document)
        ),
    }
    by_serde_json(document, &tokens, expect.as_deref());
});

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
