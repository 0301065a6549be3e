//! Valid documents, mutated ones, and arbitrary bytes.

use std::borrow::Cow;

use gristmill_smartmodule::json::{Kind, Path, Paths, Value, write_string};
use proptest::prelude::*;

use crate::check;
use crate::documents::DOCUMENTS;

/// A document of any shape, in any spacing, with keys that are asked for.
fn document() -> impl Strategy<Value = String> {
    let space = || prop_oneof![5 => Just(""), 1 => Just(" "), 1 => Just("\r\n\t")];
    let scalar = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("false".to_owned()),
        any::<i64>().prop_map(|n| n.to_string()),
        any::<f64>().prop_filter_map("finite", |n| n.is_finite().then(|| format!("{n:e}"))),
        text(),
    ];
    let value = scalar.prop_recursive(5, 60, 6, move |inner| {
        let element = (space(), inner.clone(), space()).prop_map(|(a, v, b)| format!("{a}{v}{b}"));
        let member = (space(), key(), space(), element.clone())
            .prop_map(|(a, k, b, v)| format!("{a}{k}{b}:{v}"));
        prop_oneof![
            prop::collection::vec(element, 0..5).prop_map(|all| format!("[{}]", all.join(","))),
            prop::collection::vec(member, 0..6).prop_map(|all| format!("{{{}}}", all.join(","))),
        ]
    });
    (space(), value, space()).prop_map(|(a, v, b)| format!("{a}{v}{b}"))
}

/// An object as programs write it: without white space or with one space after each colon and
/// comma, its members mostly plain, some of them objects themselves; of some hundred bytes.
fn written() -> impl Strategy<Value = String> {
    prop_oneof![Just(""), Just(" ")].prop_flat_map(|space| {
        let plain = || {
            prop_oneof![
                3 => text(),
                3 => "0|[1-9][0-9]{0,17}",
                1 => "-?[0-9]{1,3}(\\.[0-9])?",
                1 => prop::sample::select(&["true", "false", "null", "tru", "falsy"][..])
                    .prop_map(str::to_owned),
            ]
        };
        let object = move |value: BoxedStrategy<String>, most| {
            let member = (key(), value).prop_map(move |(k, v)| format!("{k}:{space}{v}"));
            prop::collection::vec(member, 0..most)
                .prop_map(move |all| format!("{{{}}}", all.join(&format!(",{space}"))))
        };
        let inner = object(plain().boxed(), 4).boxed();
        let inner = prop_oneof![
            inner.clone(),
            object(inner.boxed(), 3),
            Just("[1]".to_owned())
        ];
        object(prop_oneof![5 => plain(), 1 => inner].boxed(), 20)
    })
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(r#""a""#.to_owned()),
        Just(r#""b""#.to_owned()),
        Just(r#""type""#.to_owned()),
        Just(r#""\u0061""#.to_owned()),
        text(),
    ]
}

/// A string in quotes: plain, with escapes, with text of any language.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        6 => "[a-z ]{0,20}",
        2 => "\\PC{0,6}".prop_map(|text| text.replace(['"', '\\'], "")),
        1 => prop_oneof![
            Just(r#"\""#.to_owned()), Just(r"\\".to_owned()), Just(r"\/".to_owned()),
            Just(r"\n".to_owned()), Just(r"\u00e9".to_owned()), Just(r"\ud83d\ude00".to_owned()),
            Just(r"\ud83d".to_owned()), Just(r"\udead".to_owned()),
        ],
    ];
    prop::collection::vec(piece, 0..5).prop_map(|pieces| format!("\"{}\"", pieces.concat()))
}

fn path() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        Just("a"),
        Just("type"),
        Just("/a/b"),
        Just("/a/0"),
        Just("/0/a"),
        Just("/1"),
        Just("/b/a/a"),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn valid_documents(json in document(), path in path()) {
        check(path, json.as_bytes());
    }

    #[test]
    fn written_documents(json in written(), path in path()) {
        check(path, json.as_bytes());
    }

    /// A document at any distance from where words of 64 bytes and windows of such words start.
    #[test]
    fn shifted_documents(json in document(), path in path(), shift in 0..200_usize) {
        let pad = "y".repeat(shift);
        check(path, format!(r#"{{"pad":"{pad}","a":{json},"b":{json}}}"#).as_bytes());
        check(path, format!(r#"["{pad}",{json}]"#).as_bytes());
    }

    #[test]
    fn mutated_documents(
        json in prop_oneof![document(), written(), prop::sample::select(&DOCUMENTS[..]).prop_map(str::to_owned)],
        path in path(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 1..4),
    ) {
        let mut bytes = json.into_bytes();
        for (at, byte, how) in changes {
            let at = at.index(bytes.len() + 1);
            match how {
                0 => bytes.insert(at, byte),
                1 => bytes.insert(at, b"{}[]\",:\\ 0-.eu"[usize::from(byte) % 14]),
                2 if at < bytes.len() => { bytes.remove(at); }
                _ if at < bytes.len() => bytes[at] = byte,
                _ => bytes.truncate(at),
            }
        }
        check(path, &bytes);
    }

    #[test]
    fn arbitrary_bytes(bytes in prop::collection::vec(any::<u8>(), 0..100), path in path()) {
        check(path, &bytes);
    }

    #[test]
    fn arbitrary_tokens(
        tokens in prop::collection::vec(
            prop::sample::select(&[
                "{", "}", "[", "]", ",", ":", "\"", "\"a\"", "\"b\"", "1", "-", "0", ".", "e", "true", "nul", "null",
                " ", "\n", "\\", "\\u", "00e9", "\u{e9}", "\u{0}",
            ][..]),
            0..30,
        ),
        path in path(),
    ) {
        check(path, tokens.concat().as_bytes());
    }

    /// Accepted is what serde_json accepts, whatever is asked for; where it makes a tree of it, the
    /// tree has the same leaves.
    #[test]
    fn trees(json in document()) {
        let theirs = serde_json::from_str::<serde::de::IgnoredAny>(&json);
        let ours = Value::parse(json.as_bytes());
        prop_assert_eq!(ours.is_ok(), theirs.is_ok());
        if let (Ok(ours), Ok(tree)) = (ours, serde_json::from_str::<serde_json::Value>(&json)) {
            same(ours, &tree);
        }
    }

    #[test]
    fn several_fields_in_one_pass(json in document(), paths in prop::collection::vec(path(), 1..5)) {
        let paths: Vec<Path> = paths.iter().map(|path| path.parse().unwrap()).collect();
        let one_by_one: Result<Vec<_>, _> =
            paths.iter().map(|path| path.find(json.as_bytes())).collect();
        let mut found = Vec::new();
        let all = Paths::new(paths).find(json.as_bytes(), &mut found);
        // Keys with half a character are errors of the member that holds them: which is met first
        // depends on the order of the paths alone, and so is the same.
        if let (Ok(one_by_one), Ok(())) = (&one_by_one, &all) {
            prop_assert_eq!(one_by_one, &found);
        } else {
            prop_assert_eq!(one_by_one.err(), all.err());
        }
    }

    #[test]
    fn what_is_written_reads_back(text in any::<String>()) {
        let mut json = Vec::new();
        write_string(&mut json, &text);
        prop_assert_eq!(serde_json::from_slice::<String>(&json).unwrap(), text.as_str());
        let value = Value::parse(&json).unwrap();
        prop_assert_eq!(value.text().unwrap(), Some(Cow::Borrowed(text.as_str())));
    }
}

/// The same kinds, elements and texts, all the way down.
fn same(ours: Value<'_>, theirs: &serde_json::Value) {
    let kind = match theirs {
        serde_json::Value::Null => Kind::Null,
        serde_json::Value::Bool(_) => Kind::Boolean,
        serde_json::Value::Number(_) => Kind::Number,
        serde_json::Value::String(_) => Kind::String,
        serde_json::Value::Array(_) => Kind::Array,
        serde_json::Value::Object(_) => Kind::Object,
    };
    assert_eq!(ours.kind(), kind);
    match theirs {
        serde_json::Value::String(text) => assert_eq!(ours.text().unwrap().unwrap(), *text),
        serde_json::Value::Array(elements) => {
            let own = ours.elements();
            assert_eq!(own.len(), elements.len());
            own.into_iter().zip(elements).for_each(|(a, b)| same(a, b));
        }
        serde_json::Value::Object(members) => {
            let own = ours.members().unwrap();
            assert!(own.iter().all(|(key, _)| members.contains_key(&**key)));
            assert!(
                members
                    .keys()
                    .all(|key| own.iter().any(|(own, _)| own == key))
            );
            for (key, value) in members {
                let pointer = format!("/{}", key.replace('~', "~0").replace('/', "~1"));
                let path: Path = pointer.parse().unwrap();
                same(path.find_in(&ours).unwrap().unwrap(), value);
            }
        }
        _ => {}
    }
}
