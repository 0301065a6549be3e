//! What the SSE source itself looks for in an event (key, timestamp, id), and what it does to ids
//! of Wikimedia's form: any text, no panic, and what is found is what is there.
//!
//! Input: a JSON pointer, a line feed, the event's data (which is also taken for an event id).
#![no_main]

#[allow(
    dead_code,
    reason = "the connector's file, of which this target uses what it fuzzes"
)]
#[path = "../../connectors/sse-source/src/extract.rs"]
mod extract;
#[allow(
    dead_code,
    reason = "the connector's file, of which this target uses what it fuzzes"
)]
#[path = "../../connectors/sse-source/src/resume.rs"]
mod resume;

use extract::{Extractor, Pointer, text, timestamp_ms};
use libfuzzer_sys::fuzz_target;
use yardsticks::json::{self, Json, Member};

/// Pointers of the shipped pipeline: one below another, siblings, an array's element.
const FIXED: [(&str, &[&str]); 5] = [
    ("/meta/id", &["meta", "id"]),
    ("/meta", &["meta"]),
    ("/id", &["id"]),
    ("/list/1", &["list", "1"]),
    ("", &[]),
];

fuzz_target!(|input: &str| {
    let Some((name, data)) = input.split_once('\n') else {
        return;
    };
    // Without escapes: json_field has those.
    let own = (!name.contains('~'))
        .then(|| Pointer::parse(name))
        .flatten();
    let own_tokens: Vec<String> = name.split('/').skip(1).map(str::to_owned).collect();

    let mut extractor = Extractor::default();
    let fixed = FIXED.map(|(pointer, tokens)| {
        let pointer = Pointer::parse(pointer).expect(pointer);
        let tokens: Vec<String> = tokens.iter().map(|t| (*t).to_owned()).collect();
        (extractor.add(&pointer), tokens)
    });
    let own = own.map(|pointer| (extractor.add(&pointer), own_tokens));
    let found = extractor.extract(data);
    match (&found, json::parse(data)) {
        (Some(_), None) => panic!("taken for JSON: {data}"),
        (None, None) => {}
        // Strings that are no text, numbers that are no double: such an event has no key.
        (None, Some(tree)) => assert!(
            tree.has_half_a_pair() || has_huge_number(&tree),
            "not taken for JSON: {data}"
        ),
        (Some(found), Some(tree)) => {
            for (slot, tokens) in fixed.iter().chain(&own) {
                let expect = tree.get(tokens);
                assert_eq!(found[*slot], expect.map(|member| member.raw), "{tokens:?}");
                if let Some(member) = expect {
                    value(member);
                }
            }
        }
    }
    ids(data);
});

/// A value's text.
fn value(member: &Member<'_>) {
    let text = text(member.raw);
    match &member.value {
        Json::Null => assert_eq!(text, None),
        Json::String(Some(content)) => assert_eq!(text.as_deref(), Some(content.as_str())),
        Json::String(None) => assert!(text.is_some()),
        _ => assert_eq!(text.as_deref(), Some(member.raw)),
    }
    if let Some(ms) = text.as_deref().and_then(timestamp_ms) {
        assert!((0..253_402_300_800_000).contains(&ms), "{ms}");
    }
}

/// Whether it holds a number beyond a double, which serde_json may refuse.
fn has_huge_number(tree: &Member<'_>) -> bool {
    match &tree.value {
        Json::Number(text) => text.parse::<f64>().is_ok_and(f64::is_infinite),
        Json::Array(items) => items.iter().any(has_huge_number),
        Json::Object(members) => members.iter().any(|(_, member)| has_huge_number(member)),
        _ => false,
    }
}

/// Going back and merging loses no entry: a topic that an id does not name falls silent.
fn ids(id: &str) {
    let count = |id: &str| {
        let entries: Result<Vec<serde_json::Value>, _> = serde_json::from_str(id);
        entries.map(|entries| entries.len())
    };
    let _ = resume::stamp_ms(id, Some(("a", 0)));
    for newest_ms in [
        None,
        Some(1_700_000_000_000),
        Some(i64::MIN),
        Some(i64::MAX),
    ] {
        if let Some(back) = resume::rewind(id, 60_000, newest_ms) {
            assert_eq!(count(&back).ok(), count(id).ok(), "{back}");
        }
    }
    let other = r#"[{"topic":"a","partition":0,"timestamp":1700000000001},{"topic":"b","partition":0,"offset":-1}]"#;
    for (current, new) in [(id, other), (other, id)] {
        if let Some(merged) = resume::later(current, new) {
            assert!(count(&merged).ok() >= count(new).ok(), "{merged}");
        }
    }
    let _ = resume::Token::parse(id);
}
