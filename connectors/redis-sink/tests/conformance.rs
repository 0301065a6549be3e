//! The suite of `flow-testing` on a real Redis.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;

use common::{counts, sink};
use gristmill_flow_testing::conformance::{self, SinkHarness};
use gristmill_flow_testing::redis::RedisServer;
use gristmill_redis_sink::RedisSink;

struct Harness(RedisServer);

impl SinkHarness for Harness {
    type Sink = RedisSink;

    async fn open(&mut self) -> RedisSink {
        sink(&self.0)
    }

    async fn effect(&mut self) -> BTreeMap<String, u64> {
        let counts = counts(&self.0).await.into_iter();
        counts.map(|(key, count)| (key, count as u64)).collect()
    }
}

#[tokio::test]
async fn redis_sink() {
    if RedisServer::start().is_none() {
        return;
    }
    conformance::sink(async |_case| Harness(RedisServer::start().unwrap())).await;
}
