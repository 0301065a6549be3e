//! The manifests under `deploy/kubernetes` say what their pipeline says.
#![allow(clippy::unwrap_used)]

mod common;

use common::{gristmill, repository, succeed};
use serde_json::Value;

fn read(name: &str) -> String {
    let path = repository().join("deploy/kubernetes").join(name);
    std::fs::read_to_string(path).unwrap()
}

/// The value of the first line `key: value`.
fn value<'t>(text: &'t str, key: &str) -> &'t str {
    let line = text.lines().find_map(|line| {
        let line = line.trim().trim_start_matches("- ");
        line.strip_prefix(key)?.strip_prefix(": ")
    });
    line.unwrap_or_else(|| panic!("no `{key}`"))
        .trim_matches('"')
}

#[test]
fn the_kubernetes_manifests_fit_their_pipeline() {
    let mut validate = gristmill(["validate", "--json"]);
    validate
        .arg("--file")
        .arg(repository().join("deploy/kubernetes/pipeline.yaml"))
        .arg("--secrets")
        .arg(repository().join("deploy/kubernetes/secrets.env"));
    let report: Value = serde_json::from_str(&succeed(validate)).unwrap();
    assert_eq!(report["diagnostics"], serde_json::json!([]), "{report}");

    let pipeline = read("pipeline.yaml");
    let listed = read("kustomization.yaml");
    for stage in ["recentchange", "type-counts"] {
        let file = format!("{stage}.yaml");
        let deployment = read(&file);
        assert!(listed.contains(&file), "{file} is applied");
        assert!(pipeline.contains(&format!("name: {stage}")), "{stage}");
        assert!(deployment.contains(&format!("- --only={stage}")), "{stage}");
        // Probes reach the port that the pipeline listens on.
        assert!(deployment.contains("containerPort: 9464"), "{stage}");
        assert!(pipeline.contains("listen: 0.0.0.0:9464"), "{stage}");
        for probe in ["/healthz", "/readyz"] {
            assert!(deployment.contains(probe), "{stage}: {probe}");
        }
    }
    // A source has one pod, the old one gone before the new one comes.
    let source = read("recentchange.yaml");
    assert_eq!(value(&source, "replicas"), "1");
    assert!(source.contains("type: Recreate"));

    let scaling = read("autoscaling.yaml");
    for (key, line) in [
        ("consumerGroup", "consumer: {id: GIVEN,"),
        ("topic", "  GIVEN: {partitions: "),
        ("bootstrapServers", "brokers: [GIVEN]"),
    ] {
        let given = value(&scaling, key).replace(',', ", ");
        assert!(
            pipeline.contains(&line.replace("GIVEN", &given)),
            "{key} {given}"
        );
    }
    let (_, rest) = pipeline.split_once("{partitions: ").unwrap();
    let partitions: u32 = rest.split(',').next().unwrap().parse().unwrap();
    let pods: u32 = value(&scaling, "maxReplicaCount").parse().unwrap();
    assert!(pods <= partitions, "{pods} pods, {partitions} partitions");
}
