//! What the writer does when the cluster or another copy is in the way.

use gristmill_flow::{DeadLetters, LaneDeadLetters, Sink, SinkError};
use gristmill_fluvio_topic::stand_in::{Fault, StandIn};
use gristmill_fluvio_topic::{
    FluvioConfig, FluvioLetters, LettersConfig, TopicSpec, ensure_topics, is_missing_topic, unpack,
};
use gristmill_record::{Batch, Lane, Position, Records, Reject};

use crate::{batch, cluster, config, lane, values, writer};

async fn retry(sink: &mut impl Sink, batch: &Batch) -> String {
    match sink.write(batch).await {
        Err(SinkError::Retry { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_timestamps_and_bytes_arrive_as_they_are() {
    let cluster = cluster().await;
    let mut sink = writer(&cluster);
    sink.write(&batch(0, &["a", "b", "c", "d"])).await.unwrap();
    let mut all: Vec<(i64, Vec<u8>)> = Vec::new();
    for partition in 0..3 {
        for record in cluster.records("edits", partition).iter() {
            assert_eq!(record.key, Some(record.value));
            all.push((record.timestamp_ms, record.value.to_vec()));
        }
    }
    all.sort();
    let expect = (1_700_000_000_000..).zip(["a", "b", "c", "d"]);
    let expect: Vec<(i64, Vec<u8>)> = expect.map(|(t, v)| (t, v.into())).collect();
    assert_eq!(all, expect);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_was_suspended_writes_nothing_more() {
    let cluster = cluster().await;
    let mut first = writer(&cluster);
    first.positions(&[lane()]).await.unwrap();
    first.write(&batch(0, &["a"])).await.unwrap();
    let mut second = writer(&cluster);
    second.positions(&[lane()]).await.unwrap();
    // Also after its connections are gone, and it has to make new ones.
    cluster.cut();
    for _ in 0..5 {
        match first.write(&batch(1, &["b"])).await {
            Err(SinkError::Retry { .. }) => {}
            Err(SinkError::Fenced(reason)) => {
                assert!(
                    reason.contains("another copy of this connector took over"),
                    "{reason}"
                );
                assert_eq!(values(&cluster, "edits"), ["a"]);
                for _ in 0..5 {
                    if second.write(&batch(1, &["b"])).await.is_ok() {
                        break;
                    }
                }
                assert_eq!(values(&cluster, "edits"), ["a", "b"]);
                return;
            }
            other => panic!("{other:?}"),
        }
    }
    panic!("not fenced");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_are_behind_are_waited_for() {
    let cluster = cluster().await;
    let mut sink = writer(&cluster);
    sink.positions(&[lane()]).await.unwrap();
    cluster.hold("edits", true);
    let reason = retry(&mut sink, &batch(0, &["a"])).await;
    assert!(reason.contains("exceeded the timeout"), "{reason}");
    // It is on the leader; whether it stays is open.
    let reason = retry(&mut sink, &batch(0, &["a"])).await;
    assert!(reason.contains("replicas are 1 records behind"), "{reason}");
    cluster.hold("edits", false);
    sink.write(&batch(0, &["a"])).await.unwrap();
    assert_eq!(values(&cluster, "edits"), ["a"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_is_too_large_is_refused_and_no_other() {
    let cluster = cluster().await;
    cluster.limit_batches(10_000);
    let large = "x".repeat(20_000);
    let small = "y".repeat(3_000);
    let mut sink = writer(&cluster);
    let all = batch(0, &[&small, &large, &small, &small, &small]);
    let mut refused = Vec::new();
    for _ in 0..20 {
        match sink.write(&all).await {
            Err(SinkError::Retry { .. }) => {}
            Err(SinkError::Reject(which)) => {
                refused = which;
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    let [(1, reason)] = refused.as_slice() else {
        panic!("{refused:?}");
    };
    assert!(
        reason.contains("larger than `edits` takes: 40040 bytes"),
        "{reason}"
    );
    // As the leg does.
    let mut rest = batch(0, &[&small, &small, &small, &small]);
    rest.next = Position::Offset(5);
    rest.rejects.push(Reject {
        offset: 1,
        timestamp_ms: 0,
        key: None,
        value: large.clone().into_bytes(),
        stage: "s".to_owned(),
        reason: reason.clone(),
    });
    cluster.limit_batches(30_000);
    for _ in 0..20 {
        match sink.write(&rest).await {
            Ok(()) => break,
            Err(SinkError::Retry { .. }) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(values(&cluster, "edits").len(), 4);
    let mut letters = Records::default();
    for letter in cluster.records("edits-dead-letter", 0).iter() {
        unpack(&letter, &mut letters);
    }
    assert_eq!(
        letters.get(0).map(|letter| letter.value.len()),
        Some(20_000)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_that_are_added_are_written_and_looked_at() {
    let cluster = cluster().await;
    let keys: Vec<String> = (0..40).map(|key| key.to_string()).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let mut first = writer(&cluster);
    first.write(&batch(0, &keys[..20])).await.unwrap();
    drop(first);
    cluster.create("edits", 6);
    let mut second = writer(&cluster);
    second.positions(&[lane()]).await.unwrap();
    cluster.fail_next("edits", Fault::Refused);
    retry(&mut second, &batch(20, &keys[20..])).await;
    second.write(&batch(20, &keys[20..])).await.unwrap();
    let mut expect: Vec<&str> = keys.clone();
    expect.sort_unstable();
    assert_eq!(values(&cluster, "edits"), expect);
    assert!((3..6).any(|partition| !cluster.records("edits", partition).is_empty()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_is_down_is_waited_for() {
    let down = StandIn::start().await.unwrap();
    let fluvio = down.config();
    drop(down);
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    let mut sink =
        gristmill_fluvio_topic::FluvioWriter::new(gristmill_fluvio_topic::WriterConfig {
            fluvio: fluvio.clone(),
            ..config(&cluster().await)
        });
    let reason = retry(&mut sink, &batch(0, &["a"])).await;
    let expect = format!("Fluvio at {} does not answer: ", fluvio.endpoint);
    assert!(reason.starts_with(&expect), "{reason}");
    let up = StandIn::start_at(&fluvio.endpoint).await.unwrap();
    let reason = retry(&mut sink, &batch(0, &["a"])).await;
    assert!(
        reason.contains("topic `edits` does not exist at"),
        "{reason}"
    );
    up.create("edits", 1);
    up.create("edits-dead-letter", 1);
    sink.write(&batch(0, &["a"])).await.unwrap();
    assert_eq!(values(&up, "edits"), ["a"]);
}

fn spec(name: &str, partitions: u32, replicas: u32) -> TopicSpec {
    TopicSpec {
        name: name.to_owned(),
        partitions,
        replicas,
        config: Default::default(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_are_made_and_what_does_not_fit_is_said() {
    let cluster = cluster().await;
    let ensure = async |spec: TopicSpec| -> Result<Vec<String>, String> {
        let config: FluvioConfig = cluster.config();
        let made = ensure_topics(&config, &[spec]).await;
        assert!(
            made.as_ref()
                .err()
                .is_none_or(|error| !is_missing_topic(error))
        );
        made.map_err(|error| error.to_string())
    };
    assert_eq!(ensure(spec("new", 2, 1)).await, Ok(vec![]));
    assert_eq!(cluster.topics()["new"], 2);
    assert_eq!(ensure(spec("new", 2, 1)).await, Ok(vec![]));
    let differences = ensure(spec("new", 1, 1)).await.unwrap();
    assert_eq!(differences, ["topic `new` has 2 partitions, 1 asked for"]);
    for (spec, part) in [
        (
            spec("new", 3, 1),
            "fluvio topic add-partition new --count 1",
        ),
        (spec("many", 1, 3), "with 1 partitions of 3 replicas"),
        (spec("edits.x", 1, 1), "only a-z, 0-9 and `-`"),
    ] {
        let error = ensure(spec).await.unwrap_err();
        assert!(error.contains(part), "{error}");
    }
}

fn refused(offsets: &[i64]) -> Batch {
    let lane = Lane::new("edits", 1);
    let mut batch = Batch::empty(lane, Some(Position::Offset(0)), Position::Offset(9));
    batch.rejects.extend(offsets.iter().map(|offset| Reject {
        offset: *offset,
        timestamp_ms: 5,
        key: None,
        value: format!("letter {offset}").into_bytes(),
        stage: "redis".to_owned(),
        reason: "no".to_owned(),
    }));
    batch
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sinks_letters_are_written_once_over_crashes() {
    let cluster = cluster().await;
    let letters = |id: &str| {
        let config = LettersConfig {
            fluvio: cluster.config(),
            topic: "edits-dead-letter".to_owned(),
            id: id.to_owned(),
        };
        LaneDeadLetters::new(move |_lane| {
            std::future::ready(Ok(FluvioLetters::new(config.clone())))
        })
    };
    let mut first = letters("p.counts");
    first.write(&refused(&[1])).await.unwrap();
    cluster.fail_next("edits-dead-letter", Fault::AppendedUnanswered);
    let error = first.write(&refused(&[1, 3, 4])).await.unwrap_err();
    assert!(matches!(error, SinkError::Retry { .. }), "{error}");
    first.write(&refused(&[1, 3, 4])).await.unwrap();
    // The next life, which gets more of them.
    letters("p.counts")
        .write(&refused(&[3, 4, 7]))
        .await
        .unwrap();
    // Another sink of the same topic.
    letters("p.others").write(&refused(&[3])).await.unwrap();
    let mut unpacked = Records::default();
    for letter in cluster.records("edits-dead-letter", 0).iter() {
        unpack(&letter, &mut unpacked);
    }
    let values: Vec<String> = unpacked
        .iter()
        .map(|letter| String::from_utf8(letter.value.to_vec()).unwrap())
        .collect();
    assert_eq!(
        values,
        ["letter 1", "letter 3", "letter 4", "letter 7", "letter 3"]
    );
}
