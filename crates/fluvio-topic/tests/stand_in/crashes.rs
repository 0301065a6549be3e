//! A writer that dies at every point, again and again, while the cluster loses its words: each record and
//! each letter is there once.

use gristmill_flow::{Sink, SinkError};
use gristmill_fluvio_topic::stand_in::{Fault, StandIn};
use gristmill_fluvio_topic::{FluvioWriter, checkpoint_topic, unpack};
use gristmill_record::{Batch, Position, RecordRef, Records, Reject};

use crate::{cluster, lane, values, writer};

/// Events of the stream.
const EVENTS: i64 = 400;

/// The stream's event `n`: some have no key, some say what others said, each tenth is refused.
fn put(batch: &mut Batch, n: i64) {
    let value = format!("{}", n % 97);
    let key = (n / 97).to_string();
    let key = (n % 3 > 0).then_some(key.as_bytes());
    if n % 10 == 9 {
        batch.rejects.push(Reject {
            // As a stream's rejects are counted: by their place in the batch.
            offset: batch.records.len() as i64,
            timestamp_ms: n,
            key: key.map(<[u8]>::to_vec),
            value: n.to_string().into_bytes(),
            stage: "extract".to_owned(),
            reason: "no".to_owned(),
        });
    } else {
        batch
            .records
            .push(RecordRef::new(n, n + 1, key, value.as_bytes()));
    }
}

fn stream(from: i64, next: i64) -> Batch {
    let mut batch = Batch::empty(lane(), Some(Position::Offset(from)), Position::Offset(next));
    (from..next).for_each(|n| put(&mut batch, n));
    batch
}

/// Key and value of every record, sorted.
fn content(topics: impl Iterator<Item = Records>) -> Vec<(Option<Vec<u8>>, Vec<u8>)> {
    let mut all = Vec::new();
    for records in topics {
        all.extend(
            records
                .iter()
                .map(|r| (r.key.map(<[u8]>::to_vec), r.value.to_vec())),
        );
    }
    all.sort();
    all
}

fn fail_somewhere(cluster: &StandIn, random: &mut fastrand::Rng) {
    let checkpoints = checkpoint_topic("wikipedia.recentchange");
    let topics = ["edits", "edits-dead-letter", &checkpoints];
    let faults = [Fault::AppendedUnanswered, Fault::Lost, Fault::Refused];
    let topic = random.choice(topics).unwrap();
    cluster.fail_next(topic, random.choice(faults).unwrap());
}

/// One life: from where the sink says on, in batches of whatever size. Errors that pass are tried again, as
/// the leg does, or it dies of them, or for no reason. True when all is written.
async fn live(sink: &mut FluvioWriter, cluster: &StandIn, random: &mut fastrand::Rng) -> bool {
    let mut at = loop {
        match sink.positions(&[lane()]).await {
            Ok(positions) => {
                break positions
                    .get(&lane())
                    .and_then(Position::offset)
                    .unwrap_or(0);
            }
            Err(error) => passes(&error),
        }
        if random.u8(0..3) == 0 {
            return false;
        }
    };
    while at < EVENTS {
        let next = (at + random.i64(1..60)).min(EVENTS);
        let batch = stream(at, next);
        if random.u8(0..2) == 0 {
            fail_somewhere(cluster, random);
        }
        while let Err(error) = sink.write(&batch).await {
            passes(&error);
            if random.u8(0..2) == 0 {
                return false;
            }
            if random.u8(0..4) == 0 {
                fail_somewhere(cluster, random);
            }
        }
        at = next;
        if random.u8(0..16) == 0 {
            return false;
        }
    }
    true
}

fn passes(error: &SinkError) {
    assert!(matches!(error, SinkError::Retry { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_record_and_letter_is_there_once() {
    let seeds = std::env::var("GRISTMILL_SEEDS").map_or(25, |seeds| seeds.parse().unwrap());
    for seed in 0..seeds {
        let mut random = fastrand::Rng::with_seed(seed);
        let cluster = cluster().await;
        let mut lives = 0;
        loop {
            lives += 1;
            let mut sink = writer(&cluster);
            if live(&mut sink, &cluster, &mut random).await {
                break;
            }
        }
        let expect = stream(0, EVENTS);
        let written = (0..3).map(|partition| cluster.records("edits", partition));
        assert_eq!(
            content(written),
            content(std::iter::once(expect.records.clone())),
            "seed {seed}, {lives} lives"
        );
        let mut letters = Records::default();
        let packed = cluster.records("edits-dead-letter", 0);
        packed
            .iter()
            .for_each(|record| unpack(&record, &mut letters));
        let mut rejects = Records::default();
        for reject in &expect.rejects {
            rejects.push(RecordRef::new(0, 0, reject.key.as_deref(), &reject.value));
        }
        assert_eq!(
            content(std::iter::once(letters)),
            content(std::iter::once(rejects)),
            "seed {seed}, {lives} lives: letters"
        );
    }
}

/// What the test above would not show: that the faults do what they say.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_that_does_not_look_would_double() {
    let cluster = cluster().await;
    let mut first = writer(&cluster);
    first.positions(&[lane()]).await.unwrap();
    cluster.fail_next("edits", Fault::AppendedUnanswered);
    let error = first.write(&crate::batch(0, &["a"])).await.unwrap_err();
    assert!(matches!(error, SinkError::Retry { .. }), "{error}");
    assert_eq!(values(&cluster, "edits"), ["a"]);
    drop(first);
    // The checkpoint is gone, and with it the ends to look behind.
    cluster.delete(&checkpoint_topic("wikipedia.recentchange"));
    let mut second = writer(&cluster);
    second.positions(&[lane()]).await.unwrap();
    second.write(&crate::batch(0, &["a"])).await.unwrap();
    assert_eq!(values(&cluster, "edits"), ["a", "a"]);
}
