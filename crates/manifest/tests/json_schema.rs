//! The exported JSON Schema takes what the loader takes, and refuses what a schema can refuse.
//! The evaluator here knows the keywords that the export uses, `pattern` aside.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests, which clippy takes for other code"
)]

mod common;

use common::{PIPELINE, load, specs};
use gristmill_manifest::{describe, json_schema};
use serde_json::{Value, json};

fn is(kind: &str, value: &Value) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        kind => panic!("type {kind}"),
    }
}

fn valid(schema: &Value, value: &Value) -> bool {
    let Some(keywords) = schema.as_object() else {
        return schema.as_bool().unwrap();
    };
    let each = |list: &Value| -> Vec<Value> { list.as_array().unwrap().clone() };
    keywords
        .iter()
        .all(|(keyword, arg)| match keyword.as_str() {
            "$schema" | "title" | "description" | "default" | "examples" | "pattern" | "then"
            | "else" => true,
            "type" => match arg {
                Value::String(kind) => is(kind, value),
                kinds => each(kinds)
                    .iter()
                    .any(|kind| is(kind.as_str().unwrap(), value)),
            },
            "enum" => each(arg).contains(value),
            "const" => arg == value,
            "not" => !valid(arg, value),
            "allOf" => each(arg).iter().all(|schema| valid(schema, value)),
            // The other branch is a pattern for variables, which this evaluator cannot tell apart.
            "anyOf" => {
                valid(&arg[0], value) || value.as_str().is_some_and(|text| text.contains("${{"))
            }
            "if" => {
                let branch = if valid(arg, value) { "then" } else { "else" };
                schema.get(branch).is_none_or(|schema| valid(schema, value))
            }
            "required" => value.as_object().is_none_or(|map| {
                each(arg)
                    .iter()
                    .all(|key| map.contains_key(key.as_str().unwrap()))
            }),
            "properties" => value.as_object().is_none_or(|map| {
                map.iter()
                    .all(|(key, value)| arg.get(key).is_none_or(|schema| valid(schema, value)))
            }),
            "patternProperties" => {
                assert_eq!(*arg, json!({"^x-": true}));
                true
            }
            "additionalProperties" => value.as_object().is_none_or(|map| {
                map.iter().all(|(key, value)| {
                    let named = schema
                        .get("properties")
                        .is_some_and(|named| named.get(key).is_some());
                    let extra = schema.get("patternProperties").is_some() && key.starts_with("x-");
                    named || extra || valid(arg, value)
                })
            }),
            "propertyNames" => true,
            "items" => value
                .as_array()
                .is_none_or(|items| items.iter().all(|item| valid(arg, item))),
            "minimum" => value
                .as_f64()
                .is_none_or(|number| number >= arg.as_f64().unwrap()),
            "maximum" => value
                .as_f64()
                .is_none_or(|number| number <= arg.as_f64().unwrap()),
            "minItems" => value
                .as_array()
                .is_none_or(|items| items.len() as u64 >= arg.as_u64().unwrap()),
            "minLength" => value
                .as_str()
                .is_none_or(|text| text.len() as u64 >= arg.as_u64().unwrap()),
            "maxItems" | "maxLength" | "minProperties" | "maxProperties" => true,
            keyword => panic!("keyword {keyword}"),
        })
}

fn pipeline() -> Value {
    json!({
        "apiVersion": "0.1.0",
        "meta": {"name": "wikipedia", "version": "0.1.0"},
        "kafka": {"brokers": ["127.0.0.1:19092"]},
        "topics": {"wikipedia-edits": {"partitions": 3, "replication-factor": 3}, "plain": null},
        "connectors": [
            {
                "meta": {"name": "recentchange", "type": "sse-source", "version": "0.1.0", "topic": "wikipedia-edits"},
                "sse": {"url": "https://h/", "user-agent": "x", "drop": {"/meta/domain": "canary"}, "since": 1},
            },
            {
                "meta": {"name": "counts", "type": "redis-sink", "version": "0.1.0", "topic": "wikipedia-edits",
                         "consumer": {"id": "g", "offset": {"start": "beginning"}}},
                "transforms": [{"uses": "extract-type@0.1.0", "with": {"field": "type", "n": 1}}],
                "redis": {"url": "redis://h", "count": "{value}"},
            },
        ],
    })
}

/// The document is YAML too, so the loader must agree with the schema on each.
fn check(document: &Value, expect: bool) {
    let schema = json_schema(&specs());
    assert_eq!(valid(&schema, document), expect, "schema: {document:#}");
    let loaded = load(&document.to_string());
    assert_eq!(loaded.is_ok(), expect, "loader: {loaded:?}");
}

fn changed(pointer: &str, key: &str, value: Value) -> Value {
    let mut document = pipeline();
    document.pointer_mut(pointer).unwrap()[key] = value;
    document
}

#[test]
fn schema_and_loader_agree() {
    check(&pipeline(), true);
    check(&changed("", "x-anchors", json!([1])), true);
    check(&changed("", "delivery", json!("at-least-once")), true);
    check(&changed("/kafka", "brokers", json!("a:1,b:2")), true);
    check(
        &changed(
            "/connectors/0/meta",
            "producer",
            json!({"linger": "5ms", "batch-size": 16384}),
        ),
        true,
    );
    check(&changed("", "kafak", json!({})), false);
    check(&changed("", "apiVersion", json!("9.0.0")), false);
    check(&changed("", "connectors", json!([])), false);
    check(
        &changed("/topics/wikipedia-edits", "partitions", json!(0)),
        false,
    );
    check(
        &changed("/topics/wikipedia-edits", "partitions", json!("3")),
        false,
    );
    check(
        &changed("/connectors/0", "redis", json!({"url": "redis://h"})),
        false,
    );
    check(
        &changed("/connectors/0", "sse", json!({"url": "https://h/"})),
        false,
    );
    check(
        &changed("/connectors/0/sse", "user-agnet", json!("x")),
        false,
    );
    check(&changed("/connectors/0/meta", "type", json!("nope")), false);
    check(
        &changed("/connectors/0/meta", "consumer", json!({"id": "x"})),
        false,
    );
    check(
        &changed(
            "/connectors/1/meta/consumer/offset",
            "start",
            json!("earliest"),
        ),
        false,
    );
    check(&changed("/connectors/1/redis", "timeout", json!(5)), false);
    check(
        &changed("/connectors/1/transforms/0", "with", json!({"a": ["b"]})),
        false,
    );
}

#[test]
fn a_connector_config_by_itself() {
    let mut single = pipeline()["connectors"][1].clone();
    single["apiVersion"] = json!("0.1.0");
    check(&single, true);
    single["redis"]["cuont"] = json!("x");
    check(&single, false);
}

#[test]
fn editors_find_descriptions_and_examples() {
    let schema = json_schema(&specs());
    let text = schema.to_string();
    assert!(text.contains("Wikimedia answers 403 without one"));
    assert!(text.contains("\"examples\":[\"/id\"]"));
    assert_eq!(
        schema["$schema"],
        "https://json-schema.org/draft/2020-12/schema"
    );
    let topics = &schema["else"]["properties"]["topics"]["additionalProperties"];
    assert_eq!(topics["properties"]["partitions"]["minimum"], 1.0);
}

#[test]
fn a_connector_in_words() {
    let text = describe(&specs()[0]);
    for expect in [
        "sse-source 0.1.0 (source: writes a topic)\n",
        "\nsse:\n  url: uri, required\n",
        "      The stream. Credentials go into `headers`",
        "  rewind: duration\n",
        "  since: string or integer\n",
        "  retry: object\n",
        "      initial: duration, default \"500ms\"\n",
        "      <any key>: string\n",
        "max: integer, default 500000, 1 or more\n",
    ] {
        assert!(text.contains(expect), "no {expect:?} in\n{text}");
    }
    assert!(load(PIPELINE).is_ok());
}
