use gristmill_flow::SourceError;
use gristmill_flow_testing::kafka::unique;
use gristmill_kafka_topic::ensure_topics;

use crate::{at, cluster, spec};

#[tokio::test]
async fn topics_are_created_once_and_differences_told() {
    let Some(kafka) = cluster() else { return };
    let name = unique("admin");
    let made = ensure_topics(&kafka, &[spec(&name, 3)]).await.unwrap();
    assert_eq!(
        (
            made[0].created,
            made[0].partitions,
            made[0].replication_factor
        ),
        (true, 3, 3)
    );
    assert!(made[0].differences.is_empty());
    let mut fewer = spec(&name, 2);
    fewer.replication_factor = 1;
    let there = ensure_topics(&kafka, &[fewer]).await.unwrap();
    assert!(!there[0].created);
    assert_eq!(there[0].differences.len(), 2, "{:?}", there[0]);
    let error = ensure_topics(&kafka, &[spec(&name, 4)])
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains(&name) && error.contains("3 partitions"),
        "{error}"
    );
}

#[tokio::test]
async fn a_spec_that_cannot_be_is_explained() {
    let Some(kafka) = cluster() else { return };
    let mut many = spec(&unique("admin"), 1);
    many.replication_factor = 7;
    let error = ensure_topics(&kafka, &[many]).await.unwrap_err();
    assert!(
        matches!(&error, SourceError::Fatal(r) if r.contains("7 replicas")),
        "{error}"
    );
    let error = ensure_topics(&kafka, &[spec("no spaces", 1)])
        .await
        .unwrap_err();
    assert!(
        matches!(&error, SourceError::Fatal(r) if r.contains("valid topic name")),
        "{error}"
    );
}

#[tokio::test]
async fn a_broker_that_is_down_is_waited_for_by_name() {
    let down = at(vec!["127.0.0.1:1".to_owned()]);
    let error = ensure_topics(&down, &[spec("t", 1)]).await.unwrap_err();
    assert!(
        matches!(&error, SourceError::Retry { reason, .. } if reason.contains("127.0.0.1:1")),
        "{error:?}"
    );
}
