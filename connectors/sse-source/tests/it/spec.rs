//! Configuration: what is written, what it means, and that `Connector.toml` says the same.

use std::sync::Arc;

use gristmill_flow::{Connector, LegStats, NoTail};
use gristmill_sse_source::{Config, ConfigError, SseSource};
use serde_json::{Value, json};

use crate::harness::config;

fn refused(more: Value) -> ConfigError {
    let config = config("http://example.org/stream", more);
    let stats = Arc::new(LegStats::default());
    match SseSource::new("test".into(), config, NoTail, stats) {
        Ok(_) => panic!("accepted"),
        Err(error) => error,
    }
}

#[test]
fn values_that_mean_nothing_are_refused_by_key() {
    for (more, key, part) in [
        (json!({"url": "stream"}), "sse.url", "`stream`"),
        (
            json!({"url": "ftp://example.org"}),
            "sse.url",
            "neither http nor https",
        ),
        (
            json!({"url": "https://me:hunter2@example.org"}),
            "sse.url",
            "sse.headers",
        ),
        (
            json!({"user-agent": " "}),
            "sse.user-agent",
            "who is asking",
        ),
        (json!({"headers": {"a b": "x"}}), "sse.headers", "`a b`"),
        (
            json!({"headers": {"x": "hunter2\n"}}),
            "sse.headers",
            "line break",
        ),
        (
            json!({"headers": {"User-Agent": "x"}}),
            "sse.headers",
            "sse.user-agent",
        ),
        (
            json!({"headers": {"Last-Event-ID": "x"}}),
            "sse.headers",
            "itself",
        ),
        (json!({"key": "id"}), "sse.key", "`id`"),
        (json!({"timestamp": "/a~"}), "sse.timestamp", "`/a~`"),
        (json!({"drop": {"x": "y"}}), "sse.drop", "`x`"),
        (json!({"dedupe": {"id": "x"}}), "sse.dedupe.id", "`x`"),
        (
            json!({"dedupe": {"id": "/x", "max": 0}}),
            "sse.dedupe.max",
            "at least 1",
        ),
        (json!({"rewind": "1m"}), "sse.rewind", "needs sse.dedupe"),
        (
            json!({"rewind": "90s", "dedupe": {"id": "/x"}}),
            "sse.dedupe.window",
            "3m or more",
        ),
        (json!({"since": "last week"}), "sse.since", "`last week`"),
        (
            json!({"event-bytes-max": 0}),
            "sse.event-bytes-max",
            "64 MiB",
        ),
        (
            json!({"batch": {"records": 0}}),
            "sse.batch.records",
            "at least 1",
        ),
        (
            json!({"batch": {"linger": "1s"}}),
            "sse.batch.linger-max",
            "linger",
        ),
        (json!({"read-timeout": "0s"}), "sse.read-timeout", "longer"),
        (
            json!({"retry": {"initial": "1h"}}),
            "sse.retry.max",
            "retry.initial",
        ),
        (
            json!({"url": "https://e.org", "tls": {"ca-file": "/nonexistent.pem"}}),
            "sse.tls.ca-file",
            "/nonexistent.pem",
        ),
        (
            json!({"url": "https://e.org", "tls": {"cert-file": "x.pem"}}),
            "sse.tls.key-file",
            "private key",
        ),
        (
            json!({"url": "http://e.org?token=hunter2", "tls": {}}),
            "sse.tls",
            "`http://e.org/` is not https",
        ),
    ] {
        let error = refused(more);
        let text = error.to_string();
        assert_eq!(error.key(), key, "{text}");
        assert!(
            text.starts_with(key) && text.contains(part),
            "{part} not in: {text}"
        );
        assert!(!text.contains("hunter2"), "a secret in: {text}");
    }
}

#[test]
fn unknown_keys_are_refused() {
    let error = serde_json::from_value::<Config>(json!({"url": "", "user-agent": "", "sinze": 1}));
    assert!(error.unwrap_err().to_string().contains("sinze"));
}

fn spec() -> toml::Table {
    <SseSource<NoTail> as Connector>::SPEC.parse().unwrap()
}

#[test]
fn the_specification_lists_exactly_the_keys_of_the_config() {
    let spec = spec();
    assert_eq!(spec["package"]["name"].as_str(), Some("sse-source"));
    assert_eq!(spec["direction"]["source"].as_bool(), Some(true));
    assert_eq!(spec["custom"]["name"].as_str(), Some("sse"));
    // serde names the fields it knows when it meets one that it does not.
    let listed = |base: Value, at: &[&str], properties: &toml::Value| {
        let mut section = base;
        let mut inner = &mut section;
        for key in at {
            inner = &mut inner[*key];
        }
        inner["no-such-key"] = json!(1);
        let error = serde_json::from_value::<Config>(section)
            .unwrap_err()
            .to_string();
        let (_, known) = error.split_once("expected ").expect(&error);
        let mut known: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
        known.sort_unstable();
        let mut stated: Vec<&str> = properties
            .as_table()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        stated.sort_unstable();
        assert_eq!(stated, known);
    };
    let base = json!({"url": "http://e.org", "user-agent": "x", "retry": {}, "dedupe": {"id": "/x"}, "batch": {}, "tls": {}});
    let properties = &spec["custom"]["properties"];
    listed(base.clone(), &[], properties);
    for key in ["retry", "dedupe", "batch", "tls"] {
        listed(base.clone(), &[key], &properties[key]["properties"]);
    }
}

#[test]
fn the_defaults_of_the_specification_are_those_of_the_config() {
    let spec = spec();
    fn defaults(properties: &toml::Value) -> Value {
        let mut object = serde_json::Map::new();
        for (key, property) in properties.as_table().unwrap() {
            if let Some(default) = property.get("default") {
                object.insert(key.clone(), serde_json::to_value(default).unwrap());
            } else if let Some(inner) = property.get("properties") {
                object.insert(key.clone(), defaults(inner));
            }
        }
        object.into()
    }
    let required = json!({"url": "https://e.org", "user-agent": "x"});
    let mut bare = required.clone();
    bare["dedupe"] = json!({"id": "/x"});
    bare["tls"] = json!({});
    let mut full = defaults(&spec["custom"]["properties"]);
    full.as_object_mut()
        .unwrap()
        .extend(required.as_object().unwrap().clone());
    full["dedupe"]["id"] = json!("/x");
    let bare: Config = serde_json::from_value(bare).unwrap();
    assert_eq!(serde_json::from_value::<Config>(full).unwrap(), bare);
    bare.validate().unwrap();
}
