//! Redis killed, restored, flushed, paused, shared by zombies: every record still counts once.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::{
    batch, config, counts, expect_counts, position, run, sink, sink_with, stored, truth, write,
};
use gristmill_flow::{Sink, SinkError};
use gristmill_flow_testing::redis::RedisServer;
use gristmill_redis_sink::Config;

#[tokio::test]
async fn a_redis_that_is_down_at_start_is_waited_for() {
    let Some(mut server) = RedisServer::start() else {
        return;
    };
    server.kill();
    let mut sink = sink(&server);
    let error = sink.positions(&[common::lane()]).await.unwrap_err();
    let SinkError::Retry { reason, .. } = error else {
        panic!("{error}");
    };
    assert!(
        reason.contains(&server.url()) && reason.contains("type-counts"),
        "{reason}"
    );
    server.restart();
    let retries = write(&mut sink, &batch(0, &["a"])).await.unwrap();
    assert!(retries.len() <= 1, "{retries:?}");
    expect_counts(&server, &[("a", 1)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_in_mid_run_count_once() {
    let Some(mut server) = RedisServer::start_durable() else {
        return;
    };
    let end = 20_000;
    let url = server.url();
    let leg = tokio::spawn(async move {
        let mut sink = sink_with(config(&url));
        run(&mut sink, end, 1).await
    });
    let mut kills = 0;
    while !leg.is_finished() {
        tokio::time::sleep(Duration::from_millis(60)).await;
        server.kill();
        kills += 1;
        server.restart();
        assert!(kills < 200, "no progress");
    }
    leg.await.unwrap();
    assert_eq!(counts(&server).await, truth(end), "{kills} kills");
    assert!(kills >= 2, "the run ended before it was disturbed: {kills}");
}

/// Everything since the last save is lost: counts and position together.
#[tokio::test]
async fn a_lost_tail_is_counted_again() {
    let Some(mut server) = RedisServer::start() else {
        return;
    };
    let mut sink = sink(&server);
    run(&mut sink, 1000, 2).await;
    assert_eq!(server.command(&["SAVE"]), "OK");
    run(&mut sink, 3000, 3).await;
    server.kill();
    server.restart();
    // The sink still believes in 3000.
    let after = batch(3000, &["edit"]);
    let error = write(&mut sink, &after).await.unwrap_err();
    assert!(error.to_string().contains("older dump"), "{error}");
    assert_eq!(stored(error), Some(1000));
    assert_eq!(counts(&server).await, truth(1000));
    run(&mut sink, 4000, 4).await;
    assert_eq!(counts(&server).await, truth(4000));
}

#[tokio::test]
async fn a_flushed_redis_is_counted_from_the_start() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let mut sink = sink(&server);
    run(&mut sink, 500, 5).await;
    server.command(&["FLUSHALL"]);
    let error = sink.write(&batch(500, &["edit"])).await.unwrap_err();
    assert!(error.to_string().contains("flushed"), "{error}");
    assert_eq!(stored(error), None);
    assert!(counts(&server).await.is_empty());
    run(&mut sink, 700, 6).await;
    assert_eq!(counts(&server).await, truth(700));
    // Once more, noticed at the position instead of at a batch.
    server.command(&["FLUSHALL"]);
    assert_eq!(position(&mut sink).await, None);
    run(&mut sink, 700, 7).await;
    assert_eq!(counts(&server).await, truth(700));
}

/// The command is in the stopped server's socket and is carried out after we gave up on it.
#[tokio::test]
async fn an_answer_that_never_came_is_resolved_by_the_position() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let mut sink = sink_with(Config {
        timeout: Duration::from_millis(200),
        ..config(&server.url())
    });
    sink.write(&batch(0, &["a"])).await.unwrap();
    for at in 1..6 {
        server.pause();
        let error = sink.write(&batch(at, &["a"])).await.unwrap_err();
        assert!(matches!(error, SinkError::Retry { .. }), "{error}");
        server.resume();
        write(&mut sink, &batch(at, &["a"])).await.unwrap();
        expect_counts(&server, &[("a", at + 1)]).await;
    }
    assert_eq!(position(&mut sink).await, Some(6));
}

/// A batch in doubt arrives after the lane's next owner went on in other steps.
#[tokio::test]
async fn a_late_batch_of_a_dead_owner_is_refused() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let mut zombie = sink_with(Config {
        timeout: Duration::from_millis(200),
        ..config(&server.url())
    });
    zombie.write(&batch(0, &["a"])).await.unwrap();
    let mut owner = sink(&server);
    assert_eq!(position(&mut owner).await, Some(1));
    server.pause();
    // Queued first, so carried out first; then the zombie's, which is too late.
    let owners = batch(1, &["b"]);
    let (owners, zombies) = tokio::join!(owner.write(&owners), async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let zombies = zombie.write(&batch(1, &["b", "c"])).await;
        server.resume();
        zombies
    });
    owners.unwrap();
    assert!(
        matches!(zombies, Err(SinkError::Retry { .. })),
        "{zombies:?}"
    );
    assert_eq!(
        stored(
            write(&mut zombie, &batch(1, &["b", "c"]))
                .await
                .unwrap_err()
        ),
        Some(2)
    );
    expect_counts(&server, &[("a", 1), ("b", 1)]).await;
}

/// Two copies that both believe to own the lane, at full speed, on a server that is paused and
/// killed meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_zombies_on_one_lane_count_once() {
    let Some(mut server) = RedisServer::start_durable() else {
        return;
    };
    let end = 10_000;
    let legs: Vec<_> = (0..2)
        .map(|seed| {
            let config = Config {
                timeout: Duration::from_millis(150),
                ..config(&server.url())
            };
            tokio::spawn(async move { run(&mut sink_with(config), end, seed).await })
        })
        .collect();
    for turn in 0.. {
        if legs.iter().all(|leg| leg.is_finished()) {
            break;
        }
        assert!(turn < 200, "no progress");
        tokio::time::sleep(Duration::from_millis(40)).await;
        if turn % 3 == 2 {
            server.kill();
            server.restart();
        } else {
            server.pause();
            tokio::time::sleep(Duration::from_millis(200)).await;
            server.resume();
        }
    }
    let mut misaligned = 0;
    for leg in legs {
        misaligned += leg.await.unwrap();
    }
    assert!(misaligned > 0, "the copies never met");
    assert_eq!(counts(&server).await, truth(end));
}

/// All keys of a connector share a slot through the template's hash tag; `MOVED` leads to its node.
#[tokio::test]
async fn a_cluster_works_through_a_hash_tag() {
    let (Some(one), Some(two)) = (RedisServer::start_cluster(), RedisServer::start_cluster())
    else {
        return;
    };
    one.command(&["CLUSTER", "ADDSLOTSRANGE", "0", "8191"]);
    two.command(&["CLUSTER", "ADDSLOTSRANGE", "8192", "16383"]);
    one.command(&["CLUSTER", "MEET", "127.0.0.1", &two.port().to_string()]);
    for _ in 0..200 {
        let ok = |node: &RedisServer| {
            node.command(&["CLUSTER", "INFO"])
                .contains("cluster_state:ok")
        };
        if ok(&one) && ok(&two) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for tag in ["a", "b", "c", "wiki"] {
        let config = Config {
            count: format!("{{{{{tag}}}}}:{{value}}"),
            ..config(&one.url())
        };
        let mut sink = sink_with(config.clone());
        write(&mut sink, &batch(0, &["x", "y", "x"])).await.unwrap();
        assert_eq!(position(&mut sink).await, Some(3));
        let mut reader =
            gristmill_redis_sink::CountReader::new("wikipedia", "type-counts", &config).unwrap();
        let expect = [(format!("{{{tag}}}:x"), 2), (format!("{{{tag}}}:y"), 1)];
        assert_eq!(reader.counts().await.unwrap(), expect.into());
    }
    let mut untagged = sink(&one);
    let error = untagged.write(&batch(0, &["x", "y"])).await.unwrap_err();
    assert!(matches!(error, SinkError::Fatal(_)), "{error}");
    assert!(error.to_string().contains("hash tag"), "{error}");
}

/// A topic that was deleted, created anew and filled beyond the position has another id.
#[tokio::test]
async fn positions_are_held_to_the_topic_they_are_of() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    // A position from before ids were kept takes the first one it is told.
    let mut old = sink(&server);
    write(&mut old, &batch(0, &["a", "b"])).await.unwrap();
    old.hold_to("edits", "first").await.unwrap();
    let mut again = sink(&server);
    again.hold_to("edits", "first").await.unwrap();
    assert_eq!(position(&mut again).await, Some(2));
    let error = again.hold_to("edits", "second").await.unwrap_err();
    assert!(
        matches!(&error, SinkError::Fatal(reason)
            if reason.contains("was recreated") && reason.contains(common::KEY)),
        "{error:?}"
    );
    // The remedy it names.
    server.command(&["DEL", common::KEY]);
    let mut fresh = sink(&server);
    fresh.hold_to("edits", "second").await.unwrap();
    assert_eq!(position(&mut fresh).await, None);
    write(&mut fresh, &batch(0, &["a"])).await.unwrap();
    expect_counts(&server, &[("a", 2), ("b", 1)]).await;
}
