//! The sink: coalesce, one script call, and what its answer means.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use gristmill_counter::Coalescer;
use gristmill_flow::{Connector, LegStats, Sink, SinkError};
use gristmill_record::{Batch, Lane, Position, Positions};

use crate::keys::{Keys, TOPIC_ID_FIELD};
use crate::link::{Link, is_answer};
use crate::script::{Answer, Apply, By, answer, offset};
use crate::upsert::{ApplyUpserts, Upserts};
use crate::windowed::{ApplyHashes, Group, Windowed, is_other_mark};
use crate::{Config, ConfigError};

/// Counts the records of a topic in Redis, exactly once.
pub struct RedisSink {
    connector: String,
    link: Link,
    keys: Keys,
    coalescer: Coalescer,
    /// The hash that totals are fields of, instead of keys of their own.
    hash: Option<String>,
    /// Where counts are those of windows.
    windowed: Option<Windowed>,
    /// Where the records are changes of a table.
    upserts: Option<Upserts>,
    stats: Arc<LegStats>,
    now_ms: fn() -> i64,
    /// Next offset of each lane as this sink last read or wrote it. A lane in here that Redis knows
    /// nothing of was flushed.
    known: HashMap<Lane, i64>,
    /// Batches (first and next offset) whose outcome nobody told us.
    unsure: HashMap<Lane, (Option<i64>, i64)>,
    policy_checked: bool,
}

impl Connector for RedisSink {
    const TYPE: &'static str = "redis-sink";
    const SPEC: &'static str = include_str!("../Connector.toml");
    type Config = Config;
}

impl RedisSink {
    /// A sink for `connector` of `pipeline`, which name its keys in Redis: a second life under the
    /// same names goes on where the first one stopped. Connects at its first use.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn new(
        pipeline: &str,
        connector: &str,
        config: Config,
        stats: Arc<LegStats>,
    ) -> Result<Self, ConfigError> {
        config.check()?;
        let template = config.template()?;
        let windowed = config.window.as_ref();
        Ok(Self {
            connector: connector.to_owned(),
            keys: config.keys(pipeline, connector)?,
            link: Link::new(connector, &config, stats.clone())?,
            windowed: windowed.map(|window| Windowed::new(template.clone(), window)),
            upserts: config.upsert.as_ref().map(Upserts::new),
            hash: config.hash,
            stats,
            now_ms: epoch_ms,
            coalescer: Coalescer::new(template),
            known: HashMap::new(),
            unsure: HashMap::new(),
            policy_checked: false,
        })
    }

    /// The same sink with another clock, milliseconds since the epoch.
    #[must_use]
    pub fn with_clock(mut self, now_ms: fn() -> i64) -> Self {
        self.now_ms = now_ms;
        self
    }

    /// Call the script for the coalesced batch.
    async fn apply(
        &mut self,
        lane: &Lane,
        from: Option<i64>,
        next: i64,
    ) -> Result<Answer, SinkError> {
        let call = Apply {
            keys: &self.keys,
            lane,
            from,
            next,
            first: !self.known.contains_key(lane),
            increments: self.coalescer.increments(),
        };
        let mut result = self.link.query(&call.command(By::Sha)).await;
        if result.as_ref().is_err_and(|e| e.code() == Some("NOSCRIPT")) {
            result = self.link.query(&call.command(By::Source)).await;
        }
        drop(call);
        self.outcome(lane, from, next, result)
    }

    /// Call the script for counts in hashes.
    async fn apply_hashes(
        &mut self,
        lane: &Lane,
        (from, next): (Option<i64>, i64),
        groups: &[Group],
        now_ms: i64,
    ) -> Result<Answer, SinkError> {
        let windows = self.windowed.as_ref();
        let call = ApplyHashes {
            keys: &self.keys,
            lane,
            from,
            next,
            first: !self.known.contains_key(lane),
            groups,
            windows: windows.map(|windowed| windowed.args(lane, now_ms)),
        };
        let mut result = self.link.query(&call.command(By::Sha)).await;
        if result.as_ref().is_err_and(|e| e.code() == Some("NOSCRIPT")) {
            result = self.link.query(&call.command(By::Source)).await;
        }
        if result.as_ref().is_ok_and(is_other_mark) {
            return Err(SinkError::Misaligned {
                lane: lane.clone(),
                stored: from.map(Position::Offset),
                reason: "its mark was moved: another copy owned the partition meanwhile".to_owned(),
            });
        }
        self.outcome(lane, from, next, result)
    }

    /// Set the hash's fields as the batch's changes say.
    async fn write_upserts(&mut self, batch: &Batch) -> Result<(), SinkError> {
        let (from, next) = bounds(batch)?;
        let lane = &batch.lane;
        let (Some(upserts), Some(hash)) = (&mut self.upserts, &self.hash) else {
            return Err(SinkError::Fatal("no hash to set fields of".to_owned()));
        };
        upserts.take(batch).map_err(SinkError::Reject)?;
        let call = ApplyUpserts {
            keys: &self.keys,
            hash,
            lane,
            from,
            next,
            first: !self.known.contains_key(lane),
            upserts,
        };
        let mut result = self.link.query(&call.command(By::Sha)).await;
        if result.as_ref().is_err_and(|e| e.code() == Some("NOSCRIPT")) {
            result = self.link.query(&call.command(By::Source)).await;
        }
        let answer = self.outcome(lane, from, next, result)?;
        self.settle(lane, from, next, answer)
    }

    fn outcome(
        &mut self,
        lane: &Lane,
        from: Option<i64>,
        next: i64,
        result: Result<redis::Value, redis::RedisError>,
    ) -> Result<Answer, SinkError> {
        match result {
            Ok(value) => answer(value).map_err(|reason| {
                let offsets = self.keys.offsets(&lane.topic);
                SinkError::Fatal(format!("{lane}: {reason} (`{offsets}` in Redis)"))
            }),
            Err(error) => {
                if !is_answer(&error) {
                    self.unsure.insert(lane.clone(), (from, next));
                }
                Err(self.link.explain(&error))
            }
        }
    }

    /// The records that count for keys which Redis cannot count.
    fn uncountable(&mut self, batch: &Batch, keys: Vec<(usize, String)>) -> SinkError {
        let increments: Vec<&[u8]> = self.coalescer.increments().map(|(key, _)| key).collect();
        let reasons: HashMap<Vec<u8>, String> = keys
            .into_iter()
            .filter_map(|(index, reason)| {
                let key = *increments.get(index)?;
                let reason = format!("the Redis key `{}` {reason}", key.escape_ascii());
                Some((key.to_vec(), reason))
            })
            .collect();
        let refused = self
            .coalescer
            .records_where(batch, |key| reasons.get(key).cloned());
        SinkError::Reject(refused)
    }

    /// The totals of the coalesced batch as fields of one hash.
    fn totals(&self, hash: &str) -> Group {
        let fields = self.coalescer.increments();
        Group {
            key: hash.to_owned(),
            window_ms: (0, 0),
            fields: fields.map(|(key, n)| (key.to_vec(), n)).collect(),
        }
    }

    /// Records that count for fields which Redis cannot count.
    fn uncountable_fields(
        &mut self,
        batch: &Batch,
        groups: &[Group],
        bad: &[(usize, String)],
    ) -> SinkError {
        let fields: Vec<(&Group, &Vec<u8>)> = groups
            .iter()
            .flat_map(|group| group.fields.keys().map(move |key| (group, key)))
            .collect();
        let reasons: HashMap<(i64, &[u8]), String> = bad
            .iter()
            .filter_map(|(index, reason)| {
                let (group, key) = fields.get(*index)?;
                let hash = &group.key;
                let text = format!("field `{}` of `{hash}` {reason}", key.escape_ascii());
                Some(((group.window_ms.0, key.as_slice()), text))
            })
            .collect();
        SinkError::Reject(match &mut self.windowed {
            Some(windowed) => windowed
                .counter
                .records_where(batch, |start, key| reasons.get(&(start, key)).cloned()),
            None => self
                .coalescer
                .records_where(batch, |key| reasons.get(&(0, key)).cloned()),
        })
    }

    /// Lanes of ours that are read to their end and quiet stop holding windows open.
    async fn move_quiet_lanes(&mut self, lane: &Lane) -> Result<(), SinkError> {
        let Some(windowed) = &mut self.windowed else {
            return Ok(());
        };
        let lag = self.stats.lag();
        let done = |partition: i32| lag.get(&partition) == Some(&0);
        let quiet = windowed.marks.quiet(lane, Instant::now(), done);
        for (other, to_ms) in quiet {
            let known = self.known.get(&other).copied();
            let cmd = windowed.move_on(&self.keys, &other, known, to_ms);
            let moved = self.link.query(&cmd).await;
            match moved {
                Ok(redis::Value::Int(1)) => {
                    tracing::info!(connector = self.connector, lane = %other, to_ms, "quiet: it no longer holds windows open");
                    windowed.marks.moved(&other, to_ms);
                }
                // It went to somebody else, which we shall hear of.
                Ok(_) => windowed.marks.disturbed(Instant::now()),
                Err(error) => return Err(self.link.explain(&error)),
            }
        }
        Ok(())
    }

    async fn register(&mut self, lanes: &[&Lane]) -> Result<(), SinkError> {
        let Some(windowed) = &mut self.windowed else {
            return Ok(());
        };
        let value = self
            .link
            .query(&Windowed::register(&self.keys, lanes))
            .await;
        let answer = value.and_then(|value| Ok(redis::from_redis_value::<Vec<Vec<u8>>>(value)?));
        let answer = answer.map_err(|error| self.link.explain(&error))?;
        windowed.registered(lanes, answer).ok_or_else(|| {
            let topic = lanes.first().map_or("", |lane| &*lane.topic);
            SinkError::Fatal(format!(
                "a mark in `{}` is no number: restore or delete the key",
                self.keys.marks(topic)
            ))
        })
    }

    async fn write_hashes(&mut self, batch: &Batch) -> Result<(), SinkError> {
        let lane = &batch.lane;
        let (from, next) = bounds(batch)?;
        let now_ms = (self.now_ms)();
        self.move_quiet_lanes(lane).await?;
        let (groups, refused) = match (&mut self.windowed, &self.hash) {
            (Some(windowed), _) => {
                let groups = windowed.count(&self.keys, batch, now_ms);
                let refused = windowed.counter.refused().iter();
                let refused: Vec<_> = refused.map(|r| (r.index, r.reason.clone())).collect();
                (groups, refused)
            }
            (None, hash) => {
                self.coalescer.count(batch);
                let refused = self.coalescer.refused().iter();
                let refused = refused.map(|r| (r.index, r.reason.to_string())).collect();
                let groups = vec![self.totals(hash.as_deref().unwrap_or_default())];
                (groups, refused)
            }
        };
        if !refused.is_empty() {
            return Err(SinkError::Reject(refused));
        }
        let answer = match self.apply_hashes(lane, (from, next), &groups, now_ms).await {
            Ok(answer) => answer,
            Err(error) => {
                if let Some(windowed) = &mut self.windowed {
                    windowed.marks.disturbed(Instant::now());
                }
                return Err(error);
            }
        };
        match answer {
            Answer::Uncountable(bad) => Err(self.uncountable_fields(batch, &groups, &bad)),
            answer => {
                self.settle(lane, from, next, answer)?;
                if let Some(windowed) = &mut self.windowed {
                    let late = windowed.applied(lane);
                    LegStats::add(&self.stats.late, late);
                }
                Ok(())
            }
        }
    }

    /// What the script's answer means for what is known of the lane.
    fn settle(
        &mut self,
        lane: &Lane,
        from: Option<i64>,
        next: i64,
        answer: Answer,
    ) -> Result<(), SinkError> {
        match answer {
            Answer::Stored(Some(stored))
                if stored == next && self.unsure.get(lane) == Some(&(from, next)) =>
            {
                tracing::info!(connector = self.connector, %lane, next, "the batch in doubt was applied");
            }
            Answer::Stored(stored) => {
                self.unsure.remove(lane);
                return Err(SinkError::Misaligned {
                    lane: lane.clone(),
                    stored: stored.map(Position::Offset),
                    reason: misaligned(from, stored).to_owned(),
                });
            }
            Answer::Applied | Answer::Uncountable(_) => {}
        }
        self.unsure.remove(lane);
        self.known.insert(lane.clone(), next);
        Ok(())
    }

    /// Counts are wrong without notice if Redis may evict them.
    async fn check_policy(&mut self) {
        if std::mem::replace(&mut self.policy_checked, true) {
            return;
        }
        let mut cmd = redis::cmd("CONFIG");
        cmd.arg("GET").arg("maxmemory-policy");
        // Managed servers forbid CONFIG; then there is nothing to say.
        let Ok(value) = self.link.query(&cmd).await else {
            return;
        };
        let policy = redis::from_redis_value::<BTreeMap<String, String>>(value)
            .ok()
            .and_then(|mut map| map.remove("maxmemory-policy"));
        if let Some(policy) =
            policy.filter(|policy| policy != "noeviction" && !policy.starts_with("volatile-"))
        {
            tracing::warn!(
                connector = self.connector,
                policy,
                "Redis may evict counts when memory is short: set maxmemory-policy noeviction"
            );
        }
    }
}

impl Sink for RedisSink {
    async fn hold_to(&mut self, topic: &str, id: &str) -> Result<(), SinkError> {
        let key = self.keys.offsets(topic);
        let mut get = redis::cmd("HGET");
        get.arg(&key).arg(TOPIC_ID_FIELD);
        let stored = self.link.query(&get).await;
        let stored = stored.and_then(|value| Ok(redis::from_redis_value::<Option<String>>(value)?));
        let stored = stored.map_err(|error| self.link.explain(&error))?;
        match stored {
            Some(stored) if stored == id => Ok(()),
            Some(stored) => Err(SinkError::Fatal(format!(
                "topic `{topic}` was recreated: the position is of the topic with id {stored}, and \
                 now its id is {id}; delete the Redis key `{key}` to count the new topic from its \
                 beginning on top of the counts there are, or use another pipeline name"
            ))),
            // The first one, or a position from before ids were kept.
            None => {
                let mut set = redis::cmd("HSET");
                set.arg(&key).arg(TOPIC_ID_FIELD).arg(id);
                let done = self.link.query(&set).await;
                done.map(drop).map_err(|error| self.link.explain(&error))
            }
        }
    }

    async fn positions(&mut self, lanes: &[Lane]) -> Result<Positions, SinkError> {
        let mut by_topic: BTreeMap<&Arc<str>, Vec<&Lane>> = BTreeMap::new();
        for lane in lanes {
            by_topic.entry(&lane.topic).or_default().push(lane);
        }
        let mut positions = Positions::new();
        for (topic, lanes) in by_topic {
            let mut cmd = redis::cmd("HMGET");
            let key = self.keys.offsets(topic);
            cmd.arg(&key);
            for lane in &lanes {
                cmd.arg(lane.partition);
            }
            let value = self.link.query(&cmd).await;
            let stored =
                value.and_then(|value| Ok(redis::from_redis_value::<Vec<Option<Vec<u8>>>>(value)?));
            let stored = stored.map_err(|error| self.link.explain(&error))?;
            self.register(&lanes).await?;
            for (lane, stored) in lanes.into_iter().zip(stored) {
                let Some(text) = stored else {
                    if let Some(known) = self.known.remove(lane) {
                        tracing::warn!(
                            connector = self.connector, %lane, known,
                            "Redis was flushed: its counts and position are gone, counting again \
                             from the configured start"
                        );
                    }
                    continue;
                };
                let next = offset(&text).ok_or_else(|| {
                    SinkError::Fatal(format!(
                        "{lane}: the stored offset `{}` in `{key}` is no number: restore or delete \
                         the key",
                        text.escape_ascii()
                    ))
                })?;
                self.known.insert(lane.clone(), next);
                positions.insert(lane.clone(), Position::Offset(next));
            }
        }
        self.check_policy().await;
        Ok(positions)
    }

    async fn write(&mut self, batch: &Batch) -> Result<(), SinkError> {
        if self.upserts.is_some() {
            return self.write_upserts(batch).await;
        }
        if self.windowed.is_some() || self.hash.is_some() {
            return self.write_hashes(batch).await;
        }
        let lane = &batch.lane;
        let (from, next) = bounds(batch)?;
        self.coalescer.count(batch);
        let refused = self.coalescer.refused();
        if !refused.is_empty() {
            let refused = refused.iter().map(|r| (r.index, r.reason.to_string()));
            return Err(SinkError::Reject(refused.collect()));
        }
        match self.apply(lane, from, next).await? {
            Answer::Uncountable(keys) => Err(self.uncountable(batch, keys)),
            answer => self.settle(lane, from, next, answer),
        }
    }

    fn revoked(&mut self, lanes: &[Lane]) {
        for lane in lanes {
            self.known.remove(lane);
            self.unsure.remove(lane);
            if let Some(windowed) = &mut self.windowed {
                windowed.marks.forget(lane);
            }
        }
    }
}

fn epoch_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as i64)
}

/// First and next offset of a batch.
fn bounds(batch: &Batch) -> Result<(Option<i64>, i64), SinkError> {
    let bounds = match (&batch.from, &batch.next) {
        (None, Position::Offset(next)) => Some((None, *next)),
        (Some(Position::Offset(from)), Position::Offset(next)) => Some((Some(*from), *next)),
        _ => None,
    };
    let (from, next) = bounds.ok_or_else(|| {
        SinkError::Fatal(format!(
            "{}: positions are no offsets; count from a topic, not from a stream",
            batch.lane
        ))
    })?;
    // A batch that does not move the position could be applied twice.
    if from.is_some_and(|from| from > next || from == next && !batch.records.is_empty()) {
        return Err(SinkError::Fatal(format!(
            "{}: a batch with {} records goes from {from:?} to {next}",
            batch.lane,
            batch.records.len()
        )));
    }
    Ok((from, next))
}

fn misaligned(from: Option<i64>, stored: Option<i64>) -> &'static str {
    match (from, stored) {
        (_, None) => {
            "Redis was flushed: its counts and position are gone, counting starts again where the \
             consumer is configured to"
        }
        (Some(from), Some(stored)) if stored < from => {
            "Redis lost its newest writes or was restored from an older dump; counts and position \
             went back together, so the records from there on are counted again"
        }
        _ => {
            "someone else went on with this partition: it was reassigned, or the pipeline runs twice"
        }
    }
}

impl std::fmt::Debug for RedisSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisSink")
            .field("connector", &self.connector)
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}
