//! Fluvio: whether the cluster answers, and the topics against what is asked for.

use gristmill_flow::SourceError;
use gristmill_fluvio_topic::{FluvioConfig, Shape, TopicSpec, survey};
use gristmill_manifest::{Manifest, plural};

use super::Finding;
use crate::fluvio::topic_specs;

const AREA: &str = "fluvio";

pub(super) async fn check(manifest: &Manifest, fluvio: &FluvioConfig) -> Vec<Finding> {
    let subject = format!("controller {}", fluvio.endpoint);
    let shape = match survey(fluvio).await {
        Ok(shape) => shape,
        Err(SourceError::Fatal(reason)) => {
            return vec![Finding::fail_with(AREA, subject, reason)];
        }
        Err(SourceError::Retry { reason, .. }) => {
            let remedy = "start it (`fluvio cluster start`), or correct `fluvio.endpoint`: `fluvio \
                          profile list` shows it; TLS is not offered";
            return vec![
                Finding::fail(AREA, subject, reason, remedy),
                Finding::skipped(AREA, "topics", "the controller does not answer"),
            ];
        }
    };
    let took = shape.took.as_millis();
    let mut findings = vec![Finding::ok(AREA, subject, format!("answers in {took} ms"))];
    findings.extend(spus(&shape).await);
    let specs = topic_specs(manifest);
    findings.extend(specs.iter().map(|spec| topic(spec, &shape)));
    findings
}

/// What the controller tells its clients is what a client then connects to.
async fn spus(shape: &Shape) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (id, address) in &shape.spus {
        let subject = format!("SPU {id}, which is at {address}");
        findings.push(match tokio::net::TcpStream::connect(address).await {
            Ok(_) => Finding::ok(AREA, subject, "answers there"),
            Err(error) => Finding::fail(
                AREA,
                subject,
                format!("cannot be reached from here: {error}"),
                "start it, or register it with a public address that clients reach",
            ),
        });
    }
    if findings.is_empty() {
        let remedy = "register one: `fluvio cluster spu register`, or `fluvio cluster start`";
        findings.push(Finding::fail(AREA, "SPUs", "there is none", remedy));
    }
    findings
}

fn topic(spec: &TopicSpec, shape: &Shape) -> Finding {
    let (name, asked) = (&spec.name, spec.partitions as usize);
    let subject = format!("topic {name}");
    let many = |n: usize| format!("{n} {}", plural(n as u64, "partition"));
    match shape.topics.get(name) {
        None if spec.replicas as usize > shape.spus.len() => Finding::fail(
            AREA,
            subject,
            format!(
                "is missing and cannot be made with {} copies on {} SPUs",
                spec.replicas,
                shape.spus.len()
            ),
            "lower its `replication-factor`, or start more SPUs",
        ),
        None => Finding::ok(AREA, subject, "is missing; `up` makes it"),
        Some(there) if *there < asked => Finding::fail(
            AREA,
            subject,
            format!("has {}, {asked} asked for", many(*there)),
            format!(
                "set `partitions: {there}`, or add some (keys then move to others): fluvio topic \
                 add-partition {name} --count {}",
                asked - there
            ),
        ),
        Some(there) if *there > asked => Finding::warn(
            AREA,
            subject,
            format!("{}; {asked} asked for", many(*there)),
            format!("set `partitions: {there}`"),
        ),
        Some(there) => Finding::ok(AREA, subject, many(*there)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn topics_are_held_against_the_file() {
        let shape = Shape {
            topics: [("edits".to_owned(), 3)].into(),
            spus: [(1, "h:1".to_owned())].into(),
            took: Default::default(),
        };
        let verdict = |name: &str, partitions, replicas| {
            let spec = TopicSpec {
                name: name.to_owned(),
                partitions,
                replicas,
                config: Default::default(),
            };
            topic(&spec, &shape).verdict
        };
        assert_eq!(verdict("edits", 3, 1), Verdict::Ok);
        assert_eq!(verdict("edits", 4, 1), Verdict::Failed);
        assert_eq!(verdict("edits", 2, 1), Verdict::Warning);
        assert_eq!(verdict("new", 2, 1), Verdict::Ok);
        assert_eq!(verdict("new", 2, 2), Verdict::Failed);
    }
}
