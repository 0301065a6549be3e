//! No text panics, whatever it is.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests, which clippy takes for other code"
)]

mod common;

use common::{PIPELINE, load, specs};
use gristmill_manifest::{ConnectorSpec, Manifest, MapVariables, Override};
use proptest::prelude::*;

/// Loads and renders everything there is to render.
fn exercise(text: &str, sets: &[String]) {
    let overrides: Vec<Override> = sets.iter().flat_map(|set| Override::parse(set)).collect();
    let vars = MapVariables::default();
    let bytes = text.as_bytes();
    match Manifest::load_bytes("p.yaml", bytes, &specs(), &overrides, &vars) {
        Ok((manifest, warnings)) => {
            serde_json::to_string(&manifest).unwrap();
            warnings
                .iter()
                .for_each(|warning| drop(warning.render(true)));
        }
        Err(errors) => {
            assert!(errors.error_count() > 0);
            errors.render(true);
            errors.to_json();
            let lines: Vec<_> = errors
                .iter()
                .map(|e| (e.primary.width, e.primary.column))
                .collect();
            assert!(
                lines
                    .iter()
                    .all(|(width, column)| *width > 0 && *column > 0)
            );
        }
    }
}

/// Pieces that YAML and this manifest care about.
fn token() -> impl Strategy<Value = String> {
    let tokens = [
        "{",
        "}",
        "[",
        "]",
        ": ",
        ":",
        "- ",
        "\n",
        "\n  ",
        "\n    ",
        "\t",
        "\"",
        "'",
        "&a ",
        "*a",
        "!!str ",
        "!x ",
        "? ",
        "| ",
        ">-\n",
        "#",
        " # ",
        "---\n",
        "...\n",
        "%YAML 1.2\n",
        "~",
        "null",
        "0.1",
        "-1",
        "1e999",
        "true",
        "é",
        "語",
        "\r\n",
        "\u{feff}",
        "\u{85}",
        "\u{2028}",
        "\\",
        "<<: ",
        "${{ secrets.A }}",
        "${{",
        "{{value}}",
        "meta: ",
        "name: ",
        "type: ",
        "sse-source",
        "redis-sink",
        "topic: ",
        "connectors:\n  - ",
        "topics: ",
        "kafka: ",
        "brokers: ",
        "apiVersion: 0.1.0\n",
        "transforms: ",
        "redis: ",
        "secrets: ",
        "partition: ",
        "9999999999999999999999",
    ];
    prop_oneof![
        8 => proptest::sample::select(tokens.to_vec()).prop_map(str::to_owned),
        1 => any::<char>().prop_map(String::from),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text(text in any::<String>()) {
        exercise(&text, &[]);
    }

    #[test]
    fn any_tokens(tokens in proptest::collection::vec(token(), 0..60)) {
        exercise(&tokens.concat(), &[]);
    }

    #[test]
    fn a_good_one_with_pieces_put_in_and_cut_out(
        edits in proptest::collection::vec((any::<proptest::sample::Index>(), 0_usize..20, token()), 1..6)
    ) {
        let mut chars: Vec<char> = PIPELINE.chars().collect();
        for (at, cut, token) in edits {
            let at = at.index(chars.len());
            let end = (at + cut).min(chars.len());
            chars.splice(at..end, token.chars());
        }
        exercise(&chars.into_iter().collect::<String>(), &[]);
    }

    #[test]
    fn any_override(path in "[a-z.\"=0-9-]{0,30}", key in "(connectors\\.(recentchange|type-counts|0|1)\\.)?[a-z]{0,8}(\\.[a-z0-9\"]{0,6}){0,4}", value in any::<String>()) {
        exercise(PIPELINE, &[format!("{path}={value}"), format!("{key}={value}")]);
    }

    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Manifest::load_bytes("p", &bytes, &specs(), &[], &MapVariables::default());
    }

    #[test]
    fn any_connector_toml(cut in 0_usize..2000, text in any::<String>()) {
        let good = include_str!("specs/redis-sink.toml");
        let cut = (0..=cut.min(good.len())).rev().find(|at| good.is_char_boundary(*at)).unwrap();
        let _ = ConnectorSpec::parse(&format!("{}{text}{}", &good[..cut], &good[cut..]));
    }
}

#[test]
fn big_ones_end_soon() {
    let start = std::time::Instant::now();
    for text in [
        "[".repeat(900_000),
        "{a: ".repeat(200_000),
        "- ".repeat(500_000),
        "a: b\n".repeat(200_000),
        (0..60_000).map(|n| format!("k{n}: v\n")).collect(),
        format!("x-a: {}\n", "\"".repeat(1_000_000)),
        "a".repeat(1_000_000),
        "? ".repeat(300_000),
        "&a ".repeat(300_000),
        "é".repeat(500_000),
        (0..5_000)
            .map(|n| format!("x{n}: ${{{{ env.A{n} }}}}\n"))
            .collect(),
    ] {
        assert!(load(&text).is_err());
    }
    assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
}

#[test]
fn bytes_that_are_no_text_are_where_they_are_told() {
    for (bytes, column) in [(&b"a: \xff"[..], 4), (b"\xef\xbb\xbfa: \xff", 4)] {
        let errors =
            Manifest::load_bytes("p", bytes, &specs(), &[], &MapVariables::default()).unwrap_err();
        let error = errors.iter().next().unwrap();
        assert!(error.message.contains("not UTF-8"), "{error}");
        assert_eq!(error.primary.column, column, "{error}");
        assert_eq!(error.primary.text, "a: \u{fffd}");
    }
}

#[test]
fn a_file_that_is_too_large_is_told_so_even_if_a_character_is_cut() {
    let mut bytes = vec![b' '; gristmill_manifest::TEXT_BYTES_MAX];
    bytes.push(0xc3);
    let errors =
        Manifest::load_bytes("p", &bytes, &specs(), &[], &MapVariables::default()).unwrap_err();
    assert!(
        errors.to_string().contains("more than 1048576 bytes"),
        "{errors}"
    );
}
