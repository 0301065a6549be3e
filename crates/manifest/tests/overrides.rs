//! `--set PATH=VALUE`.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests, which clippy takes for other code"
)]

mod common;

use common::{PIPELINE, specs};
use gristmill_manifest::{Manifest, NoVariables, Override};

fn set_in(text: &str, sets: &[&str]) -> Result<Manifest, String> {
    let overrides: Vec<Override> = sets
        .iter()
        .map(|set| Override::parse(set).unwrap())
        .collect();
    Manifest::load("pipeline.yaml", text, &specs(), &overrides, &NoVariables)
        .map(|(manifest, _)| manifest)
        .map_err(|errors| errors.render(false))
}

fn set(sets: &[&str]) -> Result<Manifest, String> {
    set_in(PIPELINE, sets)
}

#[test]
fn values_go_where_the_path_says() {
    let manifest = set(&[
        "connectors.type-counts.redis.url=redis://127.0.0.1:7777/3",
        "connectors.type-counts.redis.count={value}",
        "connectors.type-counts.transforms.0.with.field=wiki",
        "connectors.type-counts.meta.consumer.id=other",
        "connectors.0.sse.url=http://127.0.0.1:8000/a=b",
        "connectors.recentchange.sse.headers.X-Trace.Id=7",
        "kafka.brokers=127.0.0.1:9092,127.0.0.1:9093",
        "kafka.properties.security.protocol=plaintext",
        "topics.wikipedia-edits.partitions=1",
        "topics.wikipedia-edits.config.retention.ms=60000",
        "topics.new.partitions=4",
        "delivery=at-least-once",
        "meta.version=1.0.0",
    ])
    .unwrap();
    let (source, sink) = (&manifest.connectors[0], &manifest.connectors[1]);
    assert_eq!(sink.section.value()["url"], "redis://127.0.0.1:7777/3");
    assert_eq!(sink.section.value()["count"], "{value}");
    assert_eq!(&*sink.transforms[0].with["field"], "wiki");
    assert_eq!(sink.consumer.id, "other");
    assert_eq!(source.section.value()["url"], "http://127.0.0.1:8000/a=b");
    assert_eq!(source.section.value()["headers"]["X-Trace.Id"], "7");
    assert_eq!(manifest.kafka.brokers, ["127.0.0.1:9092", "127.0.0.1:9093"]);
    assert_eq!(
        &*manifest.kafka.properties["security.protocol"],
        "plaintext"
    );
    let topic = &manifest.topics["wikipedia-edits"];
    assert_eq!(
        (topic.partitions, topic.config["retention.ms"].as_str()),
        (1, "60000")
    );
    assert_eq!(manifest.topics["new"].partitions, 4);
    assert_eq!(format!("{:?}", sink.delivery), "AtLeastOnce");
    assert_eq!(manifest.version, "1.0.0");
}

#[test]
fn yaml_values_lists_and_whole_sections() {
    let manifest = set(&[
        "kafka.brokers=[a:1, b:2]",
        "connectors.recentchange.sse.events=[message]",
        "connectors.recentchange.sse.since=1769860800000",
        "connectors.recentchange.sse.dedupe={id: /meta/id, max: 10}",
        "connectors.type-counts.redis.password=0123",
        "connectors.type-counts.transforms=[]",
    ])
    .unwrap();
    assert_eq!(manifest.kafka.brokers, ["a:1", "b:2"]);
    let sse = manifest.connectors[0].section.value();
    assert_eq!(sse["events"], serde_json::json!(["message"]));
    assert_eq!(sse["since"], 1_769_860_800_000_i64);
    assert_eq!(sse["dedupe"]["max"], 10);
    assert_eq!(manifest.connectors[1].section.value()["password"], "0123");
    assert!(manifest.connectors[1].transforms.is_empty());
}

#[test]
fn names_with_dots_by_the_longest_match_or_in_quotes() {
    let text = PIPELINE.replace("wikipedia-edits", "wiki.edits.v1");
    let manifest = set_in(
        &text,
        &[
            "topics.wiki.edits.v1.partitions=9",
            "topics.\"a.b\".partitions=2",
        ],
    );
    let manifest = manifest.unwrap();
    assert_eq!(manifest.topics["wiki.edits.v1"].partitions, 9);
    assert_eq!(manifest.topics["a.b"].partitions, 2);
}

#[test]
fn the_type_decides_the_section() {
    let text = "apiVersion: 0.1.0\nmeta: {name: c, type: redis-sink, version: 0.1.0, topic: t}\nredis: {url: redis://h}\n";
    for path in [
        "redis.count=x",
        "connectors.c.redis.count=x",
        "connectors.0.redis.count=x",
    ] {
        let manifest = set_in(text, &[path]).unwrap();
        assert_eq!(manifest.connectors[0].section.value()["count"], "x");
    }
}

#[test]
fn a_later_one_wins() {
    let manifest = set(&[
        "topics.wikipedia-edits.partitions=1",
        "topics.wikipedia-edits.partitions=2",
    ]);
    assert_eq!(manifest.unwrap().topics["wikipedia-edits"].partitions, 2);
}

#[test]
fn mistakes_point_at_the_command_line() {
    let check = |path: &str, expect: &[&str]| {
        let text = set(&[path]).expect_err(path);
        for expect in expect {
            assert!(text.contains(expect), "{path}: no `{expect}` in\n{text}");
        }
        assert!(text.contains(&format!("--set {path}")), "{text}");
        assert!(text.contains("--> the command line"), "{text}");
    };
    check(
        "connectors.type-count.redis.url=x",
        &["no connector `type-count`", "did you mean `type-counts`?"],
    );
    check(
        "connectors.type-counts.redis.ulr=x",
        &["unknown key `ulr`", "did you mean `url`?"],
    );
    check(
        "connectors.type-counts.sse.url=x",
        &["section of sse-source"],
    );
    check(
        "connectors.type-counts.transforms.4.uses=x",
        &["`4` is no entry of the list", "0 to 0"],
    );
    check("connectors.type-counts.transforms=x", &["must be a list"]);
    check(
        "kafak.brokers=x",
        &["unknown key `kafak`", "did you mean `kafka`?"],
    );
    check(
        "topics.wikipedia-edits.partition=3",
        &["did you mean `partitions`?"],
    );
    check(
        "topics.wikipedia-edits.partitions=many",
        &["`partitions` is the text `many`", "a whole number"],
    );
    check(
        "topics.wikipedia-edits.partitions=",
        &["`partitions` is nothing"],
    );
    check(
        "topics.wikipedia-edits.partitions.x=1",
        &["is not a mapping"],
    );
    check(
        "connectors.recentchange.sse.rewind=soon",
        &["is not a duration"],
    );
    check(
        "connectors.recentchange.meta.topic=nope",
        &["the topic `nope` is not declared"],
    );
    check(
        "kafka.brokers=localhost",
        &["without a port", "localhost:9092"],
    );
    check("connectors=x", &["must be a list"]);
    check("connectors.type-counts=x", &["the path ends too early"]);
}

#[test]
fn a_marked_place_is_the_step_that_is_wrong() {
    let text = set(&["connectors.type-counts.redis.ulr=redis://h"]).unwrap_err();
    let expect = "\
error: unknown key `ulr` in `connectors.type-counts.redis`
--> the command line
 |
 | --set connectors.type-counts.redis.ulr=redis://h
 |                                    ^^^
 = help: did you mean `url`?
";
    assert!(text.starts_with(expect), "{text}");
    assert!(
        Override::parse("no-equals")
            .unwrap_err()
            .to_string()
            .contains("PATH=VALUE")
    );
    assert!(Override::parse("=x").is_err());
}
