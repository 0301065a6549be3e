//! The `redis:` section and what can be wrong with it.

use std::fmt;
use std::time::Duration;

use gristmill_counter::{KeyTemplate, TemplateError};
use gristmill_tls::{Files, TlsError};
use redis::{
    Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, TlsCertificates,
};
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
    /// Set the hash's fields from changes of a table instead of counting records.
    #[serde(default)]
    pub upsert: Option<Upsert>,
    /// ACL user, instead of the URL's.
    #[serde(default)]
    pub username: Option<String>,
    /// Password, instead of the URL's.
    #[serde(default)]
    pub password: Option<String>,
    /// For `rediss://`: certificates of a server that is not signed by a public CA, or that asks
    /// for one.
    #[serde(default)]
    pub tls: Option<Files>,
    /// Longest wait for a connection and for an answer.
    #[serde(default = "default_timeout", with = "humantime_serde")]
    pub timeout: Duration,
}

/// Changes of a table, in Debezium's JSON: which columns of its rows are meant.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Upsert {
    /// Names the hash's field.
    pub field: String,
    /// What the field is set to.
    pub value: String,
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
            .field("upsert", &self.upsert)
            .field("username", &self.username)
            .field("password", &self.password.as_ref().map(|_| "…"))
            .field("tls", &self.tls)
            .field("timeout", &self.timeout)
            .finish()
    }
}

/// Why a section cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The URL.
    #[error(
        "url `{url}`: {reason}; expected redis://HOST:PORT/DB, rediss://HOST:PORT/DB or unix:///path?db=DB"
    )]
    Url {
        /// The URL without its credentials.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// Certificates for a connection that is not encrypted.
    #[error("tls: the url `{url}` is not rediss://: correct it, or take `tls` out")]
    NotEncrypted {
        /// The URL without its credentials.
        url: String,
    },
    /// Certificates that cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
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
    /// The changes.
    #[error("upsert: {0}")]
    Upsert(&'static str),
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

impl ConfigError {
    /// The key that is wrong, from the connector's root: `redis.url`.
    pub fn key(&self) -> String {
        let key = match self {
            Self::Tls(error) => error.key,
            Self::Url { .. } => "url",
            Self::NotEncrypted { .. } => "tls",
            Self::Count { .. } => "count",
            Self::Window(_) => "window",
            Self::Hash { .. } => "hash",
            Self::Upsert(_) => "upsert",
            Self::Timeout => "timeout",
            Self::Name { .. } => return "meta.name".to_owned(),
        };
        format!("redis.{key}")
    }
}

impl Config {
    /// As [`check`](Self::check), and that the files of `tls` are there and hold certificates.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn prepare(&self) -> Result<(), ConfigError> {
        self.check()?;
        self.connection().map(drop)
    }

    fn is_encrypted(&self) -> bool {
        self.url.starts_with("rediss:") || self.url.starts_with("valkeys:")
    }

    fn address(&self) -> Result<ConnectionInfo, ConfigError> {
        let info = self.url.as_str().into_connection_info();
        info.map_err(|error| self.url_error(&error))
    }

    fn url_error(&self, error: &redis::RedisError) -> ConfigError {
        ConfigError::Url {
            url: redacted(&self.url),
            reason: error.to_string(),
        }
    }

    /// Where and as whom to connect.
    pub(crate) fn connection(&self) -> Result<ConnectionInfo, ConfigError> {
        let mut info = self.address()?;
        if let Some(files) = &self.tls {
            // What redis-rs would find out only when it connects.
            files.client_config()?;
            let pem = files.read(false)?;
            let certificates = TlsCertificates {
                client_tls: pem.client.map(|(client_cert, client_key)| ClientTlsConfig {
                    client_cert,
                    client_key,
                }),
                root_cert: pem.ca,
            };
            let client = Client::build_with_tls(info, certificates);
            let client = client.map_err(|error| self.url_error(&error))?;
            info = client.get_connection_info().clone();
        }
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

    /// What the names of all of the sink's own keys begin with, for who wants to delete them.
    ///
    /// # Errors
    /// A template or a name that no sink can have.
    pub fn own_prefix(&self, pipeline: &str, connector: &str) -> Result<String, ConfigError> {
        Ok(self.keys(pipeline, connector)?.prefix().to_owned())
    }

    /// What of a section its keys alone do not tell: whether address, key, windows, hash and
    /// certificates make sense. Reads no file.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.timeout.is_zero() {
            return Err(ConfigError::Timeout);
        }
        self.address()?;
        self.template()?;
        if let Some(files) = &self.tls {
            files.check()?;
            if !self.is_encrypted() {
                let url = redacted(&self.url);
                return Err(ConfigError::NotEncrypted { url });
            }
        }
        if self.upsert.is_some() {
            if self.window.is_some() {
                return Err(ConfigError::Upsert(
                    "changes are set, not counted: leave out `window`, or count in another sink",
                ));
            }
            if self.hash.is_none() {
                return Err(ConfigError::Upsert(
                    "say whose fields are set: try hash: types",
                ));
            }
            if self.count != default_count() {
                return Err(ConfigError::Upsert(
                    "changes are set, not counted: leave out `count`, or count in another sink",
                ));
            }
        }
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
            upsert: None,
            username: None,
            password: None,
            tls: None,
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
                "upsert" => serde_json::json!({"field": "type", "value": "count"}),
                "tls" => {
                    let inner = property["properties"].as_table().unwrap();
                    let pairs = inner.keys().map(|key| (key.clone(), "x.pem".into()));
                    serde_json::Value::Object(pairs.collect())
                }
                _ => "x".into(),
            };
            filled.insert(key.clone(), value);
        }
        // Each key of the spec is taken; a key that only the code knew would miss here.
        let parsed: Config = serde_json::from_value(filled.into()).unwrap();
        assert!(parsed.username.is_some() && parsed.password.is_some());
        assert_eq!(properties.len(), 9);
        let upsert = properties["upsert"]["properties"].as_table().unwrap();
        assert_eq!(upsert.len(), 2);
        let tls = parsed.tls.unwrap();
        assert!(tls.ca_file.is_some() && tls.cert_file.is_some() && tls.key_file.is_some());
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
        assert_eq!(zero.check().unwrap_err(), ConfigError::Timeout);
        let count = Config {
            count: "{valeu}".to_owned(),
            ..config("redis://h")
        };
        let error = count.template().unwrap_err().to_string();
        assert!(error.contains("did you mean `{value}`"), "{error}");
    }

    #[test]
    fn certificates_are_for_encrypted_connections() {
        let with = |url: &str, tls: &str| Config {
            tls: Some(serde_json::from_str(tls).unwrap()),
            ..config(url)
        };
        let error = with("redis://u:hunter2@h", r#"{"ca-file":"x"}"#).check();
        assert_eq!(
            error.unwrap_err().to_string(),
            "tls: the url `redis://h` is not rediss://: correct it, or take `tls` out"
        );
        let error = with("rediss://h", r#"{"cert-file":"x"}"#)
            .check()
            .unwrap_err();
        assert_eq!(error.key(), "redis.tls.key-file");
        let missing = with("rediss://h", r#"{"ca-file":"/nowhere/ca.pem"}"#);
        missing.check().unwrap();
        let error = missing.prepare().unwrap_err();
        assert_eq!(error.key(), "redis.tls.ca-file");
        assert!(error.to_string().contains("/nowhere/ca.pem"), "{error}");
        config("rediss://h").prepare().unwrap();
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
    fn changes_need_a_hash_and_count_nothing() {
        let check = |more: &str| {
            let text = format!(
                r#"{{"url":"redis://h","upsert":{{"field":"type","value":"count"}}{more}}}"#
            );
            let config: Config = serde_json::from_str(&text).unwrap();
            config.check().err().map(|error| error.to_string())
        };
        for (more, expect) in [
            ("", "try hash: types"),
            (
                r#","hash":"types","count":"x:{value}""#,
                "leave out `count`",
            ),
            (
                r#","hash":"types","window":{"size":"3m"}"#,
                "leave out `window`",
            ),
        ] {
            let error = check(more).unwrap_or_default();
            assert!(
                error.starts_with("upsert: ") && error.contains(expect),
                "{error}"
            );
        }
        assert_eq!(check(r#","hash":"types""#), None);
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
