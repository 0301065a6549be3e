//! What a real Redis is found to be.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::config;
use gristmill_flow_testing::redis::RedisServer;
use gristmill_redis_sink::{Config, Examiner, Health, ReadError};

async fn examine(config: &Config) -> Result<Health, ReadError> {
    let mut examiner = Examiner::new("wikipedia", "type-counts", config).unwrap();
    examiner.examine().await
}

#[tokio::test]
async fn a_server_is_found_as_it_is() {
    let Some(server) = RedisServer::start_durable() else {
        return;
    };
    server.command(&["CONFIG", "SET", "maxmemory", "100mb"]);
    server.command(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    let health = examine(&config(&server.url())).await.unwrap();
    assert!(health.version.is_some_and(|version| version.contains('.')));
    assert_eq!(health.role.as_deref(), Some("master"));
    assert_eq!(
        (health.logs_writes, health.saves_snapshots),
        (Some(true), Some(false))
    );
    assert_eq!(health.memory_max, Some(100 << 20));
    assert_eq!(health.eviction.as_deref(), Some("allkeys-lru"));
    assert_eq!(server.command(&["DBSIZE"]), "0", "looking leaves nothing");
}

#[tokio::test]
async fn missing_rights_are_named() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    server.command(&[
        "ACL", "SETUSER", "weak", "on", ">pw", "~*", "+@all", "-incrby", "-sadd", "-hincrby",
    ]);
    server.command(&[
        "ACL", "SETUSER", "mute", "on", ">pw", "~*", "+ping", "+select",
    ]);
    let as_user = |name: &str| Config {
        username: Some(name.to_owned()),
        password: Some("pw".to_owned()),
        ..config(&server.url())
    };
    let health = examine(&as_user("weak")).await.unwrap();
    // Before Redis 7 nobody can tell.
    if let Some(forbidden) = health.forbidden {
        assert_eq!(forbidden, ["SADD", "INCRBY"]);
        let hashes = Config {
            hash: Some("types".to_owned()),
            ..as_user("weak")
        };
        let health = examine(&hashes).await.unwrap();
        assert_eq!(health.forbidden.unwrap(), ["HINCRBY"]);
    }
    let error = examine(&as_user("mute")).await.unwrap_err();
    assert!(matches!(error, ReadError::Refused(_)), "{error}");
    let wrong = Config {
        password: Some("nope".to_owned()),
        ..as_user("weak")
    };
    let error = examine(&wrong).await.unwrap_err().to_string();
    assert!(
        error.contains("WRONGPASS") && !error.contains("nope"),
        "{error}"
    );
}
