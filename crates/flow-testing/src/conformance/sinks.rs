//! The suite for sinks.

use std::collections::BTreeMap;

use gristmill_flow::{Sink, SinkError, header};
use gristmill_record::{Batch, Lane, Position, RecordRef, Records, Reject};

/// Tries of a write that ends with [`SinkError::Retry`].
const RETRIES_MAX: u32 = 20;

/// A sink, its store, and a way to look into it.
pub trait SinkHarness {
    /// The sink under test.
    type Sink: Sink;

    /// A sink on the harness's store. Called again it is the next life of the same connector.
    fn open(&mut self) -> impl Future<Output = Self::Sink>;

    /// The values whose effect is in the store, with how often each is.
    fn effect(&mut self) -> impl Future<Output = BTreeMap<String, u64>>;

    /// The records of the dead-letter topic, for sinks that take rejects.
    fn dead_letters(&mut self) -> impl Future<Output = Records> {
        std::future::ready(Records::default())
    }

    /// The sink's kind of position; `n` grows.
    fn position(&self, n: i64) -> Position {
        Position::Offset(n)
    }
}

/// Run every case, each on a harness that `make` makes for the case's name.
///
/// # Panics
/// Where the sink breaks a promise.
pub async fn sink<H: SinkHarness>(mut make: impl AsyncFnMut(&'static str) -> H) {
    write_then_positions(make("write-then-positions").await).await;
    a_batch_again_applies_once(make("a-batch-again").await).await;
    an_empty_batch_moves_the_position(make("an-empty-batch").await).await;
    positions_survive_reopening(make("reopening").await).await;
    a_misaligned_batch_is_refused(make("misaligned").await).await;
    a_zombie_is_refused(make("zombie").await).await;
    lanes_are_apart(make("lanes").await).await;
    rejects_land_once(make("rejects").await).await;
}

fn lane(partition: i32) -> Lane {
    Lane::new("conformance", partition)
}

/// A batch of `lane` from position `from` on, a record for each of `values`.
fn batch(harness: &impl SinkHarness, lane: &Lane, from: i64, values: &[&str]) -> Batch {
    let next = from + values.len() as i64;
    span(harness, lane, from, next, values)
}

fn span(harness: &impl SinkHarness, lane: &Lane, from: i64, next: i64, values: &[&str]) -> Batch {
    let (from_position, next) = (harness.position(from), harness.position(next));
    let mut batch = Batch::empty(lane.clone(), Some(from_position), next);
    for (offset, value) in (from..).zip(values) {
        let record = RecordRef::new(offset, 1_700_000_000_000, None, value.as_bytes());
        batch.records.push(record);
    }
    batch
}

async fn expect_effect(harness: &mut impl SinkHarness, case: &str, expect: &[(&str, u64)]) {
    let expect: BTreeMap<String, u64> = expect.iter().map(|(v, n)| (v.to_string(), *n)).collect();
    assert_eq!(harness.effect().await, expect, "{case}: effect");
}

async fn expect_position(sink: &mut impl Sink, case: &str, lane: &Lane, expect: Option<Position>) {
    let positions = sink.positions(std::slice::from_ref(lane)).await;
    let positions = positions.unwrap_or_else(|error| panic!("{case}: positions: {error}"));
    assert_eq!(positions.get(lane), expect.as_ref(), "{case}: position");
}

async fn write(sink: &mut impl Sink, case: &str, batch: &Batch) {
    let result = sink.write(batch).await;
    result.unwrap_or_else(|error| panic!("{case}: write: {error}"));
}

async fn refused(sink: &mut impl Sink, case: &str, batch: &Batch) {
    // As the leg does: what may pass is tried again. A sink may first have to find out who it is.
    for _ in 0..RETRIES_MAX {
        match sink.write(batch).await {
            Err(SinkError::Retry { after, .. }) => tokio::time::sleep(after).await,
            Err(SinkError::Misaligned { .. } | SinkError::Fenced(_)) => return,
            other => panic!("{case}: a batch that must be refused was not: {other:?}"),
        }
    }
    panic!("{case}: a batch that must be refused is tried for ever");
}

async fn write_then_positions<H: SinkHarness>(mut harness: H) {
    let (case, lane) = ("write then positions", lane(0));
    let mut sink = harness.open().await;
    expect_position(&mut sink, case, &lane, None).await;
    let first = batch(&harness, &lane, 0, &["a", "b", "a"]);
    write(&mut sink, case, &first).await;
    expect_position(&mut sink, case, &lane, Some(harness.position(3))).await;
    let second = batch(&harness, &lane, 3, &["a", "c"]);
    write(&mut sink, case, &second).await;
    expect_position(&mut sink, case, &lane, Some(harness.position(5))).await;
    sink.close().await;
    expect_effect(&mut harness, case, &[("a", 3), ("b", 1), ("c", 1)]).await;
}

/// Written again it may be taken for done or be refused, but has no second effect.
async fn a_batch_again_applies_once<H: SinkHarness>(mut harness: H) {
    let (case, lane) = ("a batch again", lane(0));
    let mut sink = harness.open().await;
    expect_position(&mut sink, case, &lane, None).await;
    let once = batch(&harness, &lane, 0, &["a", "b"]);
    write(&mut sink, case, &once).await;
    match sink.write(&once).await {
        Ok(()) | Err(SinkError::Misaligned { .. }) => {}
        Err(error) => panic!("{case}: {error}"),
    }
    expect_position(&mut sink, case, &lane, Some(harness.position(2))).await;
    expect_effect(&mut harness, case, &[("a", 1), ("b", 1)]).await;
    let next = batch(&harness, &lane, 2, &["c"]);
    write(&mut sink, case, &next).await;
    sink.close().await;
    expect_effect(&mut harness, case, &[("a", 1), ("b", 1), ("c", 1)]).await;
}

async fn an_empty_batch_moves_the_position<H: SinkHarness>(mut harness: H) {
    let (case, lane) = ("an empty batch", lane(0));
    let mut sink = harness.open().await;
    expect_position(&mut sink, case, &lane, None).await;
    let empty = span(&harness, &lane, 0, 7, &[]);
    write(&mut sink, case, &empty).await;
    expect_position(&mut sink, case, &lane, Some(harness.position(7))).await;
    let next = batch(&harness, &lane, 7, &["a"]);
    write(&mut sink, case, &next).await;
    sink.close().await;
    expect_effect(&mut harness, case, &[("a", 1)]).await;
}

async fn positions_survive_reopening<H: SinkHarness>(mut harness: H) {
    let (case, lane) = ("reopening", lane(0));
    let mut first = harness.open().await;
    expect_position(&mut first, case, &lane, None).await;
    let one = batch(&harness, &lane, 0, &["a"]);
    write(&mut first, case, &one).await;
    first.close().await;
    drop(first);
    let mut second = harness.open().await;
    expect_position(&mut second, case, &lane, Some(harness.position(1))).await;
    let two = batch(&harness, &lane, 1, &["b"]);
    write(&mut second, case, &two).await;
    second.close().await;
    expect_effect(&mut harness, case, &[("a", 1), ("b", 1)]).await;
}

async fn a_misaligned_batch_is_refused<H: SinkHarness>(mut harness: H) {
    let (case, lane) = ("misaligned", lane(0));
    let mut sink = harness.open().await;
    expect_position(&mut sink, case, &lane, None).await;
    let good = batch(&harness, &lane, 0, &["a", "b"]);
    write(&mut sink, case, &good).await;
    let gap = batch(&harness, &lane, 5, &["gap"]);
    refused(&mut sink, case, &gap).await;
    expect_effect(&mut harness, case, &[("a", 1), ("b", 1)]).await;
    expect_position(&mut sink, case, &lane, Some(harness.position(2))).await;
    let overlap = span(&harness, &lane, 1, 4, &["b", "over", "lap"]);
    refused(&mut sink, case, &overlap).await;
    expect_position(&mut sink, case, &lane, Some(harness.position(2))).await;
    let next = batch(&harness, &lane, 2, &["c"]);
    write(&mut sink, case, &next).await;
    sink.close().await;
    expect_effect(&mut harness, case, &[("a", 1), ("b", 1), ("c", 1)]).await;
}

/// Two lives at once on one lane: whoever comes second is refused, whatever it remembers.
async fn a_zombie_is_refused<H: SinkHarness>(mut harness: H) {
    let (case, lane) = ("zombie", lane(0));
    let mut zombie = harness.open().await;
    expect_position(&mut zombie, case, &lane, None).await;
    let zombies = batch(&harness, &lane, 0, &["a"]);
    write(&mut zombie, case, &zombies).await;
    let mut owner = harness.open().await;
    expect_position(&mut owner, case, &lane, Some(harness.position(1))).await;
    let owners = batch(&harness, &lane, 1, &["b", "c"]);
    write(&mut owner, case, &owners).await;
    let stale = batch(&harness, &lane, 1, &["b"]);
    refused(&mut zombie, case, &stale).await;
    expect_position(&mut owner, case, &lane, Some(harness.position(3))).await;
    owner.close().await;
    expect_effect(&mut harness, case, &[("a", 1), ("b", 1), ("c", 1)]).await;
}

async fn lanes_are_apart<H: SinkHarness>(mut harness: H) {
    let (case, one, two) = ("lanes", lane(0), lane(1));
    let mut sink = harness.open().await;
    let both = [one.clone(), two.clone()];
    let none = sink.positions(&both).await.expect("positions");
    assert!(none.is_empty(), "{case}: {none:?}");
    let first = batch(&harness, &one, 0, &["a"]);
    write(&mut sink, case, &first).await;
    let other = batch(&harness, &two, 100, &["a", "b"]);
    write(&mut sink, case, &other).await;
    let positions = sink.positions(&both).await.expect("positions");
    let expect = [(one, harness.position(1)), (two, harness.position(102))];
    assert_eq!(positions, expect.into(), "{case}");
    sink.close().await;
    expect_effect(&mut harness, case, &[("a", 2), ("b", 1)]).await;
}

/// For sinks that take rejects: they are there once, with their origin, also after a repetition.
async fn rejects_land_once<H: SinkHarness>(mut harness: H) {
    let (case, lane) = ("rejects", lane(0));
    let mut sink = harness.open().await;
    if !sink.takes_rejects() {
        return;
    }
    expect_position(&mut sink, case, &lane, None).await;
    let mut mixed = span(&harness, &lane, 0, 2, &["good"]);
    mixed.rejects.push(Reject {
        offset: 1,
        timestamp_ms: 1_700_000_000_000,
        key: Some(b"key".to_vec()),
        value: b"bad".to_vec(),
        stage: "suite".to_owned(),
        reason: "because".to_owned(),
    });
    write(&mut sink, case, &mixed).await;
    // As above: done or refused, but not twice.
    let _ = sink.write(&mixed).await;
    sink.close().await;
    expect_effect(&mut harness, case, &[("good", 1)]).await;
    let letters = harness.dead_letters().await;
    assert_eq!(letters.len(), 1, "{case}");
    let letter = letters.get(0).expect("a letter");
    assert_eq!((letter.key, letter.value), (Some(&b"key"[..]), &b"bad"[..]));
    for (name, value) in [
        (header::TOPIC, "conformance"),
        (header::PARTITION, "0"),
        (header::OFFSET, "1"),
        (header::STAGE, "suite"),
        (header::REASON, "because"),
    ] {
        assert_eq!(
            letter.headers.get(name),
            Some(value.as_bytes()),
            "{case}: {name}"
        );
    }
}
