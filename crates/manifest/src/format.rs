//! Syntaxes of texts: each with an example, since an example is what helps.

use std::time::Duration;

use crate::names::{broker, module, name, topic, version};
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
    /// An address to listen on: `127.0.0.1:9464`, or a port on loopback.
    Listen,
    /// A file; a relative path counts from the manifest's folder.
    File,
}

/// A text that is not of its format: what is wrong, and the remedy.
#[derive(Debug, PartialEq)]
pub(crate) struct Wrong {
    pub(crate) what: String,
    pub(crate) help: String,
}

pub(crate) fn wrong(what: impl Into<String>, help: impl Into<String>) -> Result<(), Wrong> {
    Err(Wrong {
        what: what.into(),
        help: help.into(),
    })
}

impl Format {
    pub(crate) const ALL: [(&'static str, Self); 13] = [
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
        ("listen", Self::Listen),
        ("file", Self::File),
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
            Self::Listen => "an address to listen on",
            Self::File => "a path",
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
            Self::Listen => "127.0.0.1:9464",
            Self::File => "ca.pem",
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
            Self::Listen => crate::listen::check(text),
            Self::File => crate::names::file(text),
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
pub(crate) fn port(host: &str) -> Option<&str> {
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
