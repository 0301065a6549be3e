//! Any text as a manifest, with the real connectors' descriptions: nothing panics, every mistake
//! points into the file, what is shown drives no terminal and shows no secret.
//!
//! Input: the file; after each NUL one `--set`.
#![no_main]

use std::sync::LazyLock;

use gristmill_manifest::{
    ConnectorSpec, Diagnostic, Label, Manifest, MapVariables, Origin, Override,
};
use libfuzzer_sys::fuzz_target;

static SPECS: LazyLock<Vec<ConnectorSpec>> = LazyLock::new(|| {
    [
        include_str!("../../connectors/sse-source/Connector.toml"),
        include_str!("../../connectors/redis-sink/Connector.toml"),
    ]
    .map(|text| ConnectorSpec::parse(text).expect("a Connector.toml"))
    .into()
});

/// No mutation makes this up.
const SECRET: &str = "Zq8-Wx7-Kp3-Secret";

static VARIABLES: LazyLock<MapVariables> = LazyLock::new(|| MapVariables {
    secrets: [("A".to_owned(), SECRET.to_owned())].into(),
    env: [("B".to_owned(), "60s".to_owned())].into(),
});

fuzz_target!(|input: &[u8]| {
    let mut parts = input.split(|byte| *byte == 0);
    let bytes = parts.next().unwrap_or_default();
    let overrides: Vec<Override> = parts
        .take(4)
        .filter_map(|set| Override::parse(std::str::from_utf8(set).ok()?).ok())
        .collect();
    let text = String::from_utf8_lossy(bytes);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let lines = lines(text);
    match Manifest::load_bytes("p.yaml", bytes, &SPECS, &overrides, &*VARIABLES) {
        Ok((manifest, warnings)) => {
            let plain = serde_json::to_string(&manifest).expect("a manifest is JSON");
            assert!(!plain.contains(SECRET), "a secret in {plain}");
            let debug = format!("{manifest:?}");
            assert!(!debug.contains(SECRET), "a secret in {debug}");
            warnings.iter().for_each(|warning| check(warning, &lines));
        }
        Err(errors) => {
            assert!(errors.error_count() > 0);
            errors.iter().for_each(|error| check(error, &lines));
            shown(&errors.render(false), "\n");
            shown(&errors.to_string(), "\n");
        }
    }
});

/// A mistake's places are in the file, and its text can be shown.
fn check(diagnostic: &Diagnostic, lines: &[&str]) {
    for label in std::iter::once(&diagnostic.primary).chain(&diagnostic.secondary) {
        place(label, lines);
    }
    shown(&diagnostic.to_string(), "");
    shown(&diagnostic.render(false), "\n");
    diagnostic.render(true);
    let json = diagnostic.to_json().to_string();
    assert!(!json.contains(SECRET), "a secret in {json}");
    assert!(!diagnostic.message.is_empty());
}

fn place(label: &Label, lines: &[&str]) {
    let chars = label.text.chars().count();
    assert!(label.column >= 1 && label.width >= 1, "{label:?}");
    // Right after the line's end is a place: something is missing there.
    assert!(label.column <= chars + 1, "{label:?}");
    assert!(
        label.column - 1 + label.width <= chars.max(label.column),
        "underlined beyond the line: {label:?}"
    );
    if let Origin::File { line, column, .. } = &label.origin {
        assert_eq!(*column, label.column);
        let there = line.checked_sub(1).and_then(|row| lines.get(row));
        assert_eq!(there, Some(&&*label.text), "line {line}");
    }
}

/// Text that goes to a terminal.
fn shown(text: &str, allowed: &str) {
    let bad = text.chars().find(|c| {
        (c.is_control() && !allowed.contains(*c))
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    });
    assert_eq!(bad, None, "in {text:?}");
    assert!(!text.contains(SECRET), "a secret in {text}");
}

/// By any of LF, CR LF and CR, their ends left out.
fn lines(text: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some(end) = rest.find(['\n', '\r']) {
        lines.push(&rest[..end]);
        let line_end = if rest[end..].starts_with("\r\n") {
            2
        } else {
            1
        };
        rest = &rest[end + line_end..];
    }
    lines.push(rest);
    lines
}
