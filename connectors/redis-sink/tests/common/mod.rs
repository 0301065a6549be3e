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
        username: None,
        password: None,
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
