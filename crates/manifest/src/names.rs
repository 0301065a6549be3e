//! Syntaxes of names and addresses that the file itself has.

use crate::format::{Wrong, port, wrong};
use crate::text::quote;

/// `deploy` makes file names, systemd units and metric labels of it.
pub(crate) fn name(text: &str) -> Result<(), Wrong> {
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let help = "use a-z, 0-9 and `-`, a letter or digit at both ends, at most 63 of them";
    if text.is_empty() {
        return wrong("is empty", help);
    }
    if let Some(bad) = text.chars().find(|c| !legal(*c)) {
        let mended: String = text
            .to_lowercase()
            .chars()
            .map(|c| if legal(c) { c } else { '-' })
            .collect();
        let mended = mended.trim_matches('-');
        let help = match mended {
            "" => help.to_owned(),
            _ if !text.is_ascii() => help.to_owned(),
            name => format!("{help}; for example {}", quote(name)),
        };
        return wrong(
            format!("holds {}, which a name cannot", quote(&bad.to_string())),
            help,
        );
    }
    if text.starts_with('-') || text.ends_with('-') || text.len() > 63 {
        return wrong("is not a legal name", help);
    }
    Ok(())
}

/// A path; whether anything is there is seen when it is read.
pub(crate) fn file(text: &str) -> Result<(), Wrong> {
    if text.trim().is_empty() {
        return wrong("is empty", "name a file, or take the key out");
    }
    if text.contains("-----BEGIN") {
        // Said without the text: it may well be a private key.
        return Err(Wrong {
            what: "is a file's content".to_owned(),
            help: "put it into a file and write the path".to_owned(),
        });
    }
    if text.contains(char::is_control) {
        return wrong("holds a control character", "write the path alone");
    }
    if text.starts_with('~') {
        return wrong(
            "starts with `~`, which only a shell knows",
            "write the whole path, or one from this file's folder",
        );
    }
    Ok(())
}

/// Kafka's own rule: `org.apache.kafka.common.internals.Topic`.
pub(crate) fn topic(text: &str) -> Result<(), Wrong> {
    let help = "a topic's name has a-z, A-Z, 0-9, `.`, `_` and `-`, at most 249 of them";
    let legal = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if text.is_empty() {
        return wrong("is empty", help);
    }
    if let Some(bad) = text.chars().find(|c| !legal(*c)) {
        return wrong(
            format!(
                "holds {}, which a topic's name cannot",
                quote(&bad.to_string())
            ),
            help,
        );
    }
    if text.len() > 249 {
        return wrong(format!("has {} characters", text.len()), help);
    }
    if matches!(text, "." | "..") {
        return wrong("is reserved", help);
    }
    Ok(())
}

/// Fluvio's own rule (`fluvio_sc_schema::shared::validate_resource_name`), with room for the
/// `-dead-letter` of the topic beside it.
pub(crate) fn fluvio_topic(text: &str) -> Result<(), Wrong> {
    let help = "a topic's name on Fluvio has a-z, 0-9 and `-`, not at its ends, at most 51 of them";
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if let Some(bad) = text.chars().find(|c| !legal(*c)) {
        let bad = quote(&bad.to_string());
        return wrong(format!("Fluvio takes no {bad} in a topic's name"), help);
    }
    if text.starts_with('-') || text.ends_with('-') {
        return wrong("Fluvio takes no `-` at the ends of a topic's name", help);
    }
    if text.len() > 51 {
        return wrong(format!("it has {} characters", text.len()), help);
    }
    Ok(())
}

pub(crate) fn version(text: &str) -> Result<(), Wrong> {
    let Err(error) = semver::Version::parse(text) else {
        return Ok(());
    };
    let parts: Vec<&str> = text.split('.').collect();
    let number = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let help = if parts.len() < 3 && parts.iter().all(number) {
        format!("did you mean `{text}{}`?", ".0".repeat(3 - parts.len()))
    } else {
        format!("a version has three numbers, such as `0.1.0` ({error})")
    };
    wrong("is not a version", help)
}

pub(crate) fn module(text: &str) -> Result<(), Wrong> {
    let help = "write `name@0.1.0`, `group/name@0.1.0` or a path such as `./my.wasm`";
    if text.is_empty() || text.contains(char::is_whitespace) {
        return wrong("is not a SmartModule", help);
    }
    if text.starts_with(['.', '/']) || text.ends_with(".wasm") {
        return Ok(());
    }
    let (name, tag) = match text.split_once('@') {
        Some((name, tag)) => (name, Some(tag)),
        None => (text, None),
    };
    let legal = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    let parts: Vec<&str> = name.split('/').collect();
    if parts.len() > 2
        || parts
            .iter()
            .any(|part| part.is_empty() || !part.chars().all(legal))
    {
        return wrong("is not a SmartModule", help);
    }
    match tag.map(version) {
        Some(Err(_)) => wrong(
            format!("has the version {}", quote(tag.unwrap_or_default())),
            "a version has three numbers: `name@0.1.0`",
        ),
        _ => Ok(()),
    }
}

pub(crate) fn broker(text: &str) -> Result<(), Wrong> {
    let help = |host: &str| {
        format!(
            "write host and port: `{}:9092`",
            if host.is_empty() { "127.0.0.1" } else { host }
        )
    };
    if text.is_empty() || text.contains(char::is_whitespace) {
        return wrong("names a broker without a host", help(""));
    }
    // librdkafka also takes `SSL://host:port`; the protocol belongs into kafka.properties.
    if let Some((_, rest)) = text.split_once("://") {
        return wrong(
            "is a URL, not a broker's address",
            help(rest.split([':', '/']).next().unwrap_or_default()),
        );
    }
    let host = text
        .strip_suffix(port(text).unwrap_or_default())
        .unwrap_or(text);
    let host = host.trim_end_matches(':');
    match port(text) {
        None => wrong("names a broker without a port", help(text)),
        Some(port) if port.parse::<u16>().is_ok_and(|port| port > 0) && !host.is_empty() => Ok(()),
        Some(port) if host.is_empty() => wrong(
            "names a broker without a host",
            format!("write host and port: `127.0.0.1:{port}`"),
        ),
        Some(port) => wrong(
            format!("names a broker with the port {}", quote(port)),
            "a port is a number from 1 to 65535",
        ),
    }
}
