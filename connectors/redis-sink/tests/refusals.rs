//! What Redis refuses, and that a refusal leaves nothing behind.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::{KEY, batch, config, counts, expect_counts, position, sink, sink_with, stored, write};
use gristmill_flow::{Sink, SinkError};
use gristmill_flow_testing::redis::RedisServer;
use gristmill_redis_sink::{Config, CountReader, ReadError};

fn fatal(result: Result<(), SinkError>) -> String {
    match result {
        Err(SinkError::Fatal(reason)) => reason,
        other => panic!("not fatal: {other:?}"),
    }
}

#[tokio::test]
async fn a_wrong_password_ends_the_leg_without_showing_it() {
    let Some(server) = RedisServer::start_with(&["--save", "", "--requirepass", "right-one"])
    else {
        return;
    };
    let with = |password: Option<&str>| Config {
        password: password.map(str::to_owned),
        ..config(&server.url())
    };
    for (password, code) in [(None, "NOAUTH"), (Some("hunter2"), "WRONGPASS")] {
        let reason = fatal(sink_with(with(password)).write(&batch(0, &["a"])).await);
        assert!(
            reason.contains(code) && reason.contains("sink type-counts"),
            "{reason}"
        );
        assert!(
            reason.contains(&format!("redis {}", server.url())),
            "{reason}"
        );
        assert!(!reason.contains("hunter2"), "{reason}");
    }
    let mut sink = sink_with(with(Some("right-one")));
    sink.write(&batch(0, &["a"])).await.unwrap();
    let mut reader = CountReader::new("wikipedia", "type-counts", &with(Some("no"))).unwrap();
    let error = reader.counts().await.unwrap_err();
    assert!(matches!(error, ReadError::Refused(_)), "{error}");
    let in_url = format!("redis://:right-one@127.0.0.1:{}/0", server.port());
    assert_eq!(position(&mut sink_with(config(&in_url))).await, Some(1));
}

#[tokio::test]
async fn a_password_that_redis_does_not_ask_for_is_named() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let config = Config {
        password: Some("hunter2".to_owned()),
        ..config(&server.url())
    };
    let reason = fatal(sink_with(config).write(&batch(0, &["a"])).await);
    assert!(reason.contains("password"), "{reason}");
    assert!(!reason.contains("hunter2"), "{reason}");
}

/// Redis does not roll back, so a command that is forbidden within the script must not leave half
/// of a batch behind.
#[tokio::test]
async fn a_forbidden_command_leaves_nothing_behind() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    for (turn, denied) in ["hget", "get", "sadd", "hset", "incrby"]
        .into_iter()
        .enumerate()
    {
        let at = turn as i64;
        let user = [
            "ACL", "SETUSER", "limited", "reset", "on", ">pw", "~*", "+@all",
        ];
        assert_eq!(
            server.command(&[&user[..], &[&format!("-{denied}")]].concat()),
            "OK"
        );
        let limited = Config {
            username: Some("limited".to_owned()),
            password: Some("pw".to_owned()),
            ..config(&server.url())
        };
        let before = counts(&server).await;
        let reason = fatal(sink_with(limited).write(&batch(at, &["a"])).await);
        assert!(
            reason.contains("the user needs EVALSHA"),
            "{denied}: {reason}"
        );
        assert_eq!(counts(&server).await, before, "{denied}");
        let mut sink = sink(&server);
        let position = position(&mut sink).await;
        // With INCRBY denied the first position may be stored: it says the same as none.
        assert!(position.unwrap_or(0) == at, "{denied}: {position:?}");
        sink.write(&batch(at, &["a"])).await.unwrap();
        expect_counts(&server, &[("a", at + 1)]).await;
    }
}

#[tokio::test]
async fn keys_that_cannot_count_reject_their_records_only() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    server.command(&["LPUSH", "list", "x"]);
    let longest = i64::MAX.to_string();
    for (key, value) in [
        ("text", "abc"),
        ("float", "1.5"),
        ("padded", "007"),
        ("full", &longest),
        ("nearly", "9223372036854775806"),
        ("beyond", "9223372036854775808"),
        ("huge", "99999999999999999999"),
        ("negative", "-9223372036854775808"),
        ("big", "9007199254740993"),
        ("zero", "0"),
    ] {
        server.command(&["SET", key, value]);
    }
    let values = [
        "good", "list", "text", "good", "float", "padded", "full", "nearly", "nearly", "beyond",
        "huge", "negative", "big", "zero",
    ];
    let mut sink = sink(&server);
    let Err(SinkError::Reject(refused)) = sink.write(&batch(0, &values)).await else {
        panic!("not refused");
    };
    let indexes: Vec<usize> = refused.iter().map(|(index, _)| *index).collect();
    assert_eq!(indexes, [1, 2, 4, 5, 6, 7, 8, 9, 10]);
    assert!(
        refused[0].1.contains("`list` holds no string"),
        "{}",
        refused[0].1
    );
    assert!(
        refused[4].1.contains("`full` would overflow"),
        "{}",
        refused[4].1
    );
    assert_eq!(server.command(&["EXISTS", "good", KEY]), "0");
    // What a leg does next: the rest of the batch, with the same positions.
    let mut rest = batch(0, &["good", "good", "negative", "big", "zero", "nearly"]);
    rest.next = gristmill_record::Position::Offset(14);
    sink.write(&rest).await.unwrap();
    for (key, value) in [
        ("good", "2"),
        ("nearly", longest.as_str()),
        ("negative", "-9223372036854775807"),
        ("big", "9007199254740994"),
        ("zero", "1"),
        ("text", "abc"),
    ] {
        assert_eq!(server.command(&["GET", key]), value, "{key}");
    }
    assert_eq!(position(&mut sink).await, Some(14));
}

#[tokio::test]
async fn keys_from_data_cannot_reach_the_sinks_own() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let mut sink = sink(&server);
    sink.write(&batch(0, &["a"])).await.unwrap();
    let Err(SinkError::Reject(refused)) = sink.write(&batch(1, &["a", KEY, ""])).await else {
        panic!("not refused");
    };
    assert_eq!(refused.iter().map(|r| r.0).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(position(&mut sink).await, Some(1));
    expect_counts(&server, &[("a", 1)]).await;
}

#[tokio::test]
async fn a_full_redis_is_waited_for() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let mut sink = sink(&server);
    sink.write(&batch(0, &["a"])).await.unwrap();
    server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    let error = sink.write(&batch(1, &["a", "b"])).await.unwrap_err();
    assert!(matches!(error, SinkError::Retry { .. }), "{error}");
    assert!(error.to_string().contains("maxmemory"), "{error}");
    expect_counts(&server, &[("a", 1)]).await;
    assert_eq!(position(&mut sink).await, Some(1));
    server.command(&["CONFIG", "SET", "maxmemory", "0"]);
    write(&mut sink, &batch(1, &["a", "b"])).await.unwrap();
    expect_counts(&server, &[("a", 2), ("b", 1)]).await;
}

#[tokio::test]
async fn a_replica_is_waited_for() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let mut sink = sink(&server);
    sink.write(&batch(0, &["a"])).await.unwrap();
    // A replica of nobody: it answers, and refuses writes.
    server.command(&["REPLICAOF", "127.0.0.1", "1"]);
    let error = sink.write(&batch(1, &["a"])).await.unwrap_err();
    assert!(matches!(error, SinkError::Retry { .. }), "{error}");
    server.command(&["REPLICAOF", "NO", "ONE"]);
    write(&mut sink, &batch(1, &["a"])).await.unwrap();
    expect_counts(&server, &[("a", 2)]).await;
}

#[tokio::test]
async fn the_cache_of_scripts_may_be_flushed() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let mut sink = sink(&server);
    for at in 0..5 {
        sink.write(&batch(at, &["a"])).await.unwrap();
        assert_eq!(server.command(&["SCRIPT", "FLUSH"]), "OK");
    }
    expect_counts(&server, &[("a", 5)]).await;
}

#[tokio::test]
async fn a_damaged_position_is_named() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let mut sink = sink(&server);
    sink.write(&batch(0, &["a"])).await.unwrap();
    server.command(&["HSET", KEY, "0", "soon"]);
    let reason = fatal(sink.write(&batch(1, &["a"])).await);
    assert!(
        reason.contains("`soon`") && reason.contains(KEY),
        "{reason}"
    );
    server.command(&["DEL", KEY]);
    server.command(&["SET", KEY, "mine"]);
    let reason = fatal(sink.write(&batch(1, &["a"])).await);
    assert!(reason.contains("gristmill:*"), "{reason}");
}

#[tokio::test]
async fn thousands_of_keys_fit_one_batch() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let values: Vec<String> = (0..20_000).map(|i| format!("key-{i}")).collect();
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    let mut sink = sink(&server);
    sink.write(&batch(0, &values)).await.unwrap();
    let counts = counts(&server).await;
    assert_eq!(counts.len(), 20_000);
    assert!(counts.values().all(|count| *count == 1));
}

#[tokio::test]
async fn binary_keys_count() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let mut sink = sink(&server);
    let mut binary = batch(0, &["x\r\n*1\r\n", "ü", " "]);
    let record = gristmill_record::RecordRef::new(3, 0, None, &[0xff, 0, b'\n']);
    binary.records.push(record);
    binary.next = gristmill_record::Position::Offset(4);
    sink.write(&binary).await.unwrap();
    let expect = [("x\r\n*1\r\n", 1), ("ü", 1), (" ", 1), ("\u{fffd}\0\n", 1)];
    expect_counts(&server, &expect).await;
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up_in_time() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut sink = sink_with(Config {
        timeout: Duration::from_millis(100),
        ..config(&format!("redis://{}", listener.local_addr().unwrap()))
    });
    let started = std::time::Instant::now();
    let error = sink.write(&batch(0, &["a"])).await.unwrap_err();
    assert!(matches!(error, SinkError::Retry { .. }), "{error}");
    assert!(started.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn a_gap_is_refused_with_the_stored_offset() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let mut sink = sink(&server);
    sink.write(&batch(0, &["a"])).await.unwrap();
    assert_eq!(
        stored(sink.write(&batch(5, &["a"])).await.unwrap_err()),
        Some(1)
    );
}
