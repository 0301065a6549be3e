//! What Redis holds, for whoever wants to look.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gristmill_counter::WindowCounts;
use gristmill_flow::SinkError;
use redis::{Cmd, FromRedisValue};

use crate::keys::{Keys, TOPIC_ID_FIELD};
use crate::link::Link;
use crate::script::offset;
use crate::{Config, ConfigError};

/// Keys asked for in one round trip.
const CHUNK_KEYS: usize = 1000;

/// Reads the counts and positions of one connector; changes nothing.
pub struct CountReader {
    link: Link,
    keys: Keys,
    hash: Option<String>,
    windows: bool,
}

/// Which closed windows somebody has seen.
#[derive(Debug, Clone, Default)]
pub struct ClosedCursor {
    /// Score (when it expires) of the newest one seen: windows close in about this order.
    score: i64,
    seen: BTreeSet<String>,
}

/// Windows that close in scripts at the same time may be listed in any order; this far back is
/// looked again.
const OVERLAP_MS: i64 = 60_000;

/// Why counts cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Redis cannot answer now; trying again later may work.
    #[error("{0}")]
    Unavailable(String),
    /// Redis will not answer; the text names the remedy.
    #[error("{0}")]
    Refused(String),
}

impl CountReader {
    /// A reader of what [`RedisSink`](crate::RedisSink) writes under the same names and config.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn new(pipeline: &str, connector: &str, config: &Config) -> Result<Self, ConfigError> {
        config.check()?;
        Ok(Self {
            keys: config.keys(pipeline, connector)?,
            link: Link::new(connector, config, Arc::default())?,
            hash: config.hash.clone(),
            windows: config.window.is_some(),
        })
    }

    /// Every counted key with its count. Bytes that are no UTF-8 show as U+FFFD; keys that somebody
    /// deleted or made something else since are left out. Not one instant's view if a sink is
    /// writing and there are more than 1,000 keys.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn counts(&mut self) -> Result<BTreeMap<String, i64>, ReadError> {
        if self.windows {
            return Ok(BTreeMap::new());
        }
        if let Some(hash) = self.hash.clone() {
            return self.hash_counts(&hash).await;
        }
        let mut counts = BTreeMap::new();
        let mut cursor = 0;
        loop {
            let mut scan = redis::cmd("SSCAN");
            scan.arg(self.keys.index()).arg(cursor);
            scan.arg("COUNT").arg(CHUNK_KEYS);
            let (next, keys): (u64, Vec<Vec<u8>>) = self.query(&scan).await?;
            for chunk in keys.chunks(CHUNK_KEYS) {
                let mut get = redis::cmd("MGET");
                chunk.iter().for_each(|key| {
                    get.arg(key.as_slice());
                });
                let values: Vec<Option<Vec<u8>>> = self.query(&get).await?;
                for (key, value) in chunk.iter().zip(values) {
                    if let Some(count) = value.as_deref().and_then(offset) {
                        counts.insert(String::from_utf8_lossy(key).into_owned(), count);
                    }
                }
            }
            if next == 0 {
                return Ok(counts);
            }
            cursor = next;
        }
    }

    /// Every window that is open, or closed and not expired, in the order of their ends.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn windows(&mut self) -> Result<Vec<WindowCounts>, ReadError> {
        let mut all = Vec::new();
        for (key, closed) in [
            (self.keys.closed_windows(), true),
            (self.keys.open_windows(), false),
        ] {
            let mut cmd = redis::cmd("ZRANGEBYSCORE");
            cmd.arg(key).arg("-inf").arg("+inf");
            let names: Vec<String> = self.query(&cmd).await?;
            for name in names {
                all.extend(self.window(&name, closed).await?);
            }
        }
        all.sort_by_key(|window: &WindowCounts| (window.end_ms, window.start_ms));
        Ok(all)
    }

    /// Windows that closed since the last call with `cursor`; none at the first call, which only
    /// takes note of those that are there.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn closed_since(
        &mut self,
        cursor: &mut Option<ClosedCursor>,
    ) -> Result<Vec<WindowCounts>, ReadError> {
        if !self.windows {
            return Ok(Vec::new());
        }
        let from = cursor.as_ref().map_or_else(
            || "-inf".to_owned(),
            |cursor| (cursor.score - OVERLAP_MS).to_string(),
        );
        let mut cmd = redis::cmd("ZRANGEBYSCORE");
        cmd.arg(self.keys.closed_windows());
        cmd.arg(from).arg("+inf").arg("WITHSCORES");
        let listed: Vec<(String, i64)> = self.query(&cmd).await?;
        let mut closed = Vec::new();
        for (name, _) in &listed {
            if cursor
                .as_ref()
                .is_some_and(|cursor| !cursor.seen.contains(name))
            {
                closed.extend(self.window(name, true).await?);
            }
        }
        let before = cursor.as_ref().map_or(0, |cursor| cursor.score);
        *cursor = Some(ClosedCursor {
            score: listed
                .iter()
                .map(|(_, score)| *score)
                .fold(before, i64::max),
            seen: listed.into_iter().map(|(name, _)| name).collect(),
        });
        closed.sort_by_key(|window| (window.end_ms, window.start_ms));
        Ok(closed)
    }

    /// Records that came too late for their window, by key.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn late(&mut self) -> Result<BTreeMap<String, i64>, ReadError> {
        let late = self.keys.late();
        self.hash_counts(&late).await
    }

    /// The window that `name` (`start end key`) tells of, unless it has expired.
    async fn window(
        &mut self,
        name: &str,
        closed: bool,
    ) -> Result<Option<WindowCounts>, ReadError> {
        let mut parts = name.splitn(3, ' ');
        let mut number = || parts.next()?.parse().ok();
        let (Some(start_ms), Some(end_ms)) = (number(), number()) else {
            return Ok(None);
        };
        let key = parts.next().unwrap_or_default();
        let counts = self.hash_counts(key).await?;
        Ok((!counts.is_empty()).then_some(WindowCounts {
            start_ms,
            end_ms,
            closed,
            counts,
        }))
    }

    async fn hash_counts(&mut self, key: &str) -> Result<BTreeMap<String, i64>, ReadError> {
        let mut cmd = redis::cmd("HGETALL");
        cmd.arg(key);
        let fields: BTreeMap<Vec<u8>, Vec<u8>> = self.query(&cmd).await?;
        let counts = fields.into_iter().filter_map(|(field, value)| {
            Some((
                String::from_utf8_lossy(&field).into_owned(),
                offset(&value)?,
            ))
        });
        Ok(counts.collect())
    }

    /// The next offset of each partition of `topic` that was counted so far.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn positions(&mut self, topic: &str) -> Result<BTreeMap<i32, i64>, ReadError> {
        let mut cmd = redis::cmd("HGETALL");
        let key = self.keys.offsets(topic);
        cmd.arg(&key);
        let mut fields: BTreeMap<String, String> = self.query(&cmd).await?;
        fields.remove(TOPIC_ID_FIELD);
        let numbers = fields.iter().map(|(partition, next)| {
            let (partition, next) = (partition.parse().ok()?, next.parse().ok()?);
            Some((partition, next))
        });
        numbers.collect::<Option<_>>().ok_or_else(|| {
            ReadError::Refused(format!(
                "an offset in the Redis key `{key}` is no number: restore or delete the key"
            ))
        })
    }

    async fn query<T: FromRedisValue>(&mut self, cmd: &Cmd) -> Result<T, ReadError> {
        let value = self.link.query(cmd).await;
        value
            .and_then(|value| Ok(redis::from_redis_value(value)?))
            .map_err(|error| match self.link.explain(&error) {
                SinkError::Retry { reason, .. } => ReadError::Unavailable(reason),
                other => ReadError::Refused(other.to_string()),
            })
    }
}
