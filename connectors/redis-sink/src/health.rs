//! What can be said of the server before anything is counted: for `gristmill doctor`.

use std::collections::BTreeMap;
use std::sync::Arc;

use gristmill_flow::SinkError;
use gristmill_record::RecordRef;
use redis::{Cmd, FromRedisValue, RedisError, Value};

use crate::keys::Keys;
use crate::link::Link;
use crate::{Config, ConfigError, ReadError};

const RIGHTS: &str = include_str!("rights.lua");

/// The server as it is now; `None` where it does not say (managed servers hide much).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Health {
    /// `redis` or `valkey`.
    pub product: String,
    /// Its version, such as `7.0.15`.
    pub version: Option<String>,
    /// `master` or `slave`.
    pub role: Option<String>,
    /// Whether it is a node of a cluster, where all keys of a sink need one hash tag.
    pub cluster: Option<bool>,
    /// Whether each write is logged (AOF).
    pub logs_writes: Option<bool>,
    /// Whether it saves snapshots by itself.
    pub saves_snapshots: Option<bool>,
    /// Whether its last attempt to save, if any, went well.
    pub last_save_ok: Option<bool>,
    /// What it does when memory is short.
    pub eviction: Option<String>,
    /// Its memory limit in bytes; 0 is none.
    pub memory_max: Option<u64>,
    /// Commands that this user lacks the right to send; `None` before Redis 7, which cannot say.
    pub forbidden: Option<Vec<String>>,
}

/// Asks a server how it is; changes nothing.
pub struct Examiner {
    link: Link,
    keys: Keys,
    count: Vec<u8>,
    hashes: bool,
}

impl Examiner {
    /// For the server that the sink `connector` of `pipeline` would use.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn new(pipeline: &str, connector: &str, config: &Config) -> Result<Self, ConfigError> {
        let template = config.template()?;
        let mut count = Vec::new();
        let record = RecordRef::new(0, 0, Some(b"doctor"), b"doctor");
        template.render("doctor", &record, &mut count);
        let keys = config.keys(pipeline, connector)?;
        if let Some(hash) = &config.hash {
            count = hash.clone().into_bytes();
        } else if config.window.is_some() {
            count = keys.window(0).into_bytes();
        }
        Ok(Self {
            keys,
            hashes: config.hash.is_some() || config.window.is_some(),
            link: Link::new(connector, config, Arc::default())?,
            count,
        })
    }

    /// How the server is.
    ///
    /// # Errors
    /// It cannot be reached, refuses the login, or forbids scripts.
    pub async fn examine(&mut self) -> Result<Health, ReadError> {
        let mut health = Health::default();
        let mut rights = redis::cmd("EVAL");
        rights
            .arg(RIGHTS)
            .arg(2)
            .arg(self.keys.index())
            .arg(&self.count)
            .arg(u8::from(self.hashes));
        // The script is what the sink lives by: its failure is the finding.
        health.forbidden = match self.query::<Value>(&rights).await {
            Ok(Value::Nil | Value::Int(0) | Value::Boolean(false)) => None,
            Ok(value) => redis::from_redis_value(value).ok(),
            Err(error) => return Err(self.explain(&error)),
        };
        if let Some(info) = self.info().await {
            let text = |key: &str| info.get(key).cloned();
            let flag = |key: &str| info.get(key).map(|value| value == "1");
            health.product = match text("server_name").as_deref() {
                Some("valkey") => "valkey",
                _ => "redis",
            }
            .to_owned();
            health.version = text("valkey_version").or_else(|| text("redis_version"));
            health.role = text("role");
            health.cluster = flag("cluster_enabled");
            health.logs_writes = flag("aof_enabled");
            health.last_save_ok = text("rdb_last_bgsave_status").map(|status| status == "ok");
            health.memory_max = text("maxmemory").and_then(|bytes| bytes.parse().ok());
            health.eviction = text("maxmemory_policy");
        }
        health.saves_snapshots = self.config("save").await.map(|save| !save.is_empty());
        Ok(health)
    }

    async fn info(&mut self) -> Option<BTreeMap<String, String>> {
        let text: String = self.query(&redis::cmd("INFO")).await.ok()?;
        let pairs = text.lines().filter_map(|line| line.split_once(':'));
        let owned = |(key, value): (&str, &str)| (key.to_owned(), value.trim().to_owned());
        Some(pairs.map(owned).collect())
    }

    async fn config(&mut self, name: &str) -> Option<String> {
        let mut cmd = redis::cmd("CONFIG");
        cmd.arg("GET").arg(name);
        let mut map: BTreeMap<String, String> = self.query(&cmd).await.ok()?;
        map.remove(name)
    }

    async fn query<T: FromRedisValue>(&mut self, cmd: &Cmd) -> Result<T, RedisError> {
        let value = self.link.query(cmd).await?;
        Ok(redis::from_redis_value(value)?)
    }

    fn explain(&mut self, error: &RedisError) -> ReadError {
        match self.link.explain(error) {
            SinkError::Retry { reason, .. } => ReadError::Unavailable(reason),
            other => ReadError::Refused(other.to_string()),
        }
    }
}
