//! The `redis:` section and what can be wrong with it.

use std::fmt;
use std::time::Duration;

use gristmill_counter::{KeyTemplate, TemplateError};
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};
use serde::Deserialize;

use crate::keys::Keys;

/// The connector's own section of its config; `Connector.toml` describes each key.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// The server, such as `redis://127.0.0.1:6379/0`.
    pub url: String,
    /// Template of the key that each record counts for.
    #[serde(default = "default_count")]
    pub count: String,
    /// Count into the fields of this hash instead of keys of their own.
    #[serde(default)]
    pub hash: Option<String>,
    /// Count in tumbling windows of event time instead of in all.
    #[serde(default)]
    pub window: Option<Window>,
    /// ACL user, instead of the URL's.
    #[serde(default)]
    pub username: Option<String>,
    /// Password, instead of the URL's.
    #[serde(default)]
    pub password: Option<String>,
    /// Longest wait for a connection and for an answer.
    #[serde(default = "default_timeout", with = "humantime_serde")]
    pub timeout: Duration,
}

/// Tumbling windows on event time.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Window {
    /// Length of each; they are aligned to the epoch.
    #[serde(with = "humantime_serde")]
    pub size: Duration,
    /// How long after its end a window waits for events that are out of order.
    #[serde(default = "default_minute", with = "humantime_serde")]
    pub grace: Duration,
    /// How long a closed window is kept.
    #[serde(default = "default_keep", with = "humantime_serde")]
    pub keep: Duration,
    /// A partition that is read to its end and quiet for this long no longer holds windows open.
    #[serde(default = "default_minute", with = "humantime_serde")]
    pub idle: Duration,
    /// What happens to events that come later.
    #[serde(default)]
    pub late: LateRule,
}

/// What happens to events that come after their window has closed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LateRule {
    /// They are counted by key, apart from the windows.
    #[default]
    Count,
    /// They become dead letters.
    DeadLetter,
}

fn default_minute() -> Duration {
    Duration::from_secs(60)
}

fn default_keep() -> Duration {
    Duration::from_secs(24 * 3600)
}

fn default_count() -> String {
    "{value}".to_owned()
}

fn default_timeout() -> Duration {
    Duration::from_secs(5)
}

/// Shows no secret.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("url", &redacted(&self.url))
            .field("count", &self.count)
            .field("hash", &self.hash)
            .field("window", &self.window)
            .field("username", &self.username)
            .field("password", &self.password.as_ref().map(|_| "…"))
            .field("timeout", &self.timeout)
            .finish()
    }
}

/// Why a section cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The URL.
    #[error("url `{url}`: {reason}; expected redis://HOST:PORT/DB or unix:///path?db=DB")]
    Url {
        /// The URL without its credentials.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// `rediss://` in a build without TLS.
    #[error("url `{url}`: this build has no TLS; build with the feature `tls`, or use redis://")]
    NoTls {
        /// The URL without its credentials.
        url: String,
    },
    /// The count key's template.
    #[error("count `{count}`: {error}")]
    Count {
        /// The template.
        count: String,
        /// What is wrong with it.
        error: TemplateError,
    },
    /// The windows.
    #[error("window: {0}")]
    Window(&'static str),
    /// The hash's name.
    #[error("hash `{hash}`: {reason}")]
    Hash {
        /// As written.
        hash: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No time at all.
    #[error("timeout is zero: try 5s")]
    Timeout,
    /// A pipeline or connector name that cannot stand in a Redis key.
    #[error(
        "name `{name}`: a pipeline and a connector need a name without `{{`, `}}`, `:` and `/`"
    )]
    Name {
        /// The name.
        name: String,
    },
}

impl Config {
    /// Where and as whom to connect.
    pub(crate) fn connection(&self) -> Result<ConnectionInfo, ConfigError> {
        if self.timeout.is_zero() {
            return Err(ConfigError::Timeout);
        }
        let url = || redacted(&self.url);
        let tls = self.url.starts_with("rediss:") || self.url.starts_with("valkeys:");
        if tls && !cfg!(feature = "tls") {
            return Err(ConfigError::NoTls { url: url() });
        }
        let info = self.url.as_str().into_connection_info();
        let info = info.map_err(|error| ConfigError::Url {
            url: url(),
            reason: error.to_string(),
        })?;
        let mut settings = info.redis_settings().clone();
        if let Some(username) = &self.username {
            settings = settings.set_username(username);
        }
        if let Some(password) = &self.password {
            settings = settings.set_password(password);
        }
        Ok(info.set_redis_settings(settings))
    }

    /// Whether every key of the sink is in one slot of a Redis Cluster.
    pub fn has_hash_tag(&self) -> bool {
        self.hash.is_some()
            || self.window.is_some()
            || self
                .template()
                .is_ok_and(|template| template.hash_tag().is_some())
    }

    /// The names of the sink's own keys, in the slot of what it counts.
    pub(crate) fn keys(&self, pipeline: &str, connector: &str) -> Result<Keys, ConfigError> {
        let template = self.template()?;
        let tag = match (&self.hash, &self.window) {
            // Fields have no slot; the windows' hashes are the sink's own.
            (None, Some(_)) => None,
            // A name without a tag is its own slot, wholly.
            (Some(hash), _) => Some(hash_tag(hash).unwrap_or(hash)),
            (None, None) => template.hash_tag(),
        };
        Keys::new(pipeline, connector, tag)
    }

    /// What of a section its keys alone do not tell: whether windows and hash make sense.
    ///
    /// # Errors
    /// [`ConfigError::Window`] or [`ConfigError::Hash`].
    pub fn check(&self) -> Result<(), ConfigError> {
        if let Some(window) = &self.window {
            if window.size.as_millis() == 0 {
                return Err(ConfigError::Window("size is less than 1ms: try 3m"));
            }
            if window.keep.as_millis() == 0 {
                return Err(ConfigError::Window("keep is less than 1ms: try 24h"));
            }
            if self.hash.is_some() {
                return Err(ConfigError::Window(
                    "each window has a hash of its own: leave out `hash`, or count windows in \
                     another sink",
                ));
            }
        }
        let Some(hash) = &self.hash else {
            return Ok(());
        };
        let fail = |reason: String| {
            Err(ConfigError::Hash {
                hash: hash.clone(),
                reason,
            })
        };
        match gristmill_counter::check_key(hash.as_bytes()) {
            Err(gristmill_counter::KeyError::Empty) => {
                fail("it needs a name: try types".to_owned())
            }
            Err(gristmill_counter::KeyError::Reserved) => fail(format!(
                "names that begin with `{}` are Gristmill's own",
                gristmill_counter::RESERVED_PREFIX
            )),
            Err(error) => fail(error.to_string()),
            Ok(()) if hash_tag(hash).is_none() && hash.contains(['{', '}']) => {
                fail("it has braces that are no hash tag: leave them out".to_owned())
            }
            Ok(()) => Ok(()),
        }
    }

    /// The parsed count key.
    pub(crate) fn template(&self) -> Result<KeyTemplate, ConfigError> {
        KeyTemplate::parse(&self.count).map_err(|error| ConfigError::Count {
            count: self.count.clone(),
            error,
        })
    }
}

/// The part of a key that Redis Cluster takes its slot from, where it is not the whole.
fn hash_tag(key: &str) -> Option<&str> {
    let (_, after) = key.split_once('{')?;
    let (tag, _) = after.split_once('}')?;
    (!tag.is_empty()).then_some(tag)
}

/// The server's address without credentials.
pub(crate) fn address(addr: &ConnectionAddr, db: i64) -> String {
    match addr {
        ConnectionAddr::Tcp(host, port) => format!("redis://{host}:{port}/{db}"),
        ConnectionAddr::TcpTls { host, port, .. } => format!("rediss://{host}:{port}/{db}"),
        other => format!("unix://{other}?db={db}"),
    }
}

/// A URL, parseable or not, without what may be a credential: everything between scheme and the
/// last `@`, and the query.
fn redacted(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    if scheme.is_empty() {
        host.to_owned()
    } else {
        format!("{scheme}://{host}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(url: &str) -> Config {
        Config {
            url: url.to_owned(),
            count: default_count(),
            hash: None,
            window: None,
            username: None,
            password: None,
            timeout: default_timeout(),
        }
    }

    #[test]
    fn the_section_has_defaults_and_no_unknown_keys() {
        let parsed: Config =
            serde_json::from_str(r#"{"url":"redis://h","timeout":"250ms"}"#).unwrap();
        assert_eq!(parsed.count, "{value}");
        assert_eq!(parsed.timeout, Duration::from_millis(250));
        let error =
            serde_json::from_str::<Config>(r#"{"url":"redis://h","cuont":"x"}"#).unwrap_err();
        assert!(error.to_string().contains("cuont"), "{error}");
    }

    /// `Connector.toml` is what manifests are checked against, so it must know the same keys.
    #[test]
    fn the_spec_describes_every_key() {
        use gristmill_flow::Connector;
        let spec: toml::Table = toml::from_str(crate::RedisSink::SPEC).unwrap();
        assert_eq!(
            spec["package"]["name"].as_str(),
            Some(crate::RedisSink::TYPE)
        );
        assert_eq!(spec["custom"]["required"].as_array().unwrap().len(), 1);
        let properties = spec["custom"]["properties"].as_table().unwrap();
        let mut filled = serde_json::Map::new();
        for (key, property) in properties {
            assert!(property["title"].is_str() && property["description"].is_str());
            let value = match key.as_str() {
                "timeout" => "1s".into(),
                "window" => {
                    let inner = property["properties"].as_table().unwrap();
                    let value = |key: &str| if key == "late" { "count" } else { "1s" };
                    let pairs = inner.keys().map(|key| (key.clone(), value(key).into()));
                    serde_json::Value::Object(pairs.collect())
                }
                _ => "x".into(),
            };
            filled.insert(key.clone(), value);
        }
        // Each key of the spec is taken; a key that only the code knew would miss here.
        let parsed: Config = serde_json::from_value(filled.into()).unwrap();
        assert!(parsed.username.is_some() && parsed.password.is_some());
        assert_eq!(properties.len(), 7);
        let window = properties["window"]["properties"].as_table().unwrap();
        assert_eq!(window.len(), 5);
        let defaults: Window = serde_json::from_str(r#"{"size":"3m"}"#).unwrap();
        for (key, value) in [
            ("grace", defaults.grace),
            ("keep", defaults.keep),
            ("idle", defaults.idle),
        ] {
            let written = window[key]["default"].as_str().unwrap();
            assert_eq!(humantime::parse_duration(written).unwrap(), value, "{key}");
        }
        assert_eq!(properties["count"]["default"].as_str(), Some("{value}"));
        assert_eq!(properties["timeout"]["default"].as_str(), Some("5s"));
    }

    #[test]
    fn no_secret_is_shown() {
        for url in [
            "redis://me:hunter2@host:1/0",
            "redis://:hunter2@host:1",
            "redis://me:hun@hunter2@host",
            "me:hunter2@host",
            "unix:///tmp/s.sock?pass=hunter2",
            "http://me:hunter2@host",
            "redis://me:hunter2@host:port/x",
        ] {
            let config = Config {
                password: Some("hunter2".to_owned()),
                ..config(url)
            };
            assert!(!format!("{config:?}").contains("hunter2"), "{config:?}");
            match config.connection() {
                Ok(info) => assert!(!address(info.addr(), 0).contains("hunter2")),
                Err(error) => assert!(!error.to_string().contains("hunter2"), "{error}"),
            }
        }
    }

    #[test]
    fn mistakes_name_the_value() {
        let error = config("http://host").connection().unwrap_err().to_string();
        assert!(error.starts_with("url `http://host`: "), "{error}");
        let zero = Config {
            timeout: Duration::ZERO,
            ..config("redis://h")
        };
        assert_eq!(zero.connection().unwrap_err(), ConfigError::Timeout);
        let count = Config {
            count: "{valeu}".to_owned(),
            ..config("redis://h")
        };
        let error = count.template().unwrap_err().to_string();
        assert!(error.contains("did you mean `{value}`"), "{error}");
    }

    #[test]
    fn hashes_and_windows_that_make_no_sense_are_refused() {
        let check = |hash: Option<&str>, window: Option<&str>| {
            let config = Config {
                hash: hash.map(str::to_owned),
                window: window.map(|text| serde_json::from_str(text).unwrap()),
                ..config("redis://h")
            };
            config.check().err().map(|error| error.to_string())
        };
        for (hash, window, expect) in [
            (Some(""), None, "it needs a name"),
            (Some("gristmill:x"), None, "Gristmill's own"),
            (Some("{gristmill:x"), None, "no hash tag"),
            (None, Some(r#"{"size":"0s"}"#), "size"),
            (None, Some(r#"{"size":"3m","keep":"0s"}"#), "keep"),
            (Some("x"), Some(r#"{"size":"3m"}"#), "leave out `hash`"),
        ] {
            let error = check(hash, window).unwrap_or_default();
            assert!(error.contains(expect), "{hash:?} {window:?}: {error}");
        }
        assert_eq!(check(Some("{wiki}:types"), None), None);
        assert_eq!(
            check(None, Some(r#"{"size":"3m","late":"dead-letter"}"#)),
            None
        );
    }

    #[test]
    fn own_credentials_replace_the_urls() {
        let config = Config {
            username: Some("a".to_owned()),
            password: Some("b".to_owned()),
            ..config("redis://x:y@h:7/3")
        };
        let info = config.connection().unwrap();
        assert_eq!(info.redis_settings().username(), Some("a"));
        assert_eq!(info.redis_settings().password(), Some("b"));
        assert_eq!(
            address(info.addr(), info.redis_settings().db()),
            "redis://h:7/3"
        );
    }
}
