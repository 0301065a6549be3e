//! The connectors and the manifest that these tests use.
#![allow(dead_code, reason = "each test file uses some of it")]

use gristmill_manifest::{ConnectorSpec, Diagnostic, Diagnostics, Manifest, NoVariables};

/// The main job's shape; `good.rs` checks that the shipped file loads too.
pub(crate) const PIPELINE: &str = include_str!("../good/pipeline.yaml");

pub(crate) fn specs() -> Vec<ConnectorSpec> {
    [
        include_str!("../specs/sse-source.toml"),
        include_str!("../specs/redis-sink.toml"),
    ]
    .into_iter()
    .map(|text| ConnectorSpec::parse(text).unwrap())
    .collect()
}

pub(crate) fn load(text: &str) -> Result<(Manifest, Vec<Diagnostic>), Diagnostics> {
    Manifest::load("pipeline.yaml", text, &specs(), &[], &NoVariables)
}
