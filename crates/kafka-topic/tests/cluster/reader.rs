use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gristmill_flow::{LegStats, Sink, Source, SourceError, SourceEvent, TopicTail};
use gristmill_flow_testing::kafka;
use gristmill_kafka_topic::{KafkaConfig, KafkaTail, ReaderConfig, TopicReader, ensure_topics};
use gristmill_record::{Batch, Lane, Position, Positions};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::{PATIENCE, at, batch, cluster, spec, topic, writer};

fn config(kafka: &KafkaConfig, topic: &str) -> ReaderConfig {
    let mut kafka = kafka.clone();
    let fast = [
        ("topic.metadata.refresh.interval.ms", "500"),
        ("session.timeout.ms", "6000"),
    ];
    kafka.properties = fast.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    ReaderConfig::new(
        kafka,
        topic,
        format!("{topic}.group"),
        Arc::new(LegStats::default()),
    )
}

/// Fill a topic with the numbers below `count`, a transaction for every hundred.
async fn fill(kafka: &KafkaConfig, topic: &str, count: usize) {
    let mut writer = writer(kafka, topic);
    for n in 0..count / 100 {
        writer
            .write(&batch(n, n * 100..(n + 1) * 100))
            .await
            .unwrap();
    }
    writer.close().await;
}

/// A sink that, like the real one, takes a batch only where the stored position ends.
#[derive(Default)]
struct Store {
    positions: Positions,
    seen: BTreeMap<String, u32>,
}

impl Store {
    fn apply(&mut self, batch: &Batch) -> bool {
        let stored = self.positions.get(&batch.lane);
        if stored.is_some() && stored != batch.from.as_ref() {
            return false;
        }
        for record in batch.records.iter() {
            *self
                .seen
                .entry(String::from_utf8_lossy(record.value).into_owned())
                .or_default() += 1;
        }
        self.positions
            .insert(batch.lane.clone(), batch.next.clone());
        true
    }

    fn doubled(&self) -> usize {
        self.seen.values().filter(|count| **count > 1).count()
    }
}

/// What a leg does, until `done` says so.
async fn run(reader: &mut TopicReader, store: &Mutex<Store>, mut done: impl FnMut(&Store) -> bool) {
    loop {
        let event = timeout(PATIENCE, reader.next())
            .await
            .unwrap_or_else(|_| panic!("no event after {:?}", store.lock().unwrap().positions))
            .unwrap();
        let lanes = match event {
            SourceEvent::Assigned(lanes) => lanes,
            SourceEvent::Batch(batch) => {
                let applied = store.lock().unwrap().apply(&batch);
                if applied {
                    reader.committed(&batch.lane, &batch.next);
                    if done(&store.lock().unwrap()) {
                        return;
                    }
                    continue;
                }
                vec![batch.lane]
            }
            SourceEvent::Revoked(_) => continue,
            SourceEvent::End => panic!("a topic has no end"),
        };
        resume(reader, &lanes, store).await;
    }
}

async fn resume(reader: &mut TopicReader, lanes: &[Lane], store: &Mutex<Store>) {
    let positions = store.lock().unwrap().positions.clone();
    loop {
        match reader.resume(lanes, &positions).await {
            Ok(()) => return,
            Err(SourceError::Retry { after, .. }) => tokio::time::sleep(after).await,
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_is_read_once_past_its_control_markers_and_resumed() {
    let Some(kafka) = cluster() else { return };
    let topic = topic(&kafka, "drain", 3).await;
    fill(&kafka, &topic, 1000).await;
    let store = Mutex::new(Store::default());
    let config = config(&kafka, &topic);
    let mut reader = TopicReader::open(config.clone()).unwrap();
    // To the very end: ten transactions' markers are in each partition, the last at its end.
    let ends = ends(&kafka, &topic, 3);
    run(&mut reader, &store, |store| store.positions == ends).await;
    let count = |store: &Store| (store.seen.len(), store.doubled());
    assert_eq!(count(&store.lock().unwrap()), (1000, 0));
    assert_eq!(config.stats.lag(), (0..3).map(|p| (p, 0)).collect());
    reader.close().await;
    // A second life with the first one's positions reads only what comes after.
    let mut again = TopicReader::open(config).unwrap();
    // It gets them at once: the first life left the group, and did not just fall silent.
    let soon = timeout(Duration::from_secs(4), again.next()).await;
    let SourceEvent::Assigned(lanes) = soon.expect("the group was not left").unwrap() else {
        panic!()
    };
    resume(&mut again, &lanes, &store).await;
    let mut more = writer(&kafka, &topic);
    more.positions(&[crate::stream()]).await.unwrap();
    more.write(&batch(10, 1000..1100)).await.unwrap();
    run(&mut again, &store, |store| store.seen.len() == 1100).await;
    assert_eq!(store.lock().unwrap().doubled(), 0);
}

/// The end of each partition, once nothing is on its way any more: a transaction is committed before
/// its markers are written, and until then the last stable offset is where it began.
fn ends(kafka: &KafkaConfig, topic: &str, partitions: i32) -> Positions {
    use rdkafka::consumer::{BaseConsumer, Consumer};
    let consumer = |isolation: &str| -> BaseConsumer {
        ClientConfig::new()
            .set("bootstrap.servers", kafka.brokers.join(","))
            .set("isolation.level", isolation)
            .create()
            .unwrap()
    };
    let (stable, all) = (consumer("read_committed"), consumer("read_uncommitted"));
    let end = |consumer: &BaseConsumer, partition| {
        let (_, end) = consumer
            .fetch_watermarks(topic, partition, PATIENCE)
            .unwrap();
        end
    };
    let deadline = Instant::now() + PATIENCE;
    (0..partitions)
        .map(|partition| {
            let end = loop {
                let stable = end(&stable, partition);
                if stable == end(&all, partition) {
                    break stable;
                }
                assert!(Instant::now() < deadline, "a transaction never ends");
                #[allow(clippy::disallowed_methods, reason = "nothing else runs on it now")]
                std::thread::sleep(Duration::from_millis(10));
            };
            (Lane::new(topic, partition), Position::Offset(end))
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_resume_drops_what_was_read_ahead() {
    let Some(kafka) = cluster() else { return };
    let topic = topic(&kafka, "reseek", 1).await;
    fill(&kafka, &topic, 1000).await;
    let mut config = config(&kafka, &topic);
    config.batch_records_max = 50;
    let mut reader = TopicReader::open(config).unwrap();
    let lane = [Lane::new(topic.as_str(), 0)];
    let store = Mutex::new(Store::default());
    for seen in [150, 400, 250] {
        // Back to the beginning, as after a Redis that was restored: from there, gapless.
        run(&mut reader, &store, |store| store.seen.len() >= seen).await;
        *store.lock().unwrap() = Store::default();
        let from = [(lane[0].clone(), Position::Offset(0))].into();
        store.lock().unwrap().positions = from;
        resume(&mut reader, &lane, &store).await;
    }
    run(&mut reader, &store, |store| store.seen.len() == 1000).await;
    assert_eq!(store.lock().unwrap().doubled(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn members_that_come_and_go_double_nothing() {
    let Some(kafka) = cluster() else { return };
    let topic = topic(&kafka, "rebalance", 4).await;
    fill(&kafka, &topic, 2000).await;
    let store = Arc::new(Mutex::new(Store::default()));
    let mut config = config(&kafka, &topic);
    config.batch_records_max = 20;
    let mut first = TopicReader::open(config.clone()).unwrap();
    run(&mut first, &store, |store| store.seen.len() > 200).await;
    let second = tokio::spawn({
        let (store, config) = (Arc::clone(&store), config.clone());
        async move {
            let mut second = TopicReader::open(config).unwrap();
            run(&mut second, &store, |store| store.seen.len() >= 2100).await;
            second
        }
    });
    // Both at once, then the second alone.
    let both = timeout(Duration::from_secs(15), run(&mut first, &store, |_| false)).await;
    assert!(both.is_err());
    assert!(
        LegStats::get(&config.stats.rebalances) > 0,
        "the second never got a partition"
    );
    first.close().await;
    let mut more = writer(&kafka, &topic);
    more.write(&batch(20, 2000..2100)).await.unwrap();
    timeout(PATIENCE, second).await.unwrap().unwrap();
    let store = store.lock().unwrap();
    assert_eq!((store.seen.len(), store.doubled()), (2100, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_down_at_the_start_is_waited_for() {
    let Some(kafka) = cluster() else { return };
    let topic = topic(&kafka, "down", 1).await;
    fill(&kafka, &topic, 100).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let mut reader = TopicReader::open(config(&at(vec![address.to_string()]), &topic)).unwrap();
    let error = timeout(PATIENCE, reader.next()).await.unwrap().unwrap_err();
    assert!(
        matches!(&error, SourceError::Retry { reason, .. } if reason.contains(&address.to_string())),
        "{error:?}"
    );
    // The broker comes: a proxy, so that it does so on that port.
    let listener = TcpListener::bind(address).await.unwrap();
    let broker = kafka.brokers[0].clone();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let broker = broker.clone();
            tokio::spawn(async move {
                let mut server = TcpStream::connect(broker).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    let lanes = loop {
        match timeout(PATIENCE, reader.next()).await.unwrap() {
            Ok(SourceEvent::Assigned(lanes)) => break lanes,
            Ok(event) => panic!("{event:?}"),
            Err(SourceError::Retry { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    };
    let store = Mutex::new(Store::default());
    resume(&mut reader, &lanes, &store).await;
    run(&mut reader, &store, |store| store.seen.len() == 100).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_missing_is_waited_for() {
    let Some(kafka) = cluster() else { return };
    let topic = kafka::unique("late");
    let mut reader = TopicReader::open(config(&kafka, &topic)).unwrap();
    let error = timeout(PATIENCE, reader.next()).await.unwrap().unwrap_err();
    assert!(
        matches!(&error, SourceError::Retry { reason, .. } if reason.contains("does not exist")),
        "{error:?}"
    );
    ensure_topics(&kafka, &[spec(&topic, 2)]).await.unwrap();
    let lanes = loop {
        match timeout(PATIENCE, reader.next()).await.unwrap() {
            Ok(SourceEvent::Assigned(lanes)) => break lanes,
            Ok(event) => panic!("{event:?}"),
            Err(SourceError::Retry { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(lanes.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_without_the_right_to_read_is_named() {
    let Some(kafka) = cluster() else { return };
    let topic = topic(&kafka, "unread", 1).await;
    if !kafka::deny(&topic, "All") {
        return;
    }
    let mut reader = TopicReader::open(config(&kafka, &topic)).unwrap();
    let error = timeout(PATIENCE, reader.next()).await.unwrap().unwrap_err();
    assert!(
        matches!(&error, SourceError::Fatal(r) if r.contains(&topic) && r.contains("READ")),
        "{error:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_outside_the_topic_is_explained() {
    let Some(kafka) = cluster() else { return };
    let topic = topic(&kafka, "range", 1).await;
    fill(&kafka, &topic, 200).await;
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", kafka.brokers.join(","))
        .create()
        .unwrap();
    let mut until = TopicPartitionList::new();
    until
        .add_partition_offset(&topic, 0, Offset::Offset(50))
        .unwrap();
    admin
        .delete_records(&until, &AdminOptions::new())
        .await
        .unwrap();
    let mut reader = TopicReader::open(config(&kafka, &topic)).unwrap();
    let SourceEvent::Assigned(lanes) = timeout(PATIENCE, reader.next()).await.unwrap().unwrap()
    else {
        panic!()
    };
    let lane = lanes[0].clone();
    for (offset, reason) in [
        (5000, "recreated or truncated"),
        (10, "40 records were deleted"),
    ] {
        let from = [(lane.clone(), Position::Offset(offset))].into();
        let error = loop {
            match reader.resume(&lanes, &from).await.unwrap_err() {
                SourceError::Retry { after, .. } => tokio::time::sleep(after).await,
                error => break error,
            }
        };
        assert!(
            matches!(&error, SourceError::Fatal(r) if r.contains(reason)),
            "{error:?}"
        );
    }
    let store = Mutex::new(Store::default());
    store
        .lock()
        .unwrap()
        .positions
        .insert(lane, Position::Offset(50));
    resume(&mut reader, &lanes, &store).await;
    run(&mut reader, &store, |store| store.seen.contains_key("199")).await;
    assert_eq!(store.lock().unwrap().seen.len(), 150);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_outside_one_partition_is_explained_beside_one_that_fits() {
    let Some(kafka) = cluster() else { return };
    let topic = topic(&kafka, "range-of-two", 2).await;
    fill(&kafka, &topic, 200).await;
    let mut reader = TopicReader::open(config(&kafka, &topic)).unwrap();
    let SourceEvent::Assigned(lanes) = timeout(PATIENCE, reader.next()).await.unwrap().unwrap()
    else {
        panic!()
    };
    let offset = |lane: &Lane| Position::Offset(i64::from(lane.partition) * 5_000);
    let from = lanes.iter().map(|lane| (lane.clone(), offset(lane)));
    let from = from.collect();
    let ended = timeout(PATIENCE, async {
        loop {
            match reader.resume(&lanes, &from).await.unwrap_err() {
                SourceError::Retry { after, .. } => tokio::time::sleep(after).await,
                SourceError::Fatal(reason) => break reason,
            }
        }
    });
    let reason = ended.await.unwrap();
    assert!(reason.contains("recreated or truncated"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tail_begins_at_a_time_and_ends_now() {
    let Some(kafka) = cluster() else { return };
    let topic = topic(&kafka, "tail", 3).await;
    let mut tail = KafkaTail::new(kafka.clone(), topic.as_str());
    assert_eq!(
        tail.read(0, &mut |_| panic!("nothing is there"))
            .await
            .unwrap(),
        0
    );
    fill(&kafka, &topic, 500).await;
    let mut seen = Vec::new();
    let mut visit = |record: gristmill_record::RecordRef<'_>| seen.push(record.timestamp_ms);
    let since = 1_700_000_000_400;
    let visited = tail.read(since, &mut visit).await.unwrap();
    assert_eq!(visited, seen.len() as u64);
    let late = seen.iter().filter(|timestamp| **timestamp >= since).count();
    assert_eq!(late, 100);
    // The broker looks a time up among control markers too, and they carry the time they were
    // written at: the first transaction's is late enough, so only that transaction is skipped.
    assert_eq!(visited, 400);
    // A broker that has just come up may not know of a topic yet.
    let mut none = KafkaTail::new(kafka, kafka::unique("none"));
    let missing = none.read(0, &mut |_| panic!("nothing is there")).await;
    assert!(
        matches!(missing, Err(SourceError::Retry { .. })),
        "{missing:?}"
    );
}
