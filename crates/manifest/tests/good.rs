//! Manifests that are right, and what becomes of them.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests, which clippy takes for other code"
)]

mod common;

use std::path::Path;
use std::time::Duration;

use common::{PIPELINE, load, specs};
use gristmill_manifest::{ConnectorSpec, Delivery, Direction, Manifest, NoVariables, Start};

#[test]
fn the_main_job() {
    let (manifest, warnings) = load(PIPELINE).unwrap_or_else(|e| panic!("{}", e.render(false)));
    assert_eq!(warnings, []);
    assert_eq!(manifest.name, "wikipedia");
    assert_eq!(manifest.kafka.brokers.len(), 3);
    let topic = &manifest.topics["wikipedia-edits"];
    assert_eq!((topic.partitions, topic.replication_factor), (3, Some(3)));
    let source = manifest.connector("recentchange").unwrap();
    assert_eq!(source.direction, Direction::Source);
    assert_eq!(source.delivery, Delivery::ExactlyOnce);
    assert_eq!(source.section.value()["rewind"], "1m");
    assert_eq!(source.section.value()["drop"]["/meta/domain"], "canary");
    let sink = manifest.connector("type-counts").unwrap();
    assert_eq!(sink.consumer.id, "wikipedia-consumer");
    assert_eq!(sink.consumer.start, Start::Beginning);
    assert_eq!(sink.transforms[0].uses, "extract-type@0.1.0");
    assert_eq!(&*sink.transforms[0].with["field"], "type");
    assert_eq!((sink.span.line, sink.span.column), (28, 5));
}

#[test]
fn the_shipped_pipelines_are_good() {
    for file in ["pipeline.yaml", "pipelines/tumbling-window.yaml"] {
        let shipped = format!("{}/../../{file}", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(shipped).unwrap();
        let (_, warnings) = load(&text).unwrap_or_else(|errors| panic!("{}", errors.render(false)));
        assert_eq!(warnings, [], "{file}");
    }
}

#[test]
fn topics_on_fluvio() {
    let kafka = PIPELINE
        .lines()
        .position(|line| line.starts_with("kafka:"))
        .unwrap();
    let mut lines: Vec<&str> = PIPELINE.lines().collect();
    lines.splice(
        kafka..kafka + 2,
        ["delivery: at-least-once", "fluvio: {endpoint: sc:9003}"],
    );
    let (manifest, _) =
        load(&lines.join("\n")).unwrap_or_else(|errors| panic!("{}", errors.render(false)));
    let endpoint = manifest
        .fluvio
        .as_ref()
        .map(|fluvio| fluvio.endpoint.as_str());
    assert_eq!(
        (endpoint, manifest.kafka.brokers.len()),
        (Some("sc:9003"), 0)
    );
    let (on_kafka, _) = load(PIPELINE).unwrap();
    assert!(on_kafka.fluvio.is_none() && !manifest.is_on_cluster_of(&on_kafka));
    assert!(manifest.is_on_cluster_of(&manifest.clone()));
}

#[test]
fn copies_of_a_sink() {
    for (written, expect, warns) in [
        ("", 1, None),
        ("    replicas: 3\n", 3, None),
        (
            "    replicas: 4\n",
            4,
            Some("4 copies, and the topic has 3 partitions: 1 would have nothing to do"),
        ),
    ] {
        let text = PIPELINE.replace("    transforms:\n", &format!("{written}    transforms:\n"));
        let (manifest, warnings) =
            load(&text).unwrap_or_else(|errors| panic!("{}", errors.render(false)));
        assert_eq!(manifest.connector("type-counts").unwrap().replicas, expect);
        let said: Vec<&str> = warnings.iter().map(|warning| &*warning.message).collect();
        assert_eq!(said, Vec::from_iter(warns));
    }
    // A source has one copy, and may say so.
    let text = PIPELINE.replace("    sse:\n", "    replicas: 1\n    sse:\n");
    assert!(load(&text).is_ok_and(|(_, warnings)| warnings.is_empty()));
}

#[test]
fn metrics_are_served_on_loopback_unless_said() {
    for (written, expect) in [
        ("{listen: 9464}", Some("127.0.0.1:9464")),
        ("{listen: \"9464\"}", Some("127.0.0.1:9464")),
        ("{listen: 0.0.0.0:9464}", Some("0.0.0.0:9464")),
        ("{}", None),
    ] {
        let text = PIPELINE.replace("topics:\n", &format!("metrics: {written}\ntopics:\n"));
        let (manifest, _) = load(&text).unwrap_or_else(|errors| panic!("{}", errors.render(false)));
        let listen = manifest.metrics.listen.map(|addr| addr.to_string());
        assert_eq!(listen.as_deref(), expect, "{written}");
    }
}

#[test]
fn how_kafka_is_reached() {
    let kafka = |written: &str| {
        let text = PIPELINE.replace("\ntopics:\n", &format!("\n  {written}\n\ntopics:\n"));
        let (mut manifest, warnings) =
            load(&text).unwrap_or_else(|errors| panic!("{}", errors.render(false)));
        manifest.resolve_files(Path::new("/etc/pipelines"));
        (manifest, warnings)
    };
    let files = "tls: {ca-file: ca.pem, cert-file: /abs/c.pem, key-file: ../c.key}";
    let (manifest, _) = kafka(files);
    let tls = manifest.kafka.tls.as_ref().unwrap();
    assert_eq!(
        tls.ca_file.as_deref(),
        Some(Path::new("/etc/pipelines/ca.pem"))
    );
    assert_eq!(tls.cert_file.as_deref(), Some(Path::new("/abs/c.pem")));
    assert_eq!(
        tls.key_file.as_deref(),
        Some(Path::new("/etc/pipelines/../c.key"))
    );
    let file = manifest.kafka_place("kafka.tls.ca-file").unwrap();
    let around = manifest.kafka_place("kafka.tls.no-such-key").unwrap();
    assert_eq!(file.line, around.line);
    assert_eq!((around.column, file.column), (3, 9));
    assert_eq!(kafka("tls: true").0.kafka.tls, Some(Default::default()));
    assert_eq!(kafka("tls: false").0.kafka.tls, None);
    let (manifest, warnings) = kafka("sasl: {mechanism: PLAIN, username: me, password: pw}");
    let sasl = manifest.kafka.sasl.as_ref().unwrap();
    assert_eq!((&*sasl.username, &*sasl.password), ("me", "pw"));
    // Loopback brokers are told the password by nobody else.
    assert_eq!(warnings, []);
    assert!(!manifest.redactions().apply("pw").contains("pw"));
}

#[test]
fn a_password_that_anybody_can_read_is_told() {
    let text = PIPELINE.replace("127.0.0.1:19092", "broker:9092").replace(
        "\ntopics:\n",
        "\n  sasl: {mechanism: PLAIN, username: me, password: pw}\n\ntopics:\n",
    );
    let (_, warnings) = load(&text).unwrap_or_else(|errors| panic!("{}", errors.render(false)));
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0].to_string().contains("readable"),
        "{}",
        warnings[0]
    );
    let (_, warnings) = load(&text.replace("sasl: {", "tls: true\n  sasl: {")).unwrap();
    assert_eq!(warnings, []);
}

#[test]
fn files_of_a_section_count_from_the_manifests_folder() {
    let text = std::fs::read_to_string(format!(
        "{}/../../connectors/redis-sink/Connector.toml",
        env!("CARGO_MANIFEST_DIR")
    ));
    let spec = ConnectorSpec::parse(&text.unwrap()).unwrap();
    let text = "
apiVersion: 0.1.0
meta: {name: counts, type: redis-sink, version: 0.1.0, topic: edits}
redis:
  url: rediss://h
  tls: {ca-file: ca.pem, key-file: /abs/k.pem, cert-file: c.pem}
";
    let loaded = Manifest::load("p.yaml", text, &[spec], &[], &NoVariables);
    let (mut manifest, _) = loaded.unwrap_or_else(|errors| panic!("{}", errors.render(false)));
    manifest.resolve_files(Path::new("/srv"));
    let section = &manifest.connectors[0].section;
    assert_eq!(section.value()["tls"]["ca-file"], "/srv/ca.pem");
    assert_eq!(section.value()["tls"]["key-file"], "/abs/k.pem");
    assert_eq!(section.value()["url"], "rediss://h");
    assert_eq!(section.as_written()["tls"]["ca-file"], "ca.pem");
    let place = section.place("redis.tls.key-file").unwrap();
    assert_eq!((place.line, place.column), (6, 26));
    assert_eq!(section.place("redis.tls.other").unwrap().line, 6);
    assert_eq!(section.place("redis.url").unwrap().line, 5);
}

#[test]
fn a_single_connector_config() {
    let text = "
apiVersion: 0.1.0
meta: {name: counts, type: redis-sink, version: 0.1.0, topic: edits}
transforms:
  - uses: ./x.wasm
    with: {limit: 10, ratio: 0.5, strict: true, name: null-ish}
    lookback: {last: 10, age: 1h}
    limits: {time: 500ms, memory: 64 MiB, output: 1048576}
redis: {url: redis://h}
kafka: {brokers: 'a:1, b:2'}
";
    let (manifest, _) = load(text).unwrap_or_else(|errors| panic!("{}", errors.render(false)));
    assert_eq!(manifest.name, "counts");
    assert_eq!(manifest.topics["edits"].partitions, 1);
    assert_eq!(manifest.kafka.brokers, ["a:1", "b:2"]);
    let connector = &manifest.connectors[0];
    assert_eq!(connector.consumer.id, "counts");
    let transform = &connector.transforms[0];
    assert_eq!(&*transform.with["limit"], "10");
    assert_eq!(&*transform.with["ratio"], "0.5");
    assert_eq!(&*transform.with["strict"], "true");
    assert_eq!(transform.limits.time, Some(Duration::from_millis(500)));
    assert_eq!(transform.limits.memory, Some(64 << 20));
    assert_eq!(transform.limits.output, Some(1 << 20));
    let lookback = transform.lookback.as_ref().unwrap();
    assert_eq!(
        (lookback.last, lookback.age),
        (10, Some(Duration::from_secs(3600)))
    );
}

#[test]
fn anchors_in_an_extension_key() {
    let text = PIPELINE.replace(
        "topics:\n",
        "x-shared:\n  - &url redis://127.0.0.1:6379/7\ntopics:\n",
    );
    let text = text.replace("url: redis://127.0.0.1:6379/0", "url: *url");
    let (manifest, _) = load(&text).unwrap_or_else(|errors| panic!("{}", errors.render(false)));
    assert_eq!(
        manifest.connectors[1].section.value()["url"],
        "redis://127.0.0.1:6379/7"
    );
}

#[test]
fn windows_line_ends_and_a_byte_order_mark() {
    let text = format!("\u{feff}{}", PIPELINE.replace('\n', "\r\n"));
    let (manifest, _) = load(&text).unwrap_or_else(|errors| panic!("{}", errors.render(false)));
    assert_eq!(manifest.connectors.len(), 2);
}

#[test]
fn not_utf8() {
    let errors = Manifest::load_bytes("p.yaml", b"a: b\nc: \xff", &specs(), &[], &NoVariables);
    let text = errors.unwrap_err().to_string();
    assert_eq!(
        text,
        "p.yaml:2:4: error: the file is not UTF-8: byte 0xff at 8"
    );
}

#[test]
fn every_shipped_connector_is_described_and_takes_its_sample() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../connectors");
    for connector in std::fs::read_dir(folder).unwrap() {
        let connector = connector.unwrap().path();
        let read = |file: &str| std::fs::read_to_string(connector.join(file)).unwrap();
        let spec = ConnectorSpec::parse(&read("Connector.toml"))
            .unwrap_or_else(|error| panic!("{}: {error}", connector.display()));
        let sample = read("sample-config.yaml");
        Manifest::load("sample-config.yaml", &sample, &[spec], &[], &NoVariables)
            .unwrap_or_else(|errors| panic!("{}", errors.render(false)));
    }
}
