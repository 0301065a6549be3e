//! Embedded windows: exact through new lives and repeated batches, final once closed, gone when
//! they expire.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::Duration;

use gristmill_counter::{KeyTemplate, Late, Mark, WindowCounter, WindowRules};
use gristmill_flow::{LegStats, Sink, SinkError};
use gristmill_local_topic::{LocalLog, LocalWindows};
use gristmill_record::{Batch, Lane, Position, RecordRef};

const RULES: WindowRules = WindowRules {
    size_ms: 1000,
    grace_ms: 200,
};
const LANES: i32 = 2;
const KEEP: Duration = Duration::from_secs(3600);

/// A clock that stands still, far after every event.
fn now_ms() -> i64 {
    1 << 40
}

/// One that a single test moves.
static MOVED_MS: AtomicI64 = AtomicI64::new(1 << 40);

fn moved_ms() -> i64 {
    MOVED_MS.load(Relaxed)
}

type Rows = BTreeMap<(i64, String), i64>;

fn counter() -> WindowCounter {
    WindowCounter::new(KeyTemplate::parse("{value}").unwrap(), RULES, Late::Count)
}

fn open(log: &LocalLog, idle: Duration, stats: Arc<LegStats>) -> LocalWindows {
    let names = ("wikipedia", "windows");
    LocalWindows::new(log.clone(), names, counter(), (KEEP, idle), stats, now_ms)
}

fn lane(partition: i32) -> Lane {
    Lane::new("edits", partition)
}

fn lanes() -> Vec<Lane> {
    (0..LANES).map(lane).collect()
}

/// Event time rises by 7 ms a record; a third of them is up to 400 ms behind.
fn batch(partition: i32, from: i64, next: i64) -> Batch {
    let span = (Position::Offset(from), Position::Offset(next));
    let mut batch = Batch::empty(lane(partition), Some(span.0), span.1);
    for offset in from..next {
        let mixed = (offset + i64::from(partition) * 31).wrapping_mul(2_654_435_761) >> 7;
        let back = if mixed % 3 == 0 {
            mixed.rem_euclid(400)
        } else {
            0
        };
        let value = ["edit", "new", "log"][mixed.rem_euclid(3) as usize];
        let record = RecordRef::new(offset, 10_000 + offset * 7 - back, None, value.as_bytes());
        batch.records.push(record);
    }
    batch
}

fn truth(end: i64) -> (Rows, i64) {
    let (mut rows, mut late) = (Rows::new(), 0);
    for partition in 0..LANES {
        let mut counter = counter();
        counter.count(&batch(partition, 0, end), Mark::default(), i64::MAX);
        for (start, keys) in counter.windows() {
            for (key, n) in keys {
                let key = String::from_utf8(key).unwrap();
                *rows.entry((start, key)).or_insert(0) += n as i64;
            }
        }
        late += counter.late().values().sum::<u64>() as i64;
    }
    (rows, late)
}

fn stored(log: &LocalLog, closed_only: bool) -> Rows {
    let windows = log.windows("wikipedia", "windows", i64::MIN).unwrap();
    let mut rows = Rows::new();
    for window in windows.into_iter().filter(|w| w.closed || !closed_only) {
        for (key, n) in window.counts {
            rows.insert((window.start_ms, key), n);
        }
    }
    rows
}

async fn run(sink: &mut LocalWindows, end: i64, seed: u64) {
    let stored = sink.positions(&lanes()).await.unwrap();
    let of = |lane| stored.get(lane).map_or(0, |p| p.offset().unwrap());
    let mut at: Vec<i64> = lanes().iter().map(of).collect();
    let mut random = seed;
    while at.iter().any(|at| *at < end) {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let partition = (random >> 40) as usize % at.len();
        let from = at[partition];
        if from >= end {
            continue;
        }
        let next = end.min(from + 1 + (random >> 33) as i64 % 80);
        let batch = batch(partition as i32, from, next);
        sink.write(&batch).await.unwrap();
        // Once more changes nothing: the position has moved.
        let again = sink.write(&batch).await.unwrap_err();
        assert!(matches!(again, SinkError::Misaligned { .. }), "{again}");
        at[partition] = next;
    }
}

#[tokio::test]
async fn each_life_goes_on_where_the_last_one_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let log = LocalLog::open(dir.path()).unwrap();
    let mut finals = Rows::new();
    for life in 1..=8 {
        let end = life * 300;
        let mut sink = open(&log, KEEP, Arc::default());
        run(&mut sink, end, life as u64).await;
        let (rows, late) = truth(end);
        assert_eq!(stored(&log, false), rows, "life {life}");
        let counted: i64 = log.late("wikipedia", "windows").unwrap().values().sum();
        assert_eq!(counted, late);
        // What was final is what it was.
        let now = stored(&log, true);
        assert!(
            finals.iter().all(|(row, n)| now.get(row) == Some(n)),
            "life {life}"
        );
        assert!(now.len() > finals.len(), "nothing closed in life {life}");
        finals = now;
    }
    assert!(truth(2400).1 > 0, "the test needs late records");
    assert!(log.counts("wikipedia", "windows").unwrap().is_empty());
}

#[tokio::test]
async fn a_quiet_partition_holds_windows_open_only_for_a_while() {
    let dir = tempfile::tempdir().unwrap();
    let log = LocalLog::open(dir.path()).unwrap();
    let idle = Duration::from_millis(200);
    let stats = Arc::<LegStats>::default();
    let mut sink = open(&log, idle, stats.clone());
    sink.positions(&lanes()).await.unwrap();
    sink.write(&batch(0, 0, 500)).await.unwrap();
    tokio::time::sleep(idle).await;
    sink.write(&batch(0, 500, 600)).await.unwrap();
    assert!(
        stored(&log, true).is_empty(),
        "it may have records that nobody has read"
    );
    stats.set_lag(1, 0);
    sink.write(&batch(0, 600, 700)).await.unwrap();
    let finals = stored(&log, true);
    assert!(!finals.is_empty());
    sink.write(&batch(1, 0, 50)).await.unwrap();
    assert_eq!(stored(&log, true), finals);
    assert!(LegStats::get(&stats.late) >= 50);
}

#[tokio::test]
async fn closed_windows_expire() {
    let dir = tempfile::tempdir().unwrap();
    let log = LocalLog::open(dir.path()).unwrap();
    let names = ("wikipedia", "windows");
    let times = (KEEP, KEEP);
    let stats = Arc::default();
    let mut sink = LocalWindows::new(log.clone(), names, counter(), times, stats, moved_ms);
    run(&mut sink, 1000, 1).await;
    let finals = stored(&log, true);
    assert!(!finals.is_empty());
    MOVED_MS.fetch_add(KEEP.as_millis() as i64 + 1, Relaxed);
    run(&mut sink, 1500, 2).await;
    let after = stored(&log, false);
    assert!(
        finals.keys().all(|row| !after.contains_key(row)),
        "{after:?}"
    );
    let (rows, _) = truth(1500);
    assert!(after.iter().all(|(row, n)| rows.get(row) == Some(n)));
}
