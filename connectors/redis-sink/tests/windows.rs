//! Windows and hashes on a real Redis: exact through kills, rewinds and zombies, final once closed,
//! gone when they expire.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use common::{config, write};
use gristmill_counter::{KeyTemplate, Late, Mark, WindowCounter, WindowCounts, WindowRules};
use gristmill_flow::{LegStats, Sink, SinkError};
use gristmill_flow_testing::redis::RedisServer;
use gristmill_record::{Batch, Lane, Position, RecordRef};
use gristmill_redis_sink::{Config, CountReader, LateRule, RedisSink, Window};

const SIZE_MS: i64 = 1000;
const GRACE_MS: i64 = 200;
const LANES: i32 = 2;

type Rows = BTreeMap<(i64, String), i64>;

fn windows(server: &RedisServer) -> Config {
    Config {
        window: Some(Window {
            size: Duration::from_millis(SIZE_MS as u64),
            grace: Duration::from_millis(GRACE_MS as u64),
            keep: Duration::from_secs(3600),
            idle: Duration::from_secs(3600),
            late: LateRule::Count,
        }),
        ..config(&server.url())
    }
}

fn sink(config: &Config) -> RedisSink {
    sink_with_stats(config, Arc::default())
}

fn sink_with_stats(config: &Config, stats: Arc<LegStats>) -> RedisSink {
    RedisSink::new("wikipedia", "windows", config.clone(), stats).unwrap()
}

fn reader(config: &Config) -> CountReader {
    CountReader::new("wikipedia", "windows", config).unwrap()
}

fn lane(partition: i32) -> Lane {
    Lane::new("edits", partition)
}

/// An endless topic: event time rises by 7 ms a record, a third of them is up to 400 ms behind,
/// which is beyond the grace for some.
fn record(partition: i32, offset: i64) -> (i64, &'static str) {
    let mixed = (offset + i64::from(partition) * 31).wrapping_mul(2_654_435_761) >> 7;
    let back = if mixed % 3 == 0 {
        mixed.rem_euclid(400)
    } else {
        0
    };
    let value = ["edit", "new", "log", "142"][mixed.rem_euclid(4) as usize];
    (10_000 + offset * 7 - back, value)
}

fn batch(partition: i32, from: i64, next: i64) -> Batch {
    let mut batch = Batch::empty(
        lane(partition),
        Some(Position::Offset(from)),
        Position::Offset(next),
    );
    for offset in from..next {
        let (at_ms, value) = record(partition, offset);
        let record = RecordRef::new(offset, at_ms, None, value.as_bytes());
        batch.records.push(record);
    }
    batch
}

/// What counting each lane's first `end` records exactly once gives: windows, and late by key.
fn truth(end: i64) -> (Rows, BTreeMap<String, i64>) {
    let rules = WindowRules {
        size_ms: SIZE_MS,
        grace_ms: GRACE_MS,
    };
    let template = KeyTemplate::parse("{value}").unwrap();
    let (mut rows, mut late) = (Rows::new(), BTreeMap::new());
    for partition in 0..LANES {
        let mut counter = WindowCounter::new(template.clone(), rules, Late::Count);
        counter.count(&batch(partition, 0, end), Mark::default(), i64::MAX);
        let text = |key: &[u8]| String::from_utf8_lossy(key).into_owned();
        for (start, keys) in counter.windows() {
            for (key, n) in keys {
                *rows.entry((start, text(&key))).or_insert(0) += n as i64;
            }
        }
        for (key, n) in counter.late() {
            *late.entry(text(key)).or_insert(0) += *n as i64;
        }
    }
    (rows, late)
}

fn rows(windows: &[WindowCounts]) -> Rows {
    let row = |window: &WindowCounts| {
        let start = window.start_ms;
        let keys = window.counts.clone().into_iter();
        keys.map(move |(key, n)| ((start, key), n))
    };
    windows.iter().flat_map(row).collect()
}

/// Read and write lane by lane up to `end` as a leg does; how often it was misaligned.
async fn run(sink: &mut RedisSink, end: i64, seed: u64) -> usize {
    let lanes: Vec<Lane> = (0..LANES).map(lane).collect();
    let (mut random, mut misaligned) = (seed, 0);
    'seek: loop {
        let mut at: Vec<i64> = loop {
            match sink.positions(&lanes).await {
                Ok(stored) => {
                    let of = |lane| stored.get(lane).map_or(0, |p| p.offset().unwrap());
                    break lanes.iter().map(of).collect();
                }
                Err(SinkError::Retry { after, .. }) => tokio::time::sleep(after).await,
                Err(error) => panic!("{error}"),
            }
        };
        while at.iter().any(|at| *at < end) {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let partition = (random >> 40) as usize % at.len();
            let from = at[partition];
            let next = end.min(from + 1 + (random >> 33) as i64 % 50);
            if from >= end {
                continue;
            }
            match write(sink, &batch(partition as i32, from, next)).await {
                Ok(_) => at[partition] = next,
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

async fn expect(config: &Config, end: i64) {
    let mut reader = reader(config);
    let all = reader.windows().await.unwrap();
    let (expected, late) = truth(end);
    assert_eq!(rows(&all), expected);
    assert_eq!(reader.late().await.unwrap(), late);
    assert!(!late.is_empty(), "the test needs late records");
    // Final is what both lanes have passed, and nothing else.
    let newest = |partition| (0..end).map(|offset| record(partition, offset).0).max();
    let lowest = (0..LANES).filter_map(newest).min().unwrap();
    for window in &all {
        let over = window.end_ms <= lowest - GRACE_MS;
        assert_eq!(window.closed, over, "{window:?}, lowest mark {lowest}");
    }
    assert!(reader.counts().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_in_mid_run_count_once_in_each_window() {
    let Some(mut server) = RedisServer::start_durable() else {
        return;
    };
    let end = 4_000;
    let config = windows(&server);
    let own = config.clone();
    let leg = tokio::spawn(async move { run(&mut sink(&own), end, 1).await });
    let mut kills = 0;
    while !leg.is_finished() {
        tokio::time::sleep(Duration::from_millis(60)).await;
        server.kill();
        kills += 1;
        server.restart();
        assert!(kills < 400, "no progress");
    }
    leg.await.unwrap();
    assert!(kills >= 2, "the run ended before it was disturbed: {kills}");
    expect(&config, end).await;
}

/// Counts, positions, marks and what is final go back together, and the replay decides the same.
#[tokio::test]
async fn a_lost_tail_is_counted_again() {
    let Some(mut server) = RedisServer::start() else {
        return;
    };
    let config = windows(&server);
    let mut first = sink(&config);
    run(&mut first, 600, 2).await;
    assert_eq!(server.command(&["SAVE"]), "OK");
    run(&mut first, 1500, 3).await;
    server.kill();
    server.restart();
    expect(&config, 600).await;
    // The sink still believes in 1500.
    let error = write(&mut first, &batch(0, 1500, 1510)).await.unwrap_err();
    assert_eq!(common::stored(error), Some(600));
    run(&mut first, 2000, 4).await;
    expect(&config, 2000).await;
    // A new life, which knows nothing, goes on as the old one would have.
    run(&mut sink(&config), 2500, 5).await;
    expect(&config, 2500).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_zombies_count_once() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let config = windows(&server);
    let end = 3_000;
    let legs: Vec<_> = (0..2)
        .map(|seed| {
            let config = config.clone();
            tokio::spawn(async move { run(&mut sink(&config), end, seed).await })
        })
        .collect();
    let mut misaligned = 0;
    for leg in legs {
        misaligned += leg.await.unwrap();
    }
    assert!(misaligned > 0, "the copies never met");
    expect(&config, end).await;
}

/// Whatever is read as final never changes afterwards.
#[tokio::test]
async fn a_closed_window_never_changes() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let config = windows(&server);
    let (mut sink, mut reader) = (sink(&config), reader(&config));
    let mut cursor = None;
    let mut told = Rows::new();
    for end in (100..=2000).step_by(100) {
        run(&mut sink, end, end as u64).await;
        let closed = reader.closed_since(&mut cursor).await.unwrap();
        for row in rows(&closed) {
            assert!(told.insert(row.0.clone(), row.1).is_none(), "{row:?} twice");
        }
    }
    let all = reader.windows().await.unwrap();
    let closed: Vec<WindowCounts> = all.into_iter().filter(|w| w.closed).collect();
    let finals = rows(&closed);
    assert!(told.len() > 10, "{told:?}");
    assert!(told.iter().all(|(row, n)| finals.get(row) == Some(n)));
}

#[tokio::test]
async fn a_quiet_partition_holds_windows_open_only_for_a_while() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let mut config = windows(&server);
    let idle = Duration::from_millis(300);
    config.window.as_mut().unwrap().idle = idle;
    let stats = Arc::<LegStats>::default();
    let mut sink = sink_with_stats(&config, stats.clone());
    let mut reader = reader(&config);
    sink.positions(&[lane(0), lane(1)]).await.unwrap();
    let closed = async |reader: &mut CountReader| {
        let all = reader.windows().await.unwrap();
        all.iter().filter(|window| window.closed).count()
    };
    write(&mut sink, &batch(0, 0, 500)).await.unwrap();
    tokio::time::sleep(idle).await;
    // Nobody says that the other one is read to its end.
    write(&mut sink, &batch(0, 500, 600)).await.unwrap();
    assert_eq!(closed(&mut reader).await, 0);
    stats.set_lag(1, 0);
    write(&mut sink, &batch(0, 600, 700)).await.unwrap();
    assert!(closed(&mut reader).await > 0);
    // What it now brings for a final window is late, for its next owner too.
    let mut heir = sink_with_stats(&config, Arc::default());
    heir.positions(&[lane(0), lane(1)]).await.unwrap();
    write(&mut heir, &batch(1, 0, 10)).await.unwrap();
    let late: i64 = reader.late().await.unwrap().values().sum();
    assert!(late >= 10, "{late}");
}

#[tokio::test]
async fn late_records_are_refused_where_they_are_to_be_dead_letters() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let mut config = windows(&server);
    config.window.as_mut().unwrap().late = LateRule::DeadLetter;
    let mut sink = sink(&config);
    sink.positions(&[lane(0)]).await.unwrap();
    let error = sink.write(&batch(0, 0, 1000)).await.unwrap_err();
    let SinkError::Reject(refused) = error else {
        panic!("{error}");
    };
    assert!(!refused.is_empty());
    assert!(
        refused.iter().all(|(_, reason)| reason.contains("late")),
        "{refused:?}"
    );
    assert!(
        reader(&config).windows().await.unwrap().is_empty(),
        "nothing was applied"
    );
}

#[tokio::test]
async fn closed_windows_expire() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let mut config = windows(&server);
    config.window.as_mut().unwrap().keep = Duration::from_millis(400);
    let mut sink = sink(&config);
    let mut reader = reader(&config);
    run(&mut sink, 500, 1).await;
    let before = reader.windows().await.unwrap();
    let closed = before.iter().filter(|window| window.closed).count();
    assert!(closed > 0 && closed < before.len(), "{before:?}");
    tokio::time::sleep(Duration::from_millis(600)).await;
    let after = reader.windows().await.unwrap();
    let open: Vec<_> = before.into_iter().filter(|window| !window.closed).collect();
    assert_eq!(after, open);
    // The next ones that close take the names of those that are gone along.
    run(&mut sink, 1000, 2).await;
    let listed = server.command(&[
        "ZRANGE",
        "gristmill:{wikipedia/windows}:windows:closed",
        "0",
        "-1",
    ]);
    assert!(
        !listed.contains(&format!("{} ", open[0].start_ms - SIZE_MS)),
        "{listed}"
    );
}

#[tokio::test]
async fn totals_count_in_a_hash_exactly_once() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let config = Config {
        hash: Some("types".to_owned()),
        ..config(&server.url())
    };
    let mut first = sink(&config);
    run(&mut first, 500, 1).await;
    run(&mut sink(&config), 900, 2).await;
    let expect = |end| {
        let mut counts = BTreeMap::new();
        for partition in 0..LANES {
            for offset in 0..end {
                *counts
                    .entry(record(partition, offset).1.to_owned())
                    .or_insert(0) += 1;
            }
        }
        counts
    };
    assert_eq!(reader(&config).counts().await.unwrap(), expect(900));
    assert_eq!(
        server.command(&["HGET", "types", "142"]),
        expect(900)["142"].to_string()
    );
    // The first one is behind now, and changes nothing.
    let error = first.write(&batch(0, 500, 510)).await.unwrap_err();
    assert!(matches!(error, SinkError::Misaligned { .. }), "{error}");
    // A field that is no number is the record's fault, a key that is no hash the config's.
    server.command(&["HSET", "types", "edit", "many"]);
    let mut again = sink(&config);
    again.positions(&[lane(0), lane(1)]).await.unwrap();
    let error = again.write(&batch(0, 900, 950)).await.unwrap_err();
    let SinkError::Reject(refused) = error else {
        panic!("{error}");
    };
    let edits = (900..950)
        .filter(|offset| record(0, *offset).1 == "edit")
        .count();
    assert_eq!(refused.len(), edits);
    assert!(refused[0].1.contains("`edit`"), "{refused:?}");
    server.command(&["DEL", "types"]);
    server.command(&["SET", "types", "1"]);
    let error = again.write(&batch(0, 900, 950)).await.unwrap_err();
    assert!(matches!(error, SinkError::Fatal(_)), "{error}");
}
