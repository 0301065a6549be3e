//! Checks that need the world: whether a valid pipeline can run here and now, and what to do where
//! it cannot. Nothing is changed but by building SmartModules, which `up` would do too.

mod findings;
#[cfg(feature = "fluvio")]
mod fluvio;
mod kafka;
mod local;
mod modules;
mod redis;
mod stream;

pub use findings::{Finding, Verdict};

use std::net::SocketAddr;
use std::path::PathBuf;

use gristmill_flow::Connector;
use gristmill_manifest::Manifest;
use gristmill_redis_sink::RedisSink;
use gristmill_smartbuild::Sources;

use crate::plan::SseSource;

/// Where the pipeline is to run.
#[derive(Debug, Clone)]
pub enum Site {
    /// On the cluster that the manifest names.
    Cluster,
    /// Embedded, in this directory.
    Local(PathBuf),
}

/// What is examined.
#[derive(Debug, Clone)]
pub struct Patient {
    /// The pipeline.
    pub manifest: Manifest,
    /// Where it is to run.
    pub site: Site,
    /// Where its SmartModules come from.
    pub modules: Sources,
    /// Where it is to be watched, if that is not what the manifest says.
    pub listen: Option<SocketAddr>,
}

/// Examine everything, the slow things beside each other. Findings come in the order of the
/// records' way: modules, topics, streams, counts.
pub async fn examine(patient: &Patient, progress: &mut dyn FnMut(&str)) -> Vec<Finding> {
    let manifest = &patient.manifest;
    let mut findings = modules::check(manifest, &patient.modules, progress);
    let streams = async {
        let mut found = Vec::new();
        for entry in entries(manifest, SseSource::TYPE) {
            found.extend(stream::check(entry).await);
        }
        found
    };
    let rest = match &patient.site {
        Site::Cluster => {
            let counts = async {
                let mut found = Vec::new();
                for entry in entries(manifest, RedisSink::TYPE) {
                    found.extend(redis::check(&manifest.name, entry).await);
                }
                found
            };
            let (kafka, streams, counts) = tokio::join!(kafka::check(manifest), streams, counts);
            [kafka, streams, counts].concat()
        }
        Site::Local(dir) => [local::check(dir), streams.await].concat(),
    };
    findings.extend(rest);
    if let Some(addr) = patient.listen.or(manifest.metrics.listen) {
        findings.push(listen(addr).await);
    }
    for finding in &mut findings {
        finding.redact(manifest.redactions());
    }
    findings
}

fn entries<'a>(
    manifest: &'a Manifest,
    kind: &'a str,
) -> impl Iterator<Item = &'a gristmill_manifest::Connector> {
    let of_kind = move |entry: &&gristmill_manifest::Connector| entry.kind == kind;
    manifest.connectors.iter().filter(of_kind)
}

async fn listen(addr: SocketAddr) -> Finding {
    let subject = format!("listen on {addr}");
    match tokio::net::TcpListener::bind(addr).await {
        Ok(_) if addr.ip().is_loopback() => Finding::ok("metrics", subject, "free"),
        Ok(_) => Finding::warn(
            "metrics",
            subject,
            "free, and open to whoever reaches this machine",
            "listen on 127.0.0.1 unless others are to read the metrics",
        ),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Finding::warn(
            "metrics",
            subject,
            "in use",
            "fine if the pipeline runs already; else choose another address",
        ),
        Err(error) => Finding::fail(
            "metrics",
            subject,
            error.to_string(),
            "name one of this machine's addresses and a port above 1023",
        ),
    }
}
