use std::time::Duration;

use gristmill_flow::{Sink, SinkError, header};
use gristmill_flow_testing::kafka;
use gristmill_kafka_topic::{Compression, Delivery, TopicWriter, WriterConfig, ensure_topics};
use gristmill_record::{Batch, Position, RecordRef, Records, Reject};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::{
    at, batch, cluster, everything, numbers, owned, spec, stream, token, topic, writer,
    writer_config,
};

/// As the leg does: what may pass is tried again.
async fn put(writer: &mut TopicWriter, batch: &Batch) -> Result<(), SinkError> {
    loop {
        match writer.write(batch).await {
            Err(SinkError::Retry { after, reason }) => {
                eprintln!("{reason}");
                tokio::time::sleep(after).await;
            }
            result => return result,
        }
    }
}

async fn position(writer: &mut TopicWriter) -> Option<Position> {
    writer
        .positions(&[stream()])
        .await
        .unwrap()
        .remove(&stream())
}

#[tokio::test(flavor = "multi_thread")]
async fn records_come_back_byte_for_byte() {
    let Some(kafka) = cluster() else { return };
    let topic = topic(&kafka, "bytes", 1).await;
    let mut all = batch(0, 0..0);
    let big = vec![7_u8; 900 << 10];
    let headers: [(&str, &[u8]); 3] = [("a", b"1"), ("a", b""), ("ü", &[0, 255])];
    all.records
        .push(RecordRef::new(0, 1_700_000_000_123, None, b"null key"));
    all.records
        .push(RecordRef::new(1, 1, Some(b""), b"empty key"));
    all.records
        .push(RecordRef::new(2, 5, Some(&[0, 159, 146, 150]), b""));
    all.records.push(RecordRef::new(3, 4, Some(b"big"), &big));
    all.records
        .push_with_headers(RecordRef::new(4, 9, Some(b"k"), b"v"), headers);
    let mut first = writer(&kafka, &topic);
    assert_eq!(position(&mut first).await, None);
    put(&mut first, &all).await.unwrap();
    let expected: Vec<_> = all.records.iter().map(owned).collect();
    assert_eq!(everything(&kafka, &topic).await, expected);
    first.close().await;
    // The next life finds the position; so does this one.
    assert_eq!(position(&mut writer(&kafka, &topic)).await, Some(token(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_left_open_by_a_crash_never_was() {
    let Some(kafka) = cluster() else { return };
    let topic = topic(&kafka, "crash", 1).await;
    let mut first = writer(&kafka, &topic);
    put(&mut first, &batch(0, 0..10)).await.unwrap();
    drop(first);
    // A copy that is killed between its records and its commit: they are on the brokers.
    let crashed: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", kafka.brokers.join(","))
        .set("transactional.id", format!("{topic}.source"))
        .create()
        .unwrap();
    crashed.init_transactions(crate::PATIENCE).unwrap();
    crashed.begin_transaction().unwrap();
    for number in 10..20 {
        let text = number.to_string();
        crashed
            .send(BaseRecord::to(&topic).key(&text).payload(&text))
            .unwrap();
    }
    let checkpoints = format!("{topic}.checkpoints");
    let key = format!("{topic}.source stream[0]");
    let value = r#"{"v":1,"token":"ahead","write":"x"}"#;
    crashed
        .send(BaseRecord::to(&checkpoints).key(&key).payload(value))
        .unwrap();
    crashed.flush(crate::PATIENCE).unwrap();
    let mut second = writer(&kafka, &topic);
    assert_eq!(position(&mut second).await, Some(token(1)));
    put(&mut second, &batch(1, 10..20)).await.unwrap();
    assert_eq!(numbers(&kafka, &topic).await, (0..20).collect::<Vec<_>>());
    drop(crashed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_is_cut_short_and_repeated_counts_once() {
    let Some(kafka) = cluster() else { return };
    let topic = topic(&kafka, "doubt", 3).await;
    let mut writer = writer(&kafka, &topic);
    writer.positions(&[stream()]).await.unwrap();
    let mut cut = 0;
    for n in 0..20 {
        let batch = batch(n, n * 50..(n + 1) * 50);
        // Anywhere between the first record and the commit's answer.
        let patience = Duration::from_millis(fastrand::u64(0..25));
        match tokio::time::timeout(patience, writer.write(&batch)).await {
            Ok(result) => result.unwrap(),
            Err(_) => {
                cut += 1;
                put(&mut writer, &batch).await.unwrap();
            }
        }
    }
    assert!(cut > 0, "no write was cut short: nothing was shown");
    assert_eq!(numbers(&kafka, &topic).await, (0..1000).collect::<Vec<_>>());
    assert_eq!(position(&mut writer).await, Some(token(20)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_copy_shuts_the_first_out() {
    let Some(kafka) = cluster() else { return };
    let topic = topic(&kafka, "fence", 1).await;
    let (mut first, mut second) = (writer(&kafka, &topic), writer(&kafka, &topic));
    put(&mut first, &batch(0, 0..10)).await.unwrap();
    assert_eq!(position(&mut second).await, Some(token(1)));
    let error = loop {
        match first.write(&batch(1, 10..20)).await.unwrap_err() {
            SinkError::Retry { .. } => {}
            error => break error,
        }
    };
    assert!(
        matches!(&error, SinkError::Fenced(r) if r.contains("another copy")),
        "{error:?}"
    );
    put(&mut second, &batch(1, 10..20)).await.unwrap();
    // And stays out.
    assert!(matches!(
        first.positions(&[stream()]).await,
        Err(SinkError::Fenced(_))
    ));
    assert_eq!(numbers(&kafka, &topic).await, (0..20).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_written_with_their_batch() {
    let Some(kafka) = cluster() else { return };
    let topic = topic(&kafka, "letters", 1).await;
    let mut writer = writer(&kafka, &topic);
    assert!(writer.takes_rejects());
    let mut first = batch(0, 0..1);
    first.rejects.push(Reject {
        offset: 1,
        timestamp_ms: 77,
        key: None,
        value: b"bad".to_vec(),
        stage: "sse".to_owned(),
        reason: "no JSON".to_owned(),
    });
    put(&mut writer, &first).await.unwrap();
    let letters = everything(&kafka, &format!("{topic}.dead-letter")).await;
    let [(77, None, value, headers)] = &letters[..] else {
        panic!("{letters:?}")
    };
    assert_eq!(value, b"bad");
    assert!(headers.contains(&(header::REASON.to_owned(), b"no JSON".to_vec())));
    assert!(headers.contains(&(header::OFFSET.to_owned(), b"1".to_vec())));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_refused_and_its_letter_cut() {
    let Some(kafka) = cluster() else { return };
    let topic = topic(&kafka, "large", 1).await;
    let mut writer = writer(&kafka, &topic);
    let mut large = batch(0, 0..1);
    let value = vec![b'x'; 5 << 20];
    large.records.push(RecordRef::new(1, 1, Some(b"k"), &value));
    let error = put(&mut writer, &large).await.unwrap_err();
    let SinkError::Reject(refused) = error else {
        panic!("{error:?}")
    };
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0].0, 1);
    assert!(
        refused[0].1.contains("max.message.bytes"),
        "{}",
        refused[0].1
    );
    // What the leg makes of it.
    let mut records = Records::default();
    records.push(large.records.get(0).unwrap());
    large.records = records;
    large.rejects.push(Reject {
        offset: 1,
        timestamp_ms: 1,
        key: Some(b"k".to_vec()),
        value,
        stage: "sink".to_owned(),
        reason: refused[0].1.clone(),
    });
    put(&mut writer, &large).await.unwrap();
    let letters = everything(&kafka, &format!("{topic}.dead-letter")).await;
    assert_eq!(letters.len(), 1);
    assert!(letters[0].2.len() > 1_000_000, "{}", letters[0].2.len());
    let reason = letters[0]
        .3
        .iter()
        .find(|(name, _)| name == header::REASON)
        .unwrap();
    let reason = String::from_utf8_lossy(&reason.1).into_owned();
    assert!(reason.contains("value cut from 5242880"), "{reason}");
    assert_eq!(numbers(&kafka, &topic).await, [0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_takes_little_at_once_gets_many_records() {
    let Some(kafka) = cluster() else { return };
    let topic = topic(&kafka, "little", 1).await;
    let little = format!("{topic}-little");
    let mut spec = spec(&little, 1);
    spec.config
        .insert("max.message.bytes".to_owned(), "20000".to_owned());
    ensure_topics(&kafka, &[spec]).await.unwrap();
    let mut writer = TopicWriter::open(WriterConfig {
        topic: little.clone(),
        // What is sent is as large as it was handed over.
        compression: Compression::None,
        ..writer_config(&kafka, &topic)
    })
    .unwrap();
    put(&mut writer, &batch(0, 0..5_000)).await.unwrap();
    let written = numbers(&kafka, &little).await;
    assert_eq!(written, (0..5_000).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn at_least_once_keeps_the_position_too() {
    let Some(kafka) = cluster() else { return };
    let topic = topic(&kafka, "at-least", 2).await;
    let mut config = writer_config(&kafka, &topic);
    config.delivery = Delivery::AtLeastOnce;
    let mut writer = TopicWriter::open(config.clone()).unwrap();
    assert_eq!(position(&mut writer).await, None);
    put(&mut writer, &batch(0, 0..100)).await.unwrap();
    put(&mut writer, &batch(1, 100..200)).await.unwrap();
    assert_eq!(numbers(&kafka, &topic).await, (0..200).collect::<Vec<_>>());
    let mut next = TopicWriter::open(config).unwrap();
    assert_eq!(position(&mut next).await, Some(token(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_down_is_waited_for() {
    let down = at(vec!["127.0.0.1:1".to_owned()]);
    let error = writer(&down, "t").positions(&[stream()]).await.unwrap_err();
    assert!(
        matches!(&error, SinkError::Retry { reason, .. } if reason.contains("127.0.0.1:1")),
        "{error:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_without_the_right_to_write_is_named() {
    let Some(kafka) = cluster() else { return };
    let topic = topic(&kafka, "denied", 1).await;
    if !kafka::deny(&topic, "Write") {
        return;
    }
    let mut writer = writer(&kafka, &topic);
    let error = put(&mut writer, &batch(0, 0..1)).await.unwrap_err();
    assert!(
        matches!(&error, SinkError::Fatal(r) if r.contains(&topic) && r.contains("WRITE")),
        "{error:?}"
    );
}
