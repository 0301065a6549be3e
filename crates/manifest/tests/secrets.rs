//! Secrets are filled in, and in no rendering.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests, which clippy takes for other code"
)]

mod common;

use common::{PIPELINE, specs};
use gristmill_manifest::{
    ConnectorSpec, Diagnostic, Diagnostics, Manifest, MapVariables, SectionMistake, Variables,
};

const SECRET: &str = "hunter2: {\"x\"}";

fn vars() -> MapVariables {
    MapVariables {
        secrets: [("REDIS_PASSWORD", SECRET), ("BAD", "not a url\u{1b}")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into(),
        env: [("HOST", "redis.example"), ("API_TOKEN", "tok-123456")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into(),
    }
}

fn load_with(
    text: &str,
    specs: &[ConnectorSpec],
    vars: &dyn Variables,
) -> Result<(Manifest, Vec<Diagnostic>), Diagnostics> {
    Manifest::load("pipeline.yaml", text, specs, &[], vars)
}

fn with_secrets(from: &str, to: &str) -> String {
    let text = PIPELINE.replace(from, to);
    let text = text.replace(
        "      topic: wikipedia-edits\n",
        "      topic: wikipedia-edits\n      secrets: [{name: REDIS_PASSWORD}, {name: BAD}, {name: NONE}]\n",
    );
    assert_ne!(text, PIPELINE);
    text
}

#[test]
fn filled_in_after_parsing_and_shown_as_written() {
    let text = with_secrets(
        "count: \"{value}\"",
        "password: ${{ secrets.REDIS_PASSWORD }}\n      username: u-${{env.HOST}}-${{ env.API_TOKEN }}",
    );
    let text = text.replace(
        "{field: type}",
        "{field: type, key: \"${{ secrets.REDIS_PASSWORD }}\"}",
    );
    let text = text.replace("127.0.0.1:6379", "me:inline-pw@${{ env.HOST }}");
    let (manifest, _) = load_with(&text, &specs(), &vars()).unwrap_or_else(|e| panic!("{e}"));
    let sink = &manifest.connectors[1];
    assert_eq!(sink.section.value()["password"], SECRET);
    assert_eq!(
        sink.section.value()["username"],
        "u-redis.example-tok-123456"
    );
    assert_eq!(
        sink.section.value()["url"],
        "redis://me:inline-pw@redis.example/0"
    );
    assert_eq!(&*sink.transforms[0].with["key"], SECRET);
    assert_eq!(
        sink.section.as_written()["password"],
        "${{ secrets.REDIS_PASSWORD }}"
    );
    let json = serde_json::to_string(&manifest).unwrap();
    for shown in [
        format!("{manifest:?}"),
        format!("{sink:#?}"),
        json,
        format!("{:?}", sink.section),
    ] {
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(!shown.contains("tok-123456"), "{shown}");
    }
    let log = format!(
        "cannot auth with {SECRET} at redis://me:inline-pw@h, {:?}, tok-123456",
        SECRET
    );
    let masked = manifest.redactions().apply(&log);
    for secret in ["hunter2", "inline-pw", "tok-123456"] {
        assert!(!masked.contains(secret), "{masked}");
    }
    assert!(!format!("{:?}", manifest.redactions()).contains("hunter2"));
}

#[test]
fn errors_show_the_variable_and_not_its_value() {
    for (key, value) in [
        ("url: redis://127.0.0.1:6379/0", "url: ${{ secrets.BAD }}"),
        ("count: \"{value}\"", "timeout: ${{ secrets.BAD }}"),
        ("count: \"{value}\"", "count: \"{${{ secrets.BAD }}\""),
        ("with: {field: type}", "with: [\"${{ secrets.BAD }}\"]"),
    ] {
        let errors = load_with(&with_secrets(key, value), &specs(), &vars()).unwrap_err();
        let shown = format!(
            "{}{}{errors}{errors:?}",
            errors.render(true),
            errors.to_json()
        );
        assert!(!shown.contains("not a url"), "{shown}");
        assert!(shown.contains("${{ secrets.BAD }}"), "{shown}");
    }
}

#[test]
fn a_missing_one_is_an_error_at_its_place() {
    let text = with_secrets("count: \"{value}\"", "password: ${{ secrets.NONE }}");
    let text = load_with(&text, &specs(), &vars()).unwrap_err().to_string();
    assert!(
        text.ends_with(": error: the secret `NONE` has no value"),
        "{text}"
    );
    assert!(text.starts_with("pipeline.yaml:4"), "{text}");
    let text = with_secrets(
        "count: \"{value}\"",
        "password: ${{ secrets.REDIS_PASSWROD }}",
    );
    let errors = load_with(&text, &specs(), &vars()).unwrap_err();
    assert!(
        errors
            .render(false)
            .contains("did you mean `REDIS_PASSWORD`?"),
        "{errors}"
    );
}

#[test]
fn the_pipelines_secrets_serve_kafka_too() {
    let text = PIPELINE.replace("version: 0.1.0}\n\nkafka:", "version: 0.1.0, secrets: [{name: REDIS_PASSWORD}]}\n\nkafka:\n  properties: {sasl.password: \"${{ secrets.REDIS_PASSWORD }}\"}");
    let (manifest, _) = load_with(&text, &specs(), &vars()).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(&*manifest.kafka.properties["sasl.password"], SECRET);
    assert!(!format!("{manifest:?}").contains("hunter2"));
}

#[derive(Debug, serde::Deserialize)]
struct Strict {
    #[expect(dead_code, reason = "never read: it does not deserialise")]
    password: u64,
}

#[test]
fn a_connectors_own_check_is_masked_and_placed() {
    let check = |value: &serde_json::Value| {
        serde_json::from_value::<Strict>(value.clone())
            .map(drop)
            .map_err(SectionMistake::whole)
    };
    let mut specs = specs();
    specs[1] = specs[1].clone().with_check(check);
    let text = with_secrets(
        "count: \"{value}\"",
        "password: ${{ secrets.REDIS_PASSWORD }}",
    );
    let shown = load_with(&text, &specs, &vars()).unwrap_err().render(false);
    assert!(
        shown.contains("`redis`: invalid type: string \"***\""),
        "{shown}"
    );
    let (manifest, _) = load_with(&text, &common::specs(), &vars()).unwrap();
    let error = manifest.connectors[1]
        .section
        .parse::<Strict>()
        .unwrap_err();
    assert!(!error.to_string().contains("hunter2") && error.to_string().contains("***"));
}
