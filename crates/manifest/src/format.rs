//! Syntaxes of texts: each with an example, since an example is what helps.

use std::time::Duration;

use crate::schema::Schema;
use crate::text::{nearest, one_of, quote};

/// The `format` of a string in a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A URL with a host.
    Uri,
    /// A length of time with units: `500ms`, `3m`, `1h 30m`.
    Duration,
    /// A number of bytes: `64 KiB`, `10 MB`, `512`.
    Size,
    /// RFC 6901: `/meta/id`; the empty text is the whole document.
    JsonPointer,
    /// Text with `{placeholders}`; `{{` and `}}` stand for braces.
    Template,
    /// A connector's or pipeline's name: `a-z`, `0-9`, `-`.
    Name,
    /// A Kafka topic's name.
    Topic,
    /// `0.1.0`.
    Version,
    /// A SmartModule: `name@0.1.0`, `group/name@0.1.0` or a path to a `.wasm` file.
    Module,
    /// `host:port`.
    Broker,
    /// Several of them, with commas.
    Brokers,
}

/// A text that is not of its format: what is wrong, and the remedy.
#[derive(Debug, PartialEq)]
pub(crate) struct Wrong {
    pub(crate) what: String,
    pub(crate) help: String,
}

fn wrong(what: impl Into<String>, help: impl Into<String>) -> Result<(), Wrong> {
    Err(Wrong {
        what: what.into(),
        help: help.into(),
    })
}

impl Format {
    pub(crate) const ALL: [(&'static str, Self); 11] = [
        ("uri", Self::Uri),
        ("duration", Self::Duration),
        ("size", Self::Size),
        ("json-pointer", Self::JsonPointer),
        ("template", Self::Template),
        ("name", Self::Name),
        ("topic", Self::Topic),
        ("version", Self::Version),
        ("module", Self::Module),
        ("broker", Self::Broker),
        ("brokers", Self::Brokers),
    ];

    /// As it is written in a `Connector.toml`.
    pub fn name(self) -> &'static str {
        let found = Self::ALL.iter().find(|(_, format)| *format == self);
        found.map_or("", |(name, _)| name)
    }

    pub(crate) fn noun(self) -> &'static str {
        match self {
            Self::Uri => "a URL",
            Self::Duration => "a duration",
            Self::Size => "a size",
            Self::JsonPointer => "a JSON pointer",
            Self::Template => "a template",
            Self::Name => "a name",
            Self::Topic => "a topic's name",
            Self::Version => "a version",
            Self::Module => "a SmartModule",
            Self::Broker | Self::Brokers => "a broker's `host:port`",
        }
    }

    pub(crate) fn example(self) -> &'static str {
        match self {
            Self::Uri => "https://example.org/stream",
            Self::Duration => "3m",
            Self::Size => "64 KiB",
            Self::JsonPointer => "/meta/id",
            Self::Template => "{value}",
            Self::Name => "type-counts",
            Self::Topic => "wikipedia-edits",
            Self::Version => "0.1.0",
            Self::Module => "extract-type@0.1.0",
            Self::Broker | Self::Brokers => "127.0.0.1:9092",
        }
    }

    pub(crate) fn check(self, text: &str, schema: &Schema) -> Result<(), Wrong> {
        match self {
            Self::Uri => uri(text, schema),
            Self::Duration => match duration(text) {
                Some(_) => Ok(()),
                None => wrong("is not a duration", duration_help(text)),
            },
            Self::Size => match size(text) {
                Some(_) => Ok(()),
                None => wrong(
                    "is not a size",
                    "write a number and a unit: `512 B`, `64 KiB`, `10 MB`",
                ),
            },
            Self::JsonPointer => json_pointer(text),
            Self::Template => template(text, &schema.placeholders),
            Self::Name => name(text),
            Self::Topic => topic(text),
            Self::Version => version(text),
            Self::Module => module(text),
            Self::Broker => broker(text),
            Self::Brokers => text.split(',').try_for_each(|each| broker(each.trim())),
        }
    }
}

/// A duration as humantime reads it, which is what connectors' configs use too.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    humantime::parse_duration(text).ok()
}

fn duration_help(text: &str) -> String {
    let text = text.trim();
    if text
        .parse::<f64>()
        .is_ok_and(|n| n.fract() == 0.0 && n >= 0.0)
    {
        return format!("add the unit: `{text}s`, `{text}ms` or `{text}m`");
    }
    if text.contains('.') {
        return "write whole numbers of a smaller unit: `1500ms` for 1.5 s".to_owned();
    }
    "write numbers with units `ms`, `s`, `m`, `h`, `d`: `500ms`, `3m`, `1h 30m`".to_owned()
}

/// Bytes, as bytesize reads them.
pub(crate) fn size(text: &str) -> Option<u64> {
    text.parse::<bytesize::ByteSize>().ok().map(|size| size.0)
}

fn uri(text: &str, schema: &Schema) -> Result<(), Wrong> {
    let schemes = &schema.schemes;
    let example = schema
        .examples
        .iter()
        .find_map(|example| example.as_str()?.split_once("://"));
    let example = example.map_or("https", |(scheme, _)| scheme);
    let first = schemes.first().map_or(example, String::as_str);
    if text.contains(char::is_whitespace) || text.contains(char::is_control) {
        return wrong(
            "holds a space or a control character",
            "write a space in a URL as `%20`",
        );
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        let slashed = text
            .split_once(":/")
            .or_else(|| text.split_once("//"))
            .filter(|(scheme, _)| scheme_like(scheme));
        let meant = match slashed {
            Some((scheme, rest)) => format!("{scheme}://{}", rest.trim_start_matches('/')),
            None => format!("{first}://{}", text.trim_start_matches('/')),
        };
        return wrong(
            "is not a URL: it has no scheme",
            format!("did you mean {}?", quote(&meant)),
        );
    };
    if !scheme_like(scheme) {
        return wrong(
            format!("is not a URL: {} is not a scheme", quote(scheme)),
            format!("a URL starts with a scheme: `{first}://`"),
        );
    }
    if !schemes.is_empty()
        && !schemes
            .iter()
            .any(|known| known.eq_ignore_ascii_case(scheme))
    {
        let help = match nearest(scheme, schemes) {
            Some(known) => format!("did you mean {}?", quote(&format!("{known}://{rest}"))),
            None => format!("use one of {}", one_of(schemes)),
        };
        return wrong(
            format!("has the scheme {}, which does not work here", quote(scheme)),
            help,
        );
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    let path_only = matches!(scheme, "file" | "unix" | "redis+unix" | "valkey+unix");
    if host.is_empty() && !(path_only && rest.starts_with('/')) {
        return wrong(
            "is not a URL: it has no host",
            format!("write `{scheme}://HOST/…`"),
        );
    }
    match port(host) {
        Some(port) if port.parse::<u16>().is_err() => wrong(
            format!("has the port {}", quote(port)),
            "a port is a number from 1 to 65535",
        ),
        _ => Ok(()),
    }
}

fn scheme_like(scheme: &str) -> bool {
    scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
}

/// What follows the host's colon; IPv6 addresses stand in brackets.
fn port(host: &str) -> Option<&str> {
    let after = host.rfind(']').map_or(host, |end| &host[end..]);
    after.rsplit_once(':').map(|(_, port)| port)
}

fn json_pointer(text: &str) -> Result<(), Wrong> {
    if !text.is_empty() && !text.starts_with('/') {
        let trimmed = text.trim_start_matches("$.").trim_start_matches('.');
        let meant = format!("/{}", trimmed.replace('.', "/"));
        return wrong(
            "is not a JSON pointer: it does not start with `/`",
            format!("did you mean {}?", quote(&meant)),
        );
    }
    let bad = text
        .match_indices('~')
        .any(|(at, _)| !matches!(text.as_bytes().get(at + 1), Some(b'0' | b'1')));
    if bad {
        return wrong(
            "is not a JSON pointer: `~` stands alone",
            "write `~0` for `~` and `~1` for `/` in a name",
        );
    }
    Ok(())
}

fn template(text: &str, known: &[String]) -> Result<(), Wrong> {
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        let tail = &rest[at..];
        if let Some(after) = tail.strip_prefix("{{").or_else(|| tail.strip_prefix("}}")) {
            rest = after;
            continue;
        }
        let inside = tail.strip_prefix('{').and_then(|tail| tail.split_once('}'));
        let Some((placeholder, after)) = inside else {
            return wrong(
                "has a brace without its pair",
                "write a placeholder as `{value}`, and a brace that is text twice: `{{`",
            );
        };
        if !known.is_empty() && !known.iter().any(|name| name == placeholder) {
            let help = match nearest(placeholder, known) {
                Some(name) => format!("did you mean `{{{name}}}`?"),
                None => format!(
                    "the placeholders here are {}",
                    crate::text::all_of(known.iter().map(|name| format!("{{{name}}}")))
                ),
            };
            return wrong(
                format!(
                    "has the unknown placeholder {}",
                    quote(&format!("{{{placeholder}}}"))
                ),
                help,
            );
        }
        if placeholder.is_empty() || placeholder.contains('{') {
            return wrong(
                "has an empty or nested placeholder",
                "write a placeholder as `{value}`, and a brace that is text twice: `{{`",
            );
        }
        rest = after;
    }
    Ok(())
}

/// `deploy` makes file names, systemd units and metric labels of it.
fn name(text: &str) -> Result<(), Wrong> {
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

/// Kafka's own rule: `org.apache.kafka.common.internals.Topic`.
fn topic(text: &str) -> Result<(), Wrong> {
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

fn version(text: &str) -> Result<(), Wrong> {
    let core = text.split(['-', '+']).next().unwrap_or_default();
    let parts: Vec<&str> = core.split('.').collect();
    let number = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if parts.len() == 3 && parts.iter().all(number) {
        return Ok(());
    }
    let help = match parts.len() {
        1 | 2 if parts.iter().all(number) => {
            format!("did you mean `{core}{}`?", ".0".repeat(3 - parts.len()))
        }
        _ => "a version has three numbers: `0.1.0`".to_owned(),
    };
    wrong("is not a version", help)
}

fn module(text: &str) -> Result<(), Wrong> {
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

fn broker(text: &str) -> Result<(), Wrong> {
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
