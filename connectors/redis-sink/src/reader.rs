//! What Redis holds, for whoever wants to look.

use std::collections::BTreeMap;
use std::sync::Arc;

use gristmill_flow::SinkError;
use redis::{Cmd, FromRedisValue};

use crate::keys::Keys;
use crate::link::Link;
use crate::script::offset;
use crate::{Config, ConfigError};

/// Keys asked for in one round trip.
const CHUNK_KEYS: usize = 1000;

/// Reads the counts and positions of one connector; changes nothing.
pub struct CountReader {
    link: Link,
    keys: Keys,
}

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
        let template = config.template()?;
        Ok(Self {
            keys: Keys::new(pipeline, connector, template.hash_tag())?,
            link: Link::new(connector, config, Arc::default())?,
        })
    }

    /// Every counted key with its count. Bytes that are no UTF-8 show as U+FFFD; keys that somebody
    /// deleted or made something else since are left out. Not one instant's view if a sink is
    /// writing and there are more than 1,000 keys.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn counts(&mut self) -> Result<BTreeMap<String, i64>, ReadError> {
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

    /// The next offset of each partition of `topic` that was counted so far.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn positions(&mut self, topic: &str) -> Result<BTreeMap<i32, i64>, ReadError> {
        let mut cmd = redis::cmd("HGETALL");
        cmd.arg(self.keys.offsets(topic));
        self.query(&cmd).await
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
