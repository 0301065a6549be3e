//! What the tests on a real Redis share.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::collections::BTreeMap;
use std::time::Duration;

use gristmill_flow::{Sink, SinkError};
use gristmill_flow_testing::redis::RedisServer;
use gristmill_record::{Batch, Lane, Position, RecordRef};
use gristmill_redis_sink::{Config, CountReader, RedisSink};

pub(crate) const KEY: &str = "gristmill:{wikipedia/type-counts}:offsets:edits";

pub(crate) fn config(url: &str) -> Config {
    Config {
        url: url.to_owned(),
        count: "{value}".to_owned(),
        hash: None,
        window: None,
        upsert: None,
        username: None,
        password: None,
        tls: None,
        timeout: Duration::from_secs(5),
    }
}

pub(crate) fn sink(server: &RedisServer) -> RedisSink {
    sink_with(config(&server.url()))
}

pub(crate) fn sink_with(config: Config) -> RedisSink {
    RedisSink::new("wikipedia", "type-counts", config, Default::default()).unwrap()
}

pub(crate) fn lane() -> Lane {
    Lane::new("edits", 0)
}

pub(crate) fn batch(from: i64, values: &[&str]) -> Batch {
    let next = Position::Offset(from + values.len() as i64);
    let mut batch = Batch::empty(lane(), Some(Position::Offset(from)), next);
    for (offset, value) in (from..).zip(values) {
        batch
            .records
            .push(RecordRef::new(offset, 0, None, value.as_bytes()));
    }
    batch
}

pub(crate) async fn counts(server: &RedisServer) -> BTreeMap<String, i64> {
    let mut reader = CountReader::new("wikipedia", "type-counts", &config(&server.url())).unwrap();
    reader.counts().await.unwrap()
}

pub(crate) async fn expect_counts(server: &RedisServer, expect: &[(&str, i64)]) {
    let expect = expect
        .iter()
        .map(|(key, n)| (key.to_string(), *n))
        .collect();
    assert_eq!(counts(server).await, expect);
}

/// The stored position of the lane, as a new life of the connector sees it.
pub(crate) async fn position(sink: &mut RedisSink) -> Option<i64> {
    let positions = sink.positions(&[lane()]).await.unwrap();
    positions.get(&lane()).and_then(Position::offset)
}

/// Write as a leg does: again after every `Retry`. Returns the reasons of the retries.
pub(crate) async fn write(sink: &mut RedisSink, batch: &Batch) -> Result<Vec<String>, SinkError> {
    let mut reasons = Vec::new();
    loop {
        match sink.write(batch).await {
            Ok(()) => return Ok(reasons),
            Err(SinkError::Retry { after, reason }) => {
                reasons.push(reason);
                assert!(reasons.len() < 200, "no end of retries: {reasons:?}");
                tokio::time::sleep(after).await;
            }
            Err(error) => return Err(error),
        }
    }
}

pub(crate) fn stored(error: SinkError) -> Option<i64> {
    match error {
        SinkError::Misaligned { stored, .. } => stored.and_then(|stored| stored.offset()),
        other => panic!("not misaligned: {other}"),
    }
}

/// A value for each offset of an endless topic: six distinct ones.
pub(crate) fn value(offset: i64) -> &'static str {
    ["edit", "new", "log", "categorize", "external", "142"][(offset * 7 % 11 % 6) as usize]
}

/// What counting the topic's first `end` records exactly once gives.
pub(crate) fn truth(end: i64) -> BTreeMap<String, i64> {
    let mut truth = BTreeMap::new();
    for offset in 0..end {
        *truth.entry(value(offset).to_owned()).or_insert(0) += 1;
    }
    truth
}

/// Read and write the topic up to `end` as a leg does: from the stored position, again after
/// `Retry`, re-seeking after `Misaligned`. Returns how often it was misaligned.
pub(crate) async fn run(sink: &mut RedisSink, end: i64, seed: u64) -> usize {
    let mut random = seed;
    let mut misaligned = 0;
    'seek: loop {
        let mut at = loop {
            match sink.positions(&[lane()]).await {
                Ok(positions) => break positions.get(&lane()).map_or(0, |p| p.offset().unwrap()),
                Err(SinkError::Retry { after, .. }) => tokio::time::sleep(after).await,
                Err(error) => panic!("{error}"),
            }
        };
        while at < end {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let next = end.min(at + 1 + (random >> 33) as i64 % 50);
            let values: Vec<&str> = (at..next).map(value).collect();
            match write(sink, &batch(at, &values)).await {
                Ok(_) => at = next,
                Err(SinkError::Misaligned { .. }) => {
                    misaligned += 1;
                    continue 'seek;
                }
                Err(error) => panic!("{error}"),
            }
        }
        return misaligned;
    }
}
