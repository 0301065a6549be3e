//! `gristmill plan` and `apply`, the real binary: a deployed pipeline is changed again and again
//! while events flow, and every count is exact.
//!
//! `GRISTMILL_APPLY_EVENTS=200000` makes it as many events instead of the default.
#![allow(clippy::unwrap_used)]

mod common;
mod deploy_site;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use common::{Project, pause, tally};
use deploy_site::{Site, said};
use gristmill_flow_testing::{kafka, redis::RedisServer};
use gristmill_replay::{Generator, GeneratorOptions, Server, ServerOptions, Source};
use serde_json::Value;

const EVENTS: u64 = 20_000;
const PATIENCE: Duration = Duration::from_secs(180);

const CLUSTER: &str = "apiVersion: 0.1.0
meta: {name: p, version: 0.1.0}
kafka: {brokers: [BROKERS]}
topics:
  TOPIC: {partitions: 3}
connectors:
  - meta: {name: stream, type: sse-source, version: 0.1.0, topic: TOPIC}
    sse: {url: URL, user-agent: test/0.1, key: /id}
  - meta:
      name: types
      type: redis-sink
      version: 0.1.0
      topic: TOPIC
      consumer: {id: TOPIC-types}
    transforms:
      - uses: extract-type@0.1.0
        with: {field: type}
    redis: {url: REDIS, count: \"types:{value}\"}
  - meta: {name: marks, type: redis-sink, version: 0.1.0, topic: TOPIC}
    transforms:
      - uses: mark
    redis: {url: REDIS, count: \"mark:{value}\"}
";

const MORE: &str = "  - meta: {name: more, type: redis-sink, version: 0.1.0, topic: TOPIC}
    transforms:
      - uses: extract-type@0.1.0
        with: {field: type}
    redis: {url: REDIS, count: \"more:{value}\"}
";

fn put_module(site: &Site, mark: char) {
    let mark = format!("(i32.const {})", mark as u32);
    let text =
        include_str!("../../smartengine/tests/guests/mark.wat").replace("(i32.const MARK)", &mark);
    let path = site.dir().join("smartmodules/mark.wasm");
    std::fs::write(path, wat::parse_str(text).unwrap()).unwrap();
}

/// Counts by key, of keys that begin with `stem:`.
fn counted(redis: &RedisServer, stem: &str) -> BTreeMap<String, i64> {
    let keys = redis.command(&["KEYS", &format!("{stem}:*")]);
    keys.lines()
        .map(|key| {
            let count = redis.command(&["GET", key]).parse().unwrap();
            (key.trim_start_matches(stem)[1..].to_owned(), count)
        })
        .collect()
}

/// So many generated events, at so many a second.
async fn serve(events: u64, rate: f64) -> Server {
    let options = ServerOptions {
        rate: Some(rate),
        ..ServerOptions::new(Source::Generate {
            options: GeneratorOptions::default(),
            events: Some(events),
        })
    };
    Server::start(options).await.unwrap()
}

fn total(counts: &BTreeMap<String, i64>) -> i64 {
    counts.values().sum()
}

#[test]
fn ten_edits_while_events_flow_lose_and_double_nothing() {
    let (Some(brokers), Some(redis)) = (kafka::brokers(), RedisServer::start()) else {
        return;
    };
    let events = std::env::var("GRISTMILL_APPLY_EVENTS");
    let events: u64 = events.map_or(EVENTS, |events| events.parse().unwrap());
    let expect = tally(
        &Generator::new(GeneratorOptions::default())
            .take(events as usize)
            .collect::<Vec<_>>(),
    );
    let runtime = tokio::runtime::Runtime::new().unwrap();
    // An edit takes a second or two: the last one is made before the last event comes.
    let server = runtime.block_on(serve(events, events as f64 / 40.0));
    common::build_module();
    let site = Site::new();
    std::fs::create_dir(site.dir().join("smartmodules")).unwrap();
    put_module(&site, '1');
    let topic = kafka::unique("apply");
    let filled = |text: &str| {
        text.replace("TOPIC", &topic)
            // Positions go by the pipeline's name, and the cluster is shared.
            .replace("meta: {name: p,", &format!("meta: {{name: {topic},"))
            .replace("URL", &server.url())
            .replace("REDIS", &redis.url())
            .replace("BROKERS", &brokers.join(", "))
    };
    site.edit(|_| filled(CLUSTER));
    site.succeed(&["deploy", "start"]);

    let deadline = Instant::now() + PATIENCE;
    while counted(&redis, "mark").is_empty() || counted(&redis, "types").is_empty() {
        assert!(Instant::now() < deadline, "nothing flows");
        pause(Duration::from_millis(100));
    }

    type Edit<'a> = (&'a str, Box<dyn Fn(String) -> String + 'a>, &'a [&'a str]);
    let replace = |a: &'static str, b: &'static str| -> Box<dyn Fn(String) -> String> {
        Box::new(move |text| {
            assert!(text.contains(a), "{text}");
            text.replace(a, b)
        })
    };
    let module = |mark: char| -> Box<dyn Fn(String) -> String + '_> {
        let site = &site;
        Box::new(move |text| {
            put_module(site, mark);
            text
        })
    };
    let edits: Vec<Edit<'_>> = vec![
        ("swap a module", module('2'), &["marks: other transforms"]),
        (
            "add a second sink",
            Box::new(|text| text + &filled(MORE)),
            &["more: starts"],
        ),
        (
            "change a topic's consumer",
            replace("-types}", "-others}"),
            &[
                "types: restarts",
                "consumer changed",
                "nothing is counted twice",
            ],
        ),
        (
            "remove a sink",
            Box::new(|text| text.replace(&filled(MORE), "")),
            &["more: stops", "To delete them:", "redis-cli"],
        ),
        (
            "add it again",
            Box::new(|text| text + &filled(MORE)),
            &["more: starts"],
        ),
        (
            "limit a module",
            replace(
                "with: {field: type}\n    redis: {url",
                "with: {field: type}\n        limits: {time: 2s}\n    redis: {url",
            ),
            &["types: other transforms"],
        ),
        (
            "change the source",
            replace("key: /id}", "key: /meta/id}"),
            &["stream: restarts", "sse changed"],
        ),
        (
            "count into other keys",
            replace("mark:{value}", "mark2:{value}"),
            &["marks: restarts", "old ones stay"],
        ),
        (
            "change how brokers are reached",
            replace(
                "kafka: {",
                "kafka: {properties: {queued.min.messages: 50000}, ",
            ),
            &[
                "stream: restarts",
                "types: restarts",
                "marks: restarts",
                "kafka changed",
            ],
        ),
        (
            "swap a module once more",
            module('3'),
            &["marks: other transforms"],
        ),
    ];
    for (what, edit, expected) in edits {
        site.edit(edit);
        let plan = site.succeed(&["plan", "-o", "change.json"]);
        for expected in expected {
            assert!(plan.contains(expected), "{what}: {plan}");
        }
        let started = Instant::now();
        let said = site.succeed(&["apply", "change.json"]);
        eprintln!("{what}: {:?}", started.elapsed());
        assert!(said.contains(": done"), "{what}: {said}");
        // Carried out, it is no longer what would happen.
        let again = site.run(&["apply", "change.json"]);
        assert_eq!(again.status.code(), Some(1), "{what}");
        let again = deploy_site::said(&again);
        assert!(
            again.contains("change.json is stale: it was made for revision"),
            "{again}"
        );
        let nothing = site.succeed(&["plan"]);
        assert!(nothing.contains("nothing to change"), "{what}: {nothing}");
        pause(Duration::from_millis(500));
        if what == "count into other keys" {
            // Restarted, it joins its group again first: the next edits must not overtake it.
            let deadline = Instant::now() + PATIENCE;
            while counted(&redis, "mark2").is_empty() {
                assert!(Instant::now() < deadline, "{what}: nothing counted");
                pause(Duration::from_millis(100));
            }
        }
    }
    let flowed = total(&counted(&redis, "types"));
    assert!(
        flowed < events as i64,
        "the edits were made after the last event"
    );

    let deadline = Instant::now() + PATIENCE;
    let marks = || {
        let mut marks = counted(&redis, "mark");
        let more = counted(&redis, "mark2").into_iter();
        marks.extend(more.map(|(key, count)| (format!("2{key}"), count)));
        marks
    };
    while total(&marks()) < events as i64
        || counted(&redis, "types") != expect
        || counted(&redis, "more") != expect
    {
        assert!(
            Instant::now() < deadline,
            "{expect:?}\ntypes {:?}\nmore {:?}\nmarks {:?}\n{}",
            counted(&redis, "types"),
            counted(&redis, "more"),
            marks(),
            deploy_site::said(&site.run(&["deploy", "list"])),
        );
        pause(Duration::from_millis(200));
    }
    // What is too much would come late.
    pause(Duration::from_secs(2));
    assert_eq!(counted(&redis, "types"), expect);
    assert_eq!(counted(&redis, "more"), expect);
    let marks = marks();
    assert_eq!(total(&marks), events as i64, "{marks:?}");
    for mark in ["1", "2", "22", "23"] {
        assert!(marks.get(mark).is_some_and(|count| *count > 0), "{marks:?}");
    }
    // Each stage is a process of its own.
    assert_eq!(site.processes().len(), 5, "{:?}", site.processes());
    site.succeed(&["deploy", "shutdown", &topic]);
    assert!(site.processes().is_empty());
    runtime.block_on(server.stop());
}

/// Where one process opens topics and counts, the same holds within it.
#[test]
fn embedded_stages_share_a_process_and_are_changed_in_it() {
    let project = Project::local();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let events: u64 = 6_000;
    let server = runtime.block_on(serve(events, 1_000.0));
    common::build_module();
    let site = Site::new();
    let text = std::fs::read_to_string(project.file()).unwrap();
    let url = "https://stream.wikimedia.org/v2/stream/recentchange";
    site.edit(|_| text.replace(url, &server.url()));
    site.succeed(&["deploy", "start", "--local"]);
    assert_eq!(site.processes().len(), 2);

    let only = site.run(&["deploy", "shutdown", "type-counts"]);
    assert!(only.status.success(), "{only:?}");
    assert!(said(&only).contains("type-counts: stops"), "{only:?}");
    let listed = site.succeed(&["deploy", "list"]);
    assert!(!listed.contains("type-counts"), "{listed}");
    let text = site.succeed(&["deploy", "start", "--local", "--only", "type-counts"]);
    assert!(text.contains("type-counts: starts"), "{text}");
    site.edit(|text| text.replace("count: \"{value}\"", "count: \"x:{value}\""));
    let more = site.run(&["deploy", "start", "--local", "--only", "type-counts"]);
    assert_eq!(more.status.code(), Some(1), "{more:?}");
    site.succeed(&["apply", "--yes"]);

    let deadline = Instant::now() + PATIENCE;
    let lag_and_read = || {
        let all: Value =
            serde_json::from_slice(&site.run(&["deploy", "list", "--json"]).stdout).unwrap();
        let stages = all[0]["stages"].as_array().unwrap().clone();
        (stages[0]["records_in"].as_u64(), stages[1]["lag"].as_i64())
    };
    while lag_and_read() != (Some(events), Some(0)) {
        assert!(Instant::now() < deadline, "{:?}", lag_and_read());
        pause(Duration::from_millis(100));
    }
    // Its counts can be read once it lets go of them.
    site.succeed(&["deploy", "shutdown", "wikipedia"]);
    let counts = site.run(&["counts", "--local", "--json"]);
    let counts: BTreeMap<String, i64> = serde_json::from_slice(&counts.stdout).unwrap();
    let all: Vec<_> = Generator::new(GeneratorOptions::default())
        .take(events as usize)
        .collect();
    let mut both = BTreeMap::new();
    for (key, count) in &counts {
        *both
            .entry(key.trim_start_matches("x:").to_owned())
            .or_insert(0) += count;
    }
    assert_eq!(both, tally(&all), "{counts:?}");
    assert!(counts.keys().any(|key| key.starts_with("x:")), "{counts:?}");
    runtime.block_on(server.stop());
}
