//! A real server with TLS, an ACL user and client certificates: who may come in, and what is said
//! to who may not.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::PathBuf;

use common::{batch, config, lane, sink_with};
use gristmill_flow::{Sink, SinkError};
use gristmill_flow_testing::pki::Pki;
use gristmill_flow_testing::redis::RedisServer;
use gristmill_redis_sink::{Config, CountReader};
use gristmill_tls::Files;

const PASSWORD: &str = "a-password-of-the-test-4711";

/// What docs/operating.md says a sink without windows needs.
const RIGHTS: &str = "-@all +eval +evalsha +hget +hmget +hset +hdel +sadd +get +incrby +sscan +mget \
                      +hgetall +ping +select";
/// The second is in no certificate.
const BIND: [&str; 3] = ["--bind", "127.0.0.1", "127.0.0.2"];

struct Server {
    _server: RedisServer,
    url: String,
    pki: Pki,
}

impl Server {
    /// With an ACL user beside a default user that is off.
    fn start(asks: bool) -> Option<Self> {
        let pki = Pki::new();
        let (server, port) = RedisServer::start_tls(&pki, asks, &BIND)?;
        let user = format!("ACL SETUSER counter on ~gristmill:* ~edit ~log {RIGHTS}");
        let user: Vec<&str> = user.split(' ').collect();
        let password = format!(">{PASSWORD}");
        assert_eq!(server.command(&[&user[..], &[&password]].concat()), "OK");
        assert_eq!(server.command(&["ACL", "SETUSER", "default", "off"]), "OK");
        Some(Self {
            _server: server,
            url: format!("rediss://127.0.0.1:{port}/0"),
            pki,
        })
    }

    fn config(&self, files: Files) -> Config {
        Config {
            username: Some("counter".to_owned()),
            password: Some(PASSWORD.to_owned()),
            tls: Some(files),
            ..config(&self.url)
        }
    }

    fn files(&self, ca: &str, client: Option<&str>) -> Files {
        let path = |name: String| -> PathBuf { self.pki.path(&name) };
        Files {
            ca_file: Some(path(ca.to_owned())),
            cert_file: client.map(|name| path(format!("{name}.pem"))),
            key_file: client.map(|name| path(format!("{name}.key"))),
        }
    }
}

/// What a sink with this config says when it is first asked.
async fn refusal(config: Config) -> String {
    let error = sink_with(config).positions(&[lane()]).await.unwrap_err();
    assert!(matches!(error, SinkError::Fatal(_)), "{error:?}");
    let text = error.to_string();
    assert!(
        text.contains("rediss://127.0.0.1:") && text.contains("type-counts"),
        "{text}"
    );
    assert!(!text.contains(PASSWORD), "{text}");
    text
}

#[tokio::test]
async fn counts_go_through_tls_with_a_certificate_and_an_acl_user() {
    let Some(server) = Server::start(true) else {
        return;
    };
    let config = server.config(server.files("ca.pem", Some("client")));
    let mut sink = sink_with(config.clone());
    assert!(sink.positions(&[lane()]).await.unwrap().is_empty());
    sink.write(&batch(0, &["edit", "log", "edit"]))
        .await
        .unwrap();
    let mut reader = CountReader::new("wikipedia", "type-counts", &config).unwrap();
    let counts = reader.counts().await.unwrap();
    assert_eq!(
        counts,
        [("edit".to_owned(), 2), ("log".to_owned(), 1)].into()
    );
}

#[tokio::test]
async fn who_may_not_come_in_is_told_why() {
    let Some(server) = Server::start(true) else {
        return;
    };
    let text = refusal(server.config(server.files("stranger-ca.pem", Some("client")))).await;
    assert!(
        text.contains("UnknownIssuer") && text.contains("`redis.tls.ca-file`"),
        "{text}"
    );

    let text = refusal(server.config(server.files("ca.pem", None))).await;
    assert!(text.contains("asks for a client certificate"), "{text}");
    assert!(text.contains("`redis.tls.cert-file`"), "{text}");

    let text = refusal(server.config(server.files("ca.pem", Some("stranger")))).await;
    assert!(text.contains("refuses the certificate"), "{text}");

    let good = server.config(server.files("ca.pem", Some("client")));
    let wrong = Config {
        password: Some("not-it".to_owned()),
        ..good.clone()
    };
    let text = refusal(wrong).await;
    assert!(
        text.contains("WRONGPASS") && text.contains("`password`"),
        "{text}"
    );

    let nobody = Config {
        username: None,
        password: None,
        ..good.clone()
    };
    let text = refusal(nobody).await;
    assert!(
        text.contains("NOAUTH") && text.contains("`username`"),
        "{text}"
    );

    // Mozilla's roots do not hold a test's CA.
    let text = refusal(Config { tls: None, ..good }).await;
    assert!(text.contains("`redis.tls.ca-file`"), "{text}");
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let Some(mut server) = Server::start(false) else {
        return;
    };
    let config = server.config(server.files("ca.pem", None));
    sink_with(config).positions(&[lane()]).await.unwrap();
    server.url = server.url.replace("127.0.0.1", "127.0.0.2");
    let config = server.config(server.files("ca.pem", None));
    let error = sink_with(config).positions(&[lane()]).await.unwrap_err();
    assert!(error.to_string().contains("another name"), "{error}");
}
