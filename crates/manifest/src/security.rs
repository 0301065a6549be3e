//! Rules of `kafka`'s `tls` and `sasl`: what belongs together, and what contradicts.

use std::net::IpAddr;

use crate::lower::brokers;
use crate::report::Report;
use crate::tree::{Map, Node, Value};

/// librdkafka's properties that `tls` says, and those that `sasl` says.
const OF_TLS: [&str; 4] = [
    "ssl.ca.location",
    "ssl.certificate.location",
    "ssl.key.location",
    "ssl.key.password",
];
const OF_SASL: [&str; 4] = [
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.username",
    "sasl.password",
];

pub(crate) fn check(root: &Node, report: &mut Report<'_>) {
    let Some(kafka) = root.get("kafka").and_then(Node::map) else {
        return;
    };
    pairs(kafka, report);
    contradictions(kafka, report);
    open_password(kafka, report);
}

/// A certificate has a key, and a key's password has a key.
fn pairs(kafka: &Map, report: &mut Report<'_>) {
    let Some(tls) = kafka.get("tls").and_then(Node::map) else {
        return;
    };
    for (key, needs, help) in [
        ("cert-file", "key-file", "add the certificate's private key"),
        ("key-file", "cert-file", "add the key's certificate"),
        ("key-password", "key-file", "add the key that it is for"),
    ] {
        if let (Some(entry), None) = (tls.entry(key), tls.entry(needs)) {
            let message = format!("`{key}` stands without `{needs}`");
            let error = report.error(entry.key_span, &format!("kafka.tls.{key}"), message);
            error.help(format!("{help}: `{needs}: …`"));
        }
    }
}

/// Nothing is said twice: of two that differ, one would be ignored.
fn contradictions(kafka: &Map, report: &mut Report<'_>) {
    let Some(properties) = kafka.get("properties").and_then(Node::map) else {
        return;
    };
    let (tls, sasl) = (kafka.entry("tls"), kafka.entry("sasl"));
    for entry in &properties.entries {
        let key = entry.key.as_str();
        let said = match key {
            "security.protocol" => tls.or(sasl),
            key if OF_TLS.contains(&key) => tls,
            key if OF_SASL.contains(&key) => sasl,
            _ => None,
        };
        let Some(said) = said else { continue };
        let first = report.sources.label(said.key_span, Some("here".to_owned()));
        let message = format!("`{key}` is said by `kafka.{}` already", said.key);
        let path = format!("kafka.properties.{key}");
        let error = report.error(entry.key_span, &path, message);
        error.secondary = Some(first);
        error.help("take it out of `properties`");
    }
}

/// PLAIN without TLS tells the password to whoever listens on the way.
fn open_password(kafka: &Map, report: &mut Report<'_>) {
    let off = |node: &Node| matches!(node.value, Value::Bool(false) | Value::Null);
    if kafka.get("tls").is_some_and(|tls| !off(tls)) {
        return;
    }
    let Some(mechanism) = kafka.get("sasl").and_then(|sasl| sasl.get("mechanism")) else {
        return;
    };
    let far = |broker: &String| !is_loopback(broker);
    if mechanism.text() == Some("PLAIN") && brokers(kafka.get("brokers")).iter().any(far) {
        let message = "PLAIN without `tls` sends the password readable over the network";
        let warning = report.warning(mechanism.span, "kafka.sasl.mechanism", message.to_owned());
        warning.help("add `tls: true` to `kafka`, with the port of a listener that has TLS");
    }
}

fn is_loopback(broker: &str) -> bool {
    let host = broker.rsplit_once(':').map_or(broker, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
