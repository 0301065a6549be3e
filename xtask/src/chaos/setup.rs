//! What the processes of a run are told: a pipeline file and arguments.

use std::path::Path;

use anyhow::{Context, Result};
use gristmill_replay::GeneratorOptions;

use super::plan::{Plan, Shape};
use crate::cluster::Cluster;

/// Of the topic.
pub(super) const PARTITIONS: usize = 3;
/// As `gristmill replay --inexact` has it.
const DISORDER: std::time::Duration = std::time::Duration::from_secs(15);

/// Names and arguments.
pub(super) struct Setup {
    pub(super) topic: String,
    pub(super) server: Vec<String>,
    pub(super) stage: Vec<String>,
}

/// Every run has topics of its own.
fn pipeline(plan: &Plan) -> String {
    format!("chaos-{}", plan.seed)
}

/// Where the pipeline keeps its positions.
pub(super) fn checkpoint_topic(plan: &Plan) -> String {
    format!("gristmill.{}.checkpoints", pipeline(plan))
}

/// The topic's name.
pub(super) fn topic(plan: &Plan) -> String {
    format!("edits-{}", plan.seed)
}

/// The events that the server's arguments stand for.
pub(super) fn generator(plan: &Plan) -> GeneratorOptions {
    let defaults = GeneratorOptions::default();
    GeneratorOptions {
        seed: plan.seed,
        disorder: if plan.shape.inexact {
            DISORDER
        } else {
            defaults.disorder
        },
        canary_every: plan.shape.canary_every,
        malformed_every: plan.shape.malformed_every,
        ..defaults
    }
}

/// Write the pipeline's file into `dir`.
pub(super) fn write(plan: &Plan, cluster: &Cluster, dir: &Path) -> Result<Setup> {
    // Found once and then fixed: a server that comes back must be where it was.
    let listen = format!("127.0.0.1:{}", crate::cluster::free_port()?);
    let file = dir.join("pipeline.yaml");
    std::fs::write(&file, yaml(plan, cluster, &listen)?)?;
    let file = file.to_str().context("the directory's name is no text")?;
    let args = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    Ok(Setup {
        topic: topic(plan),
        server: server(plan, &listen),
        stage: args(&["-v", "up", "--json", "--file", file]),
    })
}

fn server(plan: &Plan, listen: &str) -> Vec<String> {
    let Shape {
        rate, cut_every, ..
    } = plan.shape;
    let shape = &plan.shape;
    let mut args: Vec<String> = vec!["-v".into(), "replay".into()];
    let mut set = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            args.extend([name.to_owned(), value]);
        }
    };
    let text = |number: Option<u64>| number.map(|number| number.to_string());
    set("--generate", text(Some(plan.events)));
    set("--seed", text(Some(plan.seed)));
    set("--listen", Some(listen.to_owned()));
    set("--rate", text(Some(rate)));
    set("--cut-every", text(Some(cut_every)));
    set("--duplicate-every", text(shape.duplicate_every));
    set("--stall-every", text(shape.stall_every));
    set("--refuse-every", text(shape.refuse_every));
    set("--canary-every", text(shape.canary_every));
    set("--malformed-every", text(shape.malformed_every));
    if shape.cut_mid_event {
        args.push("--cut-mid-event".into());
    }
    if shape.inexact {
        args.push("--inexact".into());
    }
    args
}

/// The shipped pipeline's job with this run's addresses, and short timeouts.
fn yaml(plan: &Plan, cluster: &Cluster, listen: &str) -> Result<String> {
    let shape = &plan.shape;
    let rewind = if shape.inexact {
        "\n      rewind: 1m"
    } else {
        ""
    };
    let dedupe = if shape.dedupe {
        "\n      dedupe: {id: /meta/id, window: 2m}"
    } else {
        ""
    };
    Ok(format!(
        "apiVersion: 0.1.0
meta: {{name: {pipeline}, version: 0.1.0}}
kafka:
  brokers: [{brokers}]
  properties:
    # A member that was killed gives its partitions away soon.
    session.timeout.ms: 4000
    heartbeat.interval.ms: 500
    transaction.timeout.ms: {transaction_timeout}
topics:
  {topic}: {{partitions: {PARTITIONS}, replication-factor: 3}}
connectors:
  - meta: {{name: recentchange, type: sse-source, version: 0.1.0, topic: {topic}}}
    sse:
      url: http://{listen}/v2/stream/recentchange
      user-agent: gristmill-chaos/0.1 (https://example.org; chaos@example.org)
      key: /id
      timestamp: /meta/dt
      drop: {{/meta/domain: canary}}
      retry: {{initial: 100ms, max: 1s}}{rewind}{dedupe}
  - meta:
      name: type-counts
      type: redis-sink
      version: 0.1.0
      topic: {topic}
      consumer: {{id: {topic}-counters, offset: {{start: beginning}}}}
    transforms:
      - uses: extract-type@0.1.0
        with: {{field: type}}
    redis:
      url: {redis}
      count: \"{{value}}\"
",
        pipeline = pipeline(plan),
        brokers = cluster.bootstrap().join(", "),
        transaction_timeout = shape.transaction_timeout.as_millis(),
        topic = topic(plan),
        redis = cluster.redis_url().context("the cluster has no Redis")?,
    ))
}
