//! A real HTTPS server with a private CA, which may ask for a certificate.

use std::time::Duration;

use gristmill_flow::Status;
use gristmill_flow_testing::pki::Pki;
use gristmill_flow_testing::tls::TlsFront;
use serde_json::{Value, json};

use crate::harness::{Reply, Server, Topic, Until, config, header, pump, source};

/// A stream of one event behind TLS.
async fn stream(pki: &Pki, asks: bool) -> (Server, String) {
    let server = Server::start([Reply::stream("data: a\n\n")]).await;
    let front = TlsFront::start(server.addr, pki, asks);
    let url = format!("https://{}/stream", front.addr());
    (server, url)
}

fn files(pki: &Pki, ca: &str, client: Option<&str>) -> Value {
    let mut tls = json!({"ca-file": pki.path(ca)});
    if let Some(name) = client {
        tls["cert-file"] = json!(pki.path(&format!("{name}.pem")));
        tls["key-file"] = json!(pki.path(&format!("{name}.key")));
    }
    json!({"tls": tls, "headers": {"Authorization": "Bearer token-4711"}})
}

/// What the stage waits for, and would go on with once it is there.
async fn waits_for(url: &str, more: Value) -> String {
    let (mut source, stats) = source(config(url, more));
    let until = Until::Quiet(Duration::from_millis(500));
    pump(&mut source, &Topic::default(), until).await.unwrap();
    match stats.status() {
        Status::Waiting(reason) => {
            assert!(reason.contains(url), "{reason}");
            assert!(!reason.contains("token-4711"), "{reason}");
            reason
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_private_ca_and_a_client_certificate() {
    let pki = Pki::new();
    let (server, url) = stream(&pki, true).await;
    let (mut source, _) = source(config(&url, files(&pki, "ca.pem", Some("client"))));
    let topic = Topic::default();
    pump(&mut source, &topic, Until::Holds(1)).await.unwrap();
    assert_eq!(topic.values()[0], "a");
    let token = header(&server.requests()[0], "authorization").map(str::to_owned);
    assert_eq!(token.as_deref(), Some("Bearer token-4711"));
}

#[tokio::test]
async fn a_server_that_is_not_trusted_gets_no_token() {
    let pki = Pki::new();
    let (server, url) = stream(&pki, false).await;
    let reason = waits_for(&url, files(&pki, "stranger-ca.pem", None)).await;
    assert!(reason.contains("UnknownIssuer"), "{reason}");
    assert!(reason.contains("`sse.tls.ca-file`"), "{reason}");
    let reason = waits_for(&url, json!({})).await;
    assert!(reason.contains("`sse.tls.ca-file`"), "{reason}");
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn a_certificate_that_is_asked_for() {
    let pki = Pki::new();
    let (server, url) = stream(&pki, true).await;
    let reason = waits_for(&url, files(&pki, "ca.pem", None)).await;
    assert!(reason.contains("`sse.tls.cert-file`"), "{reason}");
    let reason = waits_for(&url, files(&pki, "ca.pem", Some("stranger"))).await;
    assert!(reason.contains("refuses the certificate"), "{reason}");
    assert!(server.requests().is_empty());
}
