//! A real cluster with TLS and logins (`cargo xtask cluster up --secure`), and a build with TLS:
//! every way in, and what is said to who may not come in.
#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use gristmill_flow::{LegStats, Sink, Source, SourceError, SourceEvent, TopicTail};
use gristmill_flow_testing::kafka::{self, Secure};
use gristmill_kafka_topic::{
    Compression, Delivery, KafkaConfig, KafkaTail, Oversize, ReaderConfig, Sasl, Security, Tls,
    TopicReader, TopicSpec, TopicWriter, WriterConfig, ensure_topics, survey, try_group,
    try_transactions,
};
use gristmill_record::{Batch, Lane, Position, Positions, RecordRef, Records};
use gristmill_tls::Files;

fn sasl(secure: &Secure, mechanism: &str) -> Option<Sasl> {
    Some(Sasl {
        mechanism: mechanism.to_owned(),
        username: secure.username.to_owned(),
        password: secure.password.clone(),
    })
}

fn tls(secure: &Secure, ca: &str, client: Option<&str>) -> Option<Tls> {
    let path = |name: String| -> PathBuf { secure.pki.join(name) };
    Some(Tls {
        files: Files {
            ca_file: Some(path(ca.to_owned())),
            cert_file: client.map(|name| path(format!("{name}.pem"))),
            key_file: client.map(|name| path(format!("{name}.key"))),
        },
        key_password: None,
    })
}

fn config(brokers: &[String], security: &Security) -> KafkaConfig {
    let config = KafkaConfig {
        brokers: brokers.to_vec(),
        client_id: "gristmill-test".to_owned(),
        properties: security.properties().unwrap(),
    };
    config.validate().unwrap();
    config
}

/// Everything that a pipeline does with a cluster: topics, transactions, checkpoints, a group, a
/// look into the tail.
async fn all_of_it_works(kafka: &KafkaConfig) {
    let topic = kafka::unique("secure");
    let spec = |name: String| TopicSpec {
        name,
        partitions: 1,
        replication_factor: 1,
        config: BTreeMap::new(),
    };
    let checkpoints = TopicSpec::checkpoint(format!("{topic}.checkpoints"), 1);
    ensure_topics(kafka, &[spec(topic.clone()), checkpoints])
        .await
        .unwrap();
    let cluster = survey(kafka).await.unwrap();
    assert!(cluster.topics.contains_key(&topic));
    try_transactions(kafka, &topic, &format!("{topic}.doctor"))
        .await
        .unwrap();

    let mut writer = TopicWriter::open(WriterConfig {
        kafka: kafka.clone(),
        topic: topic.clone(),
        dead_letter_topic: None,
        checkpoint_topic: format!("{topic}.checkpoints"),
        transactional_id: format!("{topic}.source"),
        compression: Compression::default(),
        delivery: Delivery::ExactlyOnce,
        oversize: Oversize::default(),
    })
    .unwrap();
    let lane = Lane::new("stream", 0);
    assert!(
        writer
            .positions(std::slice::from_ref(&lane))
            .await
            .unwrap()
            .is_empty()
    );
    let mut records = Records::default();
    for n in 0..10_i64 {
        let text = n.to_string();
        records.push(RecordRef::new(
            n,
            1_700_000_000_000 + n,
            None,
            text.as_bytes(),
        ));
    }
    let next = Position::Token("{\"id\":1}".into());
    let mut batch = Batch::empty(lane.clone(), None, next.clone());
    batch.records = records;
    writer.write(&batch).await.unwrap();
    let stored = writer.positions(std::slice::from_ref(&lane)).await.unwrap();
    assert_eq!(stored.get(&lane), Some(&next));

    try_group(kafka, &topic, &format!("{topic}.group"))
        .await
        .unwrap();
    let stats = std::sync::Arc::<LegStats>::default();
    let group = format!("{topic}.group");
    let reader = ReaderConfig::new(kafka.clone(), &topic, &group, stats);
    let mut reader = TopicReader::open(reader).unwrap();
    let mut read = 0;
    let deadline = Instant::now() + Duration::from_secs(60);
    while read < 10 {
        let left = deadline.saturating_duration_since(Instant::now());
        let event = tokio::time::timeout(left, reader.next()).await.unwrap();
        match event.unwrap() {
            SourceEvent::Assigned(lanes) => {
                reader.resume(&lanes, &Positions::new()).await.unwrap();
            }
            SourceEvent::Batch(batch) => read += batch.records.len(),
            SourceEvent::Revoked(_) | SourceEvent::End => {}
        }
    }
    reader.close().await;

    let mut seen = 0;
    let mut tail = KafkaTail::new(kafka.clone(), &topic);
    tail.read(0, &mut |_| seen += 1).await.unwrap();
    assert_eq!(seen, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_in_works() {
    let Some(secure) = kafka::secure() else {
        return;
    };
    let trusted = tls(&secure, "ca.pem", None);
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let security = Security {
            tls: trusted.clone(),
            sasl: sasl(&secure, mechanism),
        };
        all_of_it_works(&config(&secure.tls_login, &security)).await;
    }
    let plain = Security {
        tls: None,
        sasl: sasl(&secure, "PLAIN"),
    };
    all_of_it_works(&config(&secure.login, &plain)).await;
    let certificate = Security {
        tls: tls(&secure, "ca.pem", Some("client")),
        sasl: None,
    };
    all_of_it_works(&config(&secure.tls_cert, &certificate)).await;
}

/// What the first one who asks the cluster is told.
async fn refusal(brokers: &[String], security: &Security) -> SourceError {
    let kafka = config(brokers, security);
    let asked = Instant::now();
    let error = survey(&kafka).await.unwrap_err();
    assert!(asked.elapsed() < Duration::from_secs(15), "{error}");
    if let Some(sasl) = &security.sasl {
        assert!(!error.to_string().contains(&sasl.password), "{error}");
    }
    error
}

async fn fatal(brokers: &[String], security: Security, part: &str) {
    match refusal(brokers, &security).await {
        SourceError::Fatal(reason) => assert!(reason.contains(part), "{part} not in: {reason}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_login_is_told() {
    let Some(secure) = kafka::secure() else {
        return;
    };
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let wrong = Sasl {
            password: "not-this-one-4711".to_owned(),
            ..sasl(&secure, mechanism).unwrap()
        };
        let security = Security {
            tls: tls(&secure, "ca.pem", None),
            sasl: Some(wrong),
        };
        fatal(&secure.tls_login, security, "refused the login").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ca_that_is_not_the_brokers_is_told() {
    let Some(secure) = kafka::secure() else {
        return;
    };
    let security = |tls| Security {
        tls,
        sasl: sasl(&secure, "PLAIN"),
    };
    let stranger = security(tls(&secure, "stranger-ca.pem", None));
    fatal(&secure.tls_login, stranger, "`kafka.tls.ca-file`").await;
    // The machine's own CAs know nothing of a test's.
    fatal(
        &secure.tls_login,
        security(Some(Tls::default())),
        "`kafka.tls.ca-file`",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_asked_for_is_told() {
    let Some(secure) = kafka::secure() else {
        return;
    };
    for client in [None, Some("stranger")] {
        let security = Security {
            tls: tls(&secure, "ca.pem", client),
            sasl: None,
        };
        fatal(&secure.tls_cert, security, "`kafka.tls.cert-file`").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_kind_of_listener_is_told() {
    let Some(secure) = kafka::secure() else {
        return;
    };
    let told = async |brokers: &[String], security: &Security, part: &str| {
        let error = refusal(brokers, security).await;
        let SourceError::Retry { reason, .. } = error else {
            panic!("{error:?}");
        };
        assert!(reason.contains(part), "{part} not in: {reason}");
    };
    let plain = Security {
        tls: None,
        sasl: sasl(&secure, "PLAIN"),
    };
    told(&secure.tls_login, &plain, "`tls: true`").await;
    let encrypted = Security {
        tls: tls(&secure, "ca.pem", None),
        sasl: sasl(&secure, "PLAIN"),
    };
    told(&secure.login, &encrypted, "`kafka.tls`").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_protected_key_opens_with_its_password_only() {
    let Some(secure) = kafka::secure() else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let protected = dir.path().join("protected.key");
    let made = std::process::Command::new("openssl")
        .args(["pkcs8", "-topk8", "-passout", "pass:opens-it", "-in"])
        .arg(secure.pki.join("client.key"))
        .arg("-out")
        .arg(&protected)
        .status()
        .expect("openssl, which this build links, has its command as well");
    assert!(made.success());
    let with = |password: &str| {
        let mut tls = tls(&secure, "ca.pem", Some("client")).unwrap();
        tls.files.key_file = Some(protected.clone());
        tls.key_password = Some(password.to_owned());
        let security = Security {
            tls: Some(tls),
            sasl: None,
        };
        KafkaConfig {
            brokers: secure.tls_cert.clone(),
            client_id: "gristmill-test".to_owned(),
            properties: security.properties().unwrap(),
        }
    };
    let good = with("opens-it");
    good.validate().unwrap();
    survey(&good).await.unwrap();
    let error = with("does-not-open-it").validate().unwrap_err();
    assert_eq!(
        error.key().as_deref(),
        Some("kafka.tls.key-password"),
        "{error}"
    );
    assert!(!error.to_string().contains("does-not"), "{error}");
}
