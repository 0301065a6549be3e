//! Rules of topics on a Fluvio cluster: what it cannot promise is said before anything runs.

use crate::load::{connectors, spec_of};
use crate::names::fluvio_topic;
use crate::report::{At, Report};
use crate::spec::{ConnectorSpec, Direction};
use crate::text::quote;
use crate::tree::{Entry, Node};

pub(crate) fn check(root: &Node, specs: &[ConnectorSpec], report: &mut Report<'_>) {
    let Some(fluvio) = root.map().and_then(|map| map.entry("fluvio")) else {
        return;
    };
    one_cluster(root, fluvio, report);
    names(root, report);
    promises(root, fluvio, specs, report);
}

fn one_cluster(root: &Node, fluvio: &Entry, report: &mut Report<'_>) {
    let Some(kafka) = root.map().and_then(|map| map.entry("kafka")) else {
        return;
    };
    let here = Some("and here".to_owned());
    let other = report.sources.label(kafka.key_span, here);
    let message = "topics are either on Fluvio or on Kafka, and the file names a cluster of each";
    let error = report.error(fluvio.key_span, "fluvio", message);
    error.secondary = Some(other);
    error.help("take `fluvio` or `kafka` out; for both, write two pipelines");
}

/// Fluvio's names of topics are stricter than Kafka's.
fn names(root: &Node, report: &mut Report<'_>) {
    let topics = root.get("topics").and_then(crate::tree::Node::map);
    for entry in topics.map_or(&[][..], |topics| &topics.entries) {
        if let Err(wrong) = fluvio_topic(&entry.key) {
            let message = format!("topic {}: {}", quote(&entry.key), wrong.what);
            let error = report.error(entry.key_span, &At::root().key(entry).path, message);
            error.help(wrong.help);
        }
    }
}

/// A source that is to deliver exactly once, which needs transactions.
fn promises(root: &Node, fluvio: &Entry, specs: &[ConnectorSpec], report: &mut Report<'_>) {
    let of_file = root.get("delivery");
    for (at, connector) in connectors(root) {
        let is_source = spec_of(connector, specs).map(|spec| spec.direction);
        if is_source != Some(Direction::Source) {
            continue;
        }
        let own = connector.at(&["meta", "producer", "delivery"]);
        let said = own.or(of_file);
        if said.and_then(Node::text) == Some("at-least-once") {
            continue;
        }
        let named = connector.at(&["meta", "name"]);
        let name = named.and_then(Node::text).unwrap_or(&at.name);
        let message = format!(
            "{} is to write exactly once, which needs transactions, and Fluvio has none",
            quote(name)
        );
        let span = said.map_or(fluvio.key_span, |said| said.span);
        report.error(span, "delivery", message).help(
            "write `delivery: at-least-once` at the top of the file; one copy that is killed still leaves \
             every record once, see \"Fluvio\" in docs/delivery.md for what is not promised",
        );
    }
}
