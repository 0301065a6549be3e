//! The `sse:` section of a connector config, and its meaning.
//!
//! [`Config`] is what is written; [`Settings`] is what it means, with every pointer compiled and
//! every header parsed, so that nothing can turn out wrong once the connector runs.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use bytesize::ByteSize;
use gristmill_tls::{Files, TlsError};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use url::Url;

use crate::extract::{Pointer, timestamp_ms};

/// Most `drop` rules: each is looked for in every event.
const DROP_MAX: usize = 16;
/// A batch's records are indexed with 32 bits; far below that, memory is the bound.
const BATCH_BYTES_MAX: u64 = 256 << 20;

/// The `sse:` section, as `Connector.toml` describes it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Config {
    /// The stream, or several; `http` or `https`.
    pub url: Streams,
    /// Who is asking: `name/version (URL; email)`.
    pub user_agent: String,
    /// Further request headers; values are never logged.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// JSON pointer to the record's key.
    #[serde(default)]
    pub key: Option<String>,
    /// JSON pointer to the record's timestamp: epoch seconds, epoch milliseconds or ISO 8601.
    #[serde(default)]
    pub timestamp: Option<String>,
    /// Where a stream without a stored position starts: epoch milliseconds or ISO 8601.
    #[serde(default)]
    pub since: Option<Scalar>,
    /// JSON pointer → value: events whose field equals it are left out.
    #[serde(default)]
    pub drop: BTreeMap<String, Scalar>,
    /// Names of the SSE events to take; `*` for all; empty: all but `error`.
    #[serde(default)]
    pub events: Vec<String>,
    /// Events with more data than this are cut and rejected.
    #[serde(default = "default_event_bytes_max")]
    pub event_bytes_max: ByteSize,
    /// Silence after which a connection is taken for dead.
    #[serde(default = "default_read_timeout", with = "humantime_serde")]
    pub read_timeout: Duration,
    /// Time for the TCP connection to stand.
    #[serde(default = "default_connect_timeout", with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// Waits between attempts.
    #[serde(default)]
    pub retry: Retry,
    /// For servers that resume inexactly: how far to go back on every connection.
    #[serde(default, with = "humantime_serde")]
    pub rewind: Option<Duration>,
    /// Drop events whose id was seen before.
    #[serde(default)]
    pub dedupe: Option<Dedupe>,
    /// What is committed in one step.
    #[serde(default)]
    pub batch: Batching,
    /// Certificates of a server that is not signed by a public CA, or that asks for one.
    #[serde(default)]
    pub tls: Option<Files>,
}

/// `url:` of the section.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Streams {
    /// One stream.
    One(String),
    /// Several by name. Each has a position under its name, so that an address may change and
    /// others may come and go.
    Named(BTreeMap<String, String>),
}

/// `retry:` of the section.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Retry {
    /// Bound of the first wait.
    #[serde(with = "humantime_serde")]
    pub initial: Duration,
    /// Bound that the waits grow to.
    #[serde(with = "humantime_serde")]
    pub max: Duration,
}

/// `dedupe:` of the section.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Dedupe {
    /// JSON pointer to the id that makes an event unique.
    pub id: String,
    /// How far behind the newest event ids are remembered.
    #[serde(default = "default_window", with = "humantime_serde")]
    pub window: Duration,
    /// Ids held at once at most.
    #[serde(default = "default_dedupe_max")]
    pub max: usize,
}

const LINGER: Duration = Duration::from_millis(50);
/// A commit costs the same however few records are in it: at 50 events a second it is all that a
/// pipeline costs.
const LINGER_CALM: Duration = Duration::from_millis(85);

/// `batch:` of the section.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Batching {
    /// Most records in a batch.
    pub records: usize,
    /// Bytes after which a batch is full.
    pub bytes: ByteSize,
    /// How long records gather after a commit; `None` is 50 ms.
    #[serde(with = "humantime_serde")]
    pub linger: Option<Duration>,
    /// The same of a calm stream, up to 320 events a second. `None` is `linger`, or 85 ms (at most
    /// `linger_max`) where that is not given either.
    #[serde(with = "humantime_serde")]
    pub linger_calm: Option<Duration>,
    /// How long it waits at most under load.
    #[serde(with = "humantime_serde")]
    pub linger_max: Duration,
}

/// A YAML scalar, kept as its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scalar(pub String);

/// A value that parses and means nothing.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not a URL that can be opened.
    #[error("sse.url: `{value}` {reason}")]
    Url {
        /// What was given, without credentials.
        value: String,
        /// What is wrong with it, and the remedy.
        reason: String,
    },
    /// No User-Agent.
    #[error(
        "sse.user-agent: must say who is asking, such as `gristmill/0.1 (https://example.org; you@example.org)`"
    )]
    UserAgent,
    /// Not a header that can be sent. The value is left out: it may be a secret.
    #[error("sse.headers: `{name}` {reason}")]
    Header {
        /// The header's name.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Not a JSON pointer (RFC 6901).
    #[error("{key}: `{value}` is no JSON pointer: it starts with `/`, as in `/meta/id`")]
    Pointer {
        /// Where it stands.
        key: &'static str,
        /// What was given.
        value: String,
    },
    /// Not a point in time.
    #[error(
        "sse.since: `{0}` is neither epoch milliseconds nor an ISO 8601 date such as `2026-01-31`"
    )]
    Since(String),
    /// Outside of what can work.
    #[error("{key}: {value} {remedy}")]
    Range {
        /// Where it stands.
        key: &'static str,
        /// What was given.
        value: String,
        /// What would work.
        remedy: String,
    },
    /// Certificates that cannot be used.
    #[error("sse.{0}")]
    Tls(#[from] TlsError),
    /// Certificates for a connection that is not encrypted.
    #[error("sse.tls: `{url}` is not https://: correct it, or take `tls` out")]
    NotHttps {
        /// The URL without its query.
        url: String,
    },
}

impl ConfigError {
    /// The key that is wrong, from the connector's root: `sse.url`.
    pub fn key(&self) -> String {
        let key = match self {
            Self::Tls(error) => return format!("sse.{}", error.key),
            Self::Url { .. } => "sse.url",
            Self::UserAgent => "sse.user-agent",
            Self::Header { .. } => "sse.headers",
            Self::Pointer { key, .. } | Self::Range { key, .. } => key,
            Self::Since(_) => "sse.since",
            Self::NotHttps { .. } => "sse.tls",
        };
        key.to_owned()
    }
}

/// A [`Config`] that makes sense.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) url: Url,
    pub(crate) user_agent: HeaderValue,
    pub(crate) headers: HeaderMap,
    pub(crate) key: Option<Pointer>,
    pub(crate) timestamp: Option<Pointer>,
    pub(crate) since_ms: Option<i64>,
    pub(crate) drop: Vec<(Pointer, String)>,
    pub(crate) events: Vec<String>,
    pub(crate) event_bytes_max: usize,
    pub(crate) read_timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) retry: Retry,
    pub(crate) rewind_ms: Option<i64>,
    pub(crate) dedupe: Option<DedupeSettings>,
    pub(crate) batch: Batching,
    pub(crate) tls: Files,
}

#[derive(Debug, Clone)]
pub(crate) struct DedupeSettings {
    pub(crate) id: Pointer,
    pub(crate) window_ms: i64,
    pub(crate) entries_max: usize,
}

impl Config {
    /// Check what the types cannot: pointers, header names, windows. Reads no file.
    ///
    /// # Errors
    /// The first value that means nothing, with its key.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if matches!(&self.url, Streams::Named(streams) if streams.is_empty()) {
            return Err(ConfigError::Url {
                value: "{}".to_owned(),
                reason: "names no stream: write `NAME: URL` for each, or one URL".to_owned(),
            });
        }
        let mut streams = self.streams().into_iter();
        streams.try_for_each(|(_, stream)| stream.settings().map(drop))
    }

    /// A config for each stream: a source reads one. The name is empty where there is only one.
    pub fn streams(&self) -> Vec<(String, Self)> {
        let one = |url: &String| Self {
            url: Streams::One(url.clone()),
            ..self.clone()
        };
        match &self.url {
            Streams::One(url) => vec![(String::new(), one(url))],
            Streams::Named(streams) => {
                let each = streams.iter();
                each.map(|(name, url)| (name.clone(), one(url))).collect()
            }
        }
    }

    fn one_url(&self) -> Result<&str, ConfigError> {
        match &self.url {
            Streams::One(url) => Ok(url),
            Streams::Named(_) => Err(ConfigError::Url {
                value: "{…}".to_owned(),
                reason: "are several streams, and a source reads one".to_owned(),
            }),
        }
    }

    /// As [`validate`](Self::validate), and that the files are there and hold certificates.
    ///
    /// # Errors
    /// The first thing that is wrong, with its key.
    pub fn prepare(&self) -> Result<(), ConfigError> {
        self.validate()?;
        self.tls.clone().unwrap_or_default().client_config()?;
        Ok(())
    }

    pub(crate) fn settings(&self) -> Result<Settings, ConfigError> {
        self.check_ranges()?;
        let user_agent = HeaderValue::from_str(self.user_agent.trim())
            .ok()
            .filter(|value| !value.is_empty())
            .ok_or(ConfigError::UserAgent)?;
        let drop = self
            .drop
            .iter()
            .map(|(at, value)| Ok((pointer("sse.drop", at)?, value.0.clone())))
            .collect::<Result<_, ConfigError>>()?;
        let dedupe = self
            .dedupe
            .as_ref()
            .map(|dedupe| -> Result<_, ConfigError> {
                Ok(DedupeSettings {
                    id: pointer("sse.dedupe.id", &dedupe.id)?,
                    window_ms: millis(dedupe.window),
                    entries_max: dedupe.max,
                })
            })
            .transpose()?;
        let url = url(self.one_url()?)?;
        let tls = self.tls.clone().unwrap_or_default();
        tls.check()?;
        if self.tls.is_some() && url.scheme() != "https" {
            return Err(ConfigError::NotHttps {
                url: crate::transport::shown(&url),
            });
        }
        Ok(Settings {
            url,
            user_agent,
            headers: headers(&self.headers)?,
            key: optional_pointer("sse.key", self.key.as_ref())?,
            timestamp: optional_pointer("sse.timestamp", self.timestamp.as_ref())?,
            since_ms: self.since.as_ref().map(since_ms).transpose()?,
            drop,
            events: self.events.clone(),
            event_bytes_max: self.event_bytes_max.as_u64() as usize,
            read_timeout: self.read_timeout,
            connect_timeout: self.connect_timeout,
            retry: self.retry.clone(),
            rewind_ms: self.rewind.map(millis),
            dedupe,
            batch: self.batch.clone(),
            tls,
        })
    }

    fn check_ranges(&self) -> Result<(), ConfigError> {
        let range = |ok: bool, key, value: &dyn fmt::Display, remedy: &str| {
            ok.then_some(()).ok_or_else(|| ConfigError::Range {
                key,
                value: value.to_string(),
                remedy: remedy.to_owned(),
            })
        };
        let size = self.event_bytes_max;
        let fits = (1..=64 << 20).contains(&size.as_u64());
        range(
            fits,
            "sse.event-bytes-max",
            &size,
            "must lie between 1 B and 64 MiB",
        )?;
        let bytes = self.batch.bytes;
        let fits = (1..=BATCH_BYTES_MAX).contains(&bytes.as_u64());
        range(
            fits,
            "sse.batch.bytes",
            &bytes,
            "must lie between 1 B and 256 MiB",
        )?;
        range(
            self.batch.records > 0,
            "sse.batch.records",
            &0,
            "must be at least 1",
        )?;
        range(
            self.drop.len() <= DROP_MAX,
            "sse.drop",
            &self.drop.len(),
            "rules are more than 16",
        )?;
        for (key, value) in [
            ("sse.read-timeout", self.read_timeout),
            ("sse.connect-timeout", self.connect_timeout),
            ("sse.retry.initial", self.retry.initial),
        ] {
            range(
                !value.is_zero(),
                key,
                &Human(value),
                "must be longer than nothing",
            )?;
        }
        let (initial, max) = (self.retry.initial, self.retry.max);
        range(
            max >= initial,
            "sse.retry.max",
            &Human(max),
            "must not be less than retry.initial",
        )?;
        let max = self.batch.linger_max;
        for (linger, remedy) in [
            (self.batch.linger(), "must not be less than linger"),
            (
                self.batch.linger_calm(),
                "must not be less than linger-calm",
            ),
        ] {
            range(max >= linger, "sse.batch.linger-max", &Human(max), remedy)?;
        }
        match (&self.dedupe, self.rewind) {
            (Some(dedupe), rewind) => {
                range(dedupe.max > 0, "sse.dedupe.max", &0, "must be at least 1")?;
                let least = rewind.unwrap_or_default() * 2;
                let remedy = format!(
                    "is shorter than twice sse.rewind, which would bring events back that are \
                     forgotten: make it {} or more",
                    Human(least)
                );
                let window = dedupe.window;
                range(
                    window >= least,
                    "sse.dedupe.window",
                    &Human(window),
                    &remedy,
                )
            }
            (None, Some(rewind)) => range(
                false,
                "sse.rewind",
                &Human(rewind),
                "needs sse.dedupe, such as `dedupe: {id: /meta/id, window: 2m}`: events come again \
                 on every connection",
            ),
            (None, None) => Ok(()),
        }
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            initial: Duration::from_millis(500),
            max: Duration::from_secs(30),
        }
    }
}

impl Batching {
    /// How long records gather after a commit.
    pub fn linger(&self) -> Duration {
        self.linger.unwrap_or(LINGER)
    }

    /// The same of a calm stream.
    pub fn linger_calm(&self) -> Duration {
        let default = LINGER_CALM.min(self.linger_max);
        self.linger_calm.or(self.linger).unwrap_or(default)
    }
}

impl Default for Batching {
    fn default() -> Self {
        Self {
            records: 10_000,
            bytes: ByteSize::mib(4),
            linger: None,
            linger_calm: None,
            linger_max: Duration::from_millis(200),
        }
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Any {
            Text(String),
            Bool(bool),
            Integer(i64),
            Float(f64),
        }
        Ok(Self(match Any::deserialize(deserializer)? {
            Any::Text(text) => text,
            Any::Bool(value) => value.to_string(),
            Any::Integer(value) => value.to_string(),
            Any::Float(value) => value.to_string(),
        }))
    }
}

/// A duration as one would write it: `1m 30s`.
struct Human(Duration);

impl fmt::Display for Human {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime_serde::re::humantime::format_duration(self.0).fmt(f)
    }
}

fn default_event_bytes_max() -> ByteSize {
    ByteSize::mib(1)
}

// Wikimedia sends no heartbeat and more than 30 events/s; other servers' heartbeats come every
// 15 to 30 s. A minute is silence by either measure, and a needless reconnection loses nothing.
fn default_read_timeout() -> Duration {
    Duration::from_secs(60)
}

fn default_connect_timeout() -> Duration {
    Duration::from_secs(10)
}

fn default_window() -> Duration {
    Duration::from_secs(120)
}

fn default_dedupe_max() -> usize {
    500_000
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis())
        .unwrap_or(i64::MAX / 4)
        .min(i64::MAX / 4)
}

fn url(value: &str) -> Result<Url, ConfigError> {
    let error = |value: &str, reason: &str| ConfigError::Url {
        value: value.to_owned(),
        reason: reason.to_owned(),
    };
    let url = Url::parse(value).map_err(|cause| ConfigError::Url {
        value: value.to_owned(),
        reason: format!("is no URL ({cause}): give one such as `https://example.org/stream`"),
    })?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(error(value, "is neither http nor https"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        let host = url.host_str().unwrap_or_default();
        return Err(error(
            host,
            "has credentials in its URL, where logs would show them: send an Authorization header \
             through sse.headers",
        ));
    }
    Ok(url)
}

fn headers(given: &BTreeMap<String, String>) -> Result<HeaderMap, ConfigError> {
    let mut headers = HeaderMap::new();
    for (name, value) in given {
        let error = |reason| ConfigError::Header {
            name: name.clone(),
            reason,
        };
        let parsed = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| error("is no header name: letters, digits and `-`"))?;
        match parsed.as_str() {
            "user-agent" => return Err(error("has a key of its own: sse.user-agent")),
            "last-event-id" | "accept" | "host" | "connection" | "content-length"
            | "transfer-encoding" | "accept-encoding" => {
                return Err(error("is set by the connector itself: take it out"));
            }
            _ => {}
        }
        let mut value = HeaderValue::from_str(value)
            .map_err(|_| error("has a value with a line break or control character"))?;
        value.set_sensitive(true);
        headers.insert(parsed, value);
    }
    Ok(headers)
}

fn pointer(key: &'static str, value: &str) -> Result<Pointer, ConfigError> {
    Pointer::parse(value).ok_or_else(|| ConfigError::Pointer {
        key,
        value: value.to_owned(),
    })
}

fn optional_pointer(
    key: &'static str,
    value: Option<&String>,
) -> Result<Option<Pointer>, ConfigError> {
    value.map(|value| pointer(key, value)).transpose()
}

fn since_ms(since: &Scalar) -> Result<i64, ConfigError> {
    let text = since.0.trim();
    let date = || timestamp_ms(&format!("{text}T00:00:00Z"));
    // A bare number is milliseconds: seconds would be 1970.
    let number = || text.parse::<i64>().ok().filter(|ms| *ms >= 0);
    number()
        .or_else(|| {
            text.contains(['T', 't', ' '])
                .then(|| timestamp_ms(text))
                .flatten()
        })
        .or_else(date)
        .ok_or_else(|| ConfigError::Since(text.to_owned()))
}
