//! `gristmill export arroyo`: what it prints of the shipped pipelines is what compose.yaml starts, and
//! what cannot be expressed is refused.
//!
//! `GRISTMILL_BLESS=1 cargo test -p gristmill --test export` writes the files anew; read the diff.
#![allow(clippy::unwrap_used)]

mod common;

use common::{gristmill, repository, run, succeed};

/// What the compose file's network calls its brokers and Redis.
fn export(args: &[&str]) -> std::process::Command {
    let mut command = gristmill(["export", "arroyo"]);
    command.args(args).current_dir(repository());
    command
}

#[test]
fn the_shipped_pipelines_are_exported_as_the_files_say() {
    let brokers = "--set=kafka.brokers=redpanda-0:9092,redpanda-1:9092,redpanda-2:9092";
    let redis = "--set=connectors.type-counts.redis.url=redis://redis:6379/0";
    let windows = "--file=pipelines/tumbling-window.yaml";
    let windows_redis = "--set=connectors.type-windows.redis.url=redis://redis:6379/0";
    for (file, args) in [
        ("counts.sql", vec![brokers, redis]),
        ("counts.sh", vec![brokers, redis, "--print=api"]),
        ("counts-totals.yaml", vec![brokers, redis, "--print=totals"]),
        ("windows.sql", vec![brokers, windows, windows_redis]),
        (
            "windows.sh",
            vec![brokers, windows, windows_redis, "--print=api"],
        ),
    ] {
        let got = succeed(export(&args));
        let path = repository().join("deploy/arroyo").join(file);
        if std::env::var_os("GRISTMILL_BLESS").is_some() {
            std::fs::write(&path, &got).unwrap();
        }
        let expect = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(got, expect, "{}", path.display());
    }
    // What applies the totals is a file that Gristmill takes.
    let mut validate = gristmill(["validate", "--file", "deploy/arroyo/counts-totals.yaml"]);
    validate.current_dir(repository());
    succeed(validate);
    // The call is one whole JSON document between the marks of the script.
    let script = std::fs::read_to_string(repository().join("deploy/arroyo/counts.sh")).unwrap();
    let (_, rest) = script.split_once("<<'JSON'\n").unwrap();
    let (body, _) = rest.split_once("\nJSON\n").unwrap();
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    let sql = std::fs::read_to_string(repository().join("deploy/arroyo/counts.sql")).unwrap();
    assert_eq!(body["query"].as_str().unwrap().trim_end(), sql.trim_end());
    let udf = std::fs::read_to_string(repository().join("udfs/extract-type/src/lib.rs")).unwrap();
    assert_eq!(body["udfs"][0]["definition"], udf);
}

#[test]
fn what_cannot_be_expressed_is_refused_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let shipped = std::fs::read_to_string(repository().join("pipeline.yaml")).unwrap();
    for (from, to, expect) in [
        (
            "extract-type@0.1.0",
            "json-filter@0.1.0",
            "pipeline.yaml:35:9: type-counts: `json-filter@0.1.0`: there is no UDF of it",
        ),
        (
            "with: {field: type}",
            "limits: {time: 1s}",
            "pipeline.yaml:35:9: type-counts: `limits`: Arroyo runs UDFs without a sandbox",
        ),
        (
            "{value}",
            "{key}",
            "pipeline.yaml:28:5: type-counts: `count`: `{key}` cannot be expressed",
        ),
        (
            "count: \"{value}\"",
            "window: {size: 3m, keep: 1h}",
            "pipeline.yaml:28:5: type-counts: `window.keep`: Arroyo's hashes do not expire",
        ),
        (
            "redis://127",
            "redis://user:hunter2@127",
            "pipeline.yaml:28:5: type-counts: `redis.url` holds a variable or a login",
        ),
    ] {
        assert!(shipped.contains(from), "{from}");
        std::fs::write(dir.path().join("pipeline.yaml"), shipped.replace(from, to)).unwrap();
        let mut command = gristmill(["export", "arroyo"]);
        command.current_dir(dir.path());
        let output = run(command);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(expect), "{expect}: {said}");
        assert!(!said.contains("hunter2"), "{said}");
        assert!(output.stdout.is_empty());
    }
}
