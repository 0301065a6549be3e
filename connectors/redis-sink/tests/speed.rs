//! Measurements: `cargo test --release -p gristmill-redis-sink --test speed -- --ignored --nocapture`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stderr, reason = "what a measurement says")]

mod common;

use std::time::Instant;

use common::{batch, sink, value};
use gristmill_flow::Sink;
use gristmill_flow_testing::redis::RedisServer;

const RECORDS: i64 = 500_000;

#[tokio::test]
#[ignore = "a measurement"]
async fn records_per_second() {
    for size in [1, 50, 512, 2048] {
        let Some(server) = RedisServer::start() else {
            return;
        };
        let mut sink = sink(&server);
        let records = RECORDS.min(size * 4000);
        let batches: Vec<_> = (0..records / size)
            .map(|i| {
                batch(
                    i * size,
                    &(i * size..(i + 1) * size).map(value).collect::<Vec<_>>(),
                )
            })
            .collect();
        let started = Instant::now();
        for batch in &batches {
            sink.write(batch).await.unwrap();
        }
        let seconds = started.elapsed().as_secs_f64();
        eprintln!(
            "batches of {size:>4}, 6 keys: {:>9.0} records/s, {:>6.0} us a batch",
            (batches.len() as i64 * size) as f64 / seconds,
            seconds * 1e6 / batches.len() as f64
        );
    }
}
