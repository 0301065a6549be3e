//! Changes of a table on a real Redis: after any kill, rewind or zombie the hash is what the last
//! change of each row said.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;

use common::{batch, config, lane, position, sink_with, stored, value, write};
use gristmill_flow::{Sink, SinkError};
use gristmill_flow_testing::redis::RedisServer;
use gristmill_redis_sink::{Config, CountReader, RedisSink, Upsert};

fn upsert(server: &RedisServer) -> Config {
    Config {
        hash: Some("types".to_owned()),
        upsert: Some(Upsert {
            field: "type".to_owned(),
            value: "count".to_owned(),
        }),
        ..config(&server.url())
    }
}

/// Change `offset` of the endless table: each type's count as `GROUP BY type` updates it; every
/// hundredth change removes a row.
fn change(offset: i64, table: &mut BTreeMap<&'static str, i64>) -> String {
    let kind = value(offset);
    let before = table.get(kind).copied();
    let row = |count: Option<i64>| match count {
        Some(count) => format!(r#"{{"type":"{kind}","count":{count}}}"#),
        None => "null".to_owned(),
    };
    let after = match offset % 100 {
        99 if before.is_some() => None,
        _ => Some(before.unwrap_or(0) + 1),
    };
    match after {
        Some(count) => table.insert(kind, count),
        None => table.remove(kind),
    };
    format!(r#"{{"before":{},"after":{}}}"#, row(before), row(after))
}

fn topic(end: i64) -> (Vec<String>, BTreeMap<String, i64>) {
    let mut table = BTreeMap::new();
    let changes = (0..end).map(|offset| change(offset, &mut table)).collect();
    let table = table.into_iter().map(|(kind, n)| (kind.to_owned(), n));
    (changes, table.collect())
}

/// Write up to `end` from the stored position, in batches of `size`.
async fn run(sink: &mut RedisSink, changes: &[String], end: usize, size: usize) {
    let mut at = position(sink).await.unwrap_or(0) as usize;
    while at < end {
        let next = end.min(at + size);
        let values: Vec<&str> = changes[at..next].iter().map(String::as_str).collect();
        write(sink, &batch(at as i64, &values)).await.unwrap();
        at = next;
    }
}

async fn table(server: &RedisServer) -> BTreeMap<String, i64> {
    let mut reader = CountReader::new("wikipedia", "type-counts", &upsert(server)).unwrap();
    reader.counts().await.unwrap()
}

#[tokio::test]
async fn the_hash_is_what_the_last_changes_say() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let (changes, _) = topic(900);
    let mut first = sink_with(upsert(&server));
    run(&mut first, &changes, 450, 37).await;
    assert_eq!(table(&server).await, topic(450).1);
    // Another life goes on, with other batches; the first one is a zombie now.
    let mut second = sink_with(upsert(&server));
    run(&mut second, &changes, 900, 101).await;
    let error = first.write(&batch(450, &[&changes[0]])).await.unwrap_err();
    assert_eq!(stored(error), Some(900));
    assert_eq!(table(&server).await, topic(900).1);

    // A Redis that lost its newest writes: the replay sets what was set.
    let key = "gristmill:{types}:wikipedia/type-counts:offsets:edits";
    assert_eq!(server.command(&["HGET", key, "0"]), "900");
    server.command(&["HSET", key, "0", "300"]);
    run(&mut sink_with(upsert(&server)), &changes, 900, 50).await;
    assert_eq!(table(&server).await, topic(900).1);
}

#[tokio::test]
async fn a_batch_of_thousands_and_a_batch_of_nothing() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let changes: Vec<String> = (0..5_000)
        .map(|n| format!(r#"{{"after":{{"type":"k{n}","count":{n}}}}}"#))
        .collect();
    let values: Vec<&str> = changes.iter().map(String::as_str).collect();
    let mut sink = sink_with(upsert(&server));
    position(&mut sink).await;
    write(&mut sink, &batch(0, &values)).await.unwrap();
    assert_eq!(table(&server).await.len(), 5_000);
    // Rows that are gone: the tombstones of a compacted topic say nothing more.
    let gone: Vec<String> = (0..5_000)
        .map(|n| format!(r#"{{"before":{{"type":"k{n}","count":{n}}},"after":null}}"#))
        .collect();
    let values: Vec<&str> = gone.iter().map(String::as_str).collect();
    write(&mut sink, &batch(5_000, &values)).await.unwrap();
    write(&mut sink, &batch(10_000, &["", ""])).await.unwrap();
    assert_eq!(table(&server).await.len(), 0);
    assert_eq!(position(&mut sink).await, Some(10_002));
}

#[tokio::test]
async fn what_is_no_change_is_refused_by_itself() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let good = r#"{"after":{"type":"edit","count":7}}"#;
    let mut sink = sink_with(upsert(&server));
    position(&mut sink).await;
    let error = sink
        .write(&batch(0, &[good, "edit", "{}"]))
        .await
        .unwrap_err();
    let SinkError::Reject(refused) = error else {
        panic!("{error}");
    };
    assert_eq!(
        refused.iter().map(|(index, _)| *index).collect::<Vec<_>>(),
        [1, 2]
    );
    assert_eq!(table(&server).await.len(), 0, "nothing moved");
    // The key is no hash: the config's fault, not the record's.
    server.command(&["SET", "types", "1"]);
    let error = sink.write(&batch(0, &[good])).await.unwrap_err();
    assert!(matches!(error, SinkError::Fatal(_)), "{error}");
    server.command(&["DEL", "types"]);
    write(&mut sink, &batch(0, &[good])).await.unwrap();
    assert_eq!(server.command(&["HGET", "types", "edit"]), "7");
    assert_eq!(position(&mut sink).await, Some(1));
    assert_eq!(lane().partition, 0);
}
