//! `kill -9` in mid-write, again and again: effect and position are always equal.
//!
//! The test runs its own binary as the child: a writer and a count leg on one directory, at full
//! speed until it is killed. After each kill the parent opens the directory and checks that
//! every record below the writer's position is in the topic once and none above, that every
//! reject is in the dead-letter topic once, and that the counts are those of the records below
//! their offsets.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use gristmill_counter::KeyTemplate;
use gristmill_flow::{CancellationToken, Identity, Leg, NoDeadLetters, Sink, header};
use gristmill_local_topic::{
    LocalCounts, LocalError, LocalLog, LocalReader, LocalWriter, ReaderConfig, WriterConfig,
};
use gristmill_record::{Batch, Lane, Position, RecordRef, Records, Reject};

const DIR: &str = "GRISTMILL_CRASH_TEST_DIR";
const KILLS: u64 = 25;
const EVERYTHING: usize = 1 << 30;

fn lane() -> Lane {
    Lane::new("stream", 0)
}

fn writer(log: &LocalLog) -> LocalWriter {
    let config = WriterConfig {
        topic: "edits".to_owned(),
        dead_letter_topic: Some("edits.dead-letter".to_owned()),
        connector: "stream".to_owned(),
    };
    LocalWriter::new(log.clone(), config).unwrap()
}

fn counter(log: &LocalLog) -> LocalCounts {
    let template = KeyTemplate::parse("{value}").unwrap();
    LocalCounts::new(log.clone(), "crash", "counts", template)
}

async fn written(log: &LocalLog) -> i64 {
    let positions = writer(log).positions(&[lane()]).await.unwrap();
    let Some(Position::Token(token)) = positions.get(&lane()) else {
        return 0;
    };
    token.parse().unwrap()
}

/// Event `n`: its number as key, its type as value; every 10th is refused by a transform.
fn value(n: i64) -> String {
    format!("type-{}", n * 7 % 11 % 6)
}

fn batch(from: i64, size: i64) -> Batch {
    let token = |n: i64| Position::Token(n.to_string().into());
    let mut batch = Batch::empty(lane(), Some(token(from)), token(from + size));
    for n in from..from + size {
        if n % 10 == 9 {
            batch.rejects.push(Reject {
                offset: n,
                timestamp_ms: n,
                key: None,
                value: value(n).into_bytes(),
                stage: "test".to_owned(),
                reason: "every tenth".to_owned(),
            });
        } else {
            let (key, value) = (n.to_string(), value(n));
            let record = RecordRef::new(n, n, Some(key.as_bytes()), value.as_bytes());
            batch.records.push(record);
        }
    }
    batch
}

/// Not a test of its own: what the parent runs and kills.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Ok(dir) = std::env::var(DIR) else {
        return;
    };
    let log = LocalLog::open(dir).unwrap();
    log.ensure_topic("edits", 3).unwrap();
    let mut leg = Leg {
        name: "counts".to_owned(),
        source: LocalReader::new(log.clone(), ReaderConfig::new("edits")).unwrap(),
        transform: Identity,
        sink: counter(&log),
        dead_letters: NoDeadLetters,
        stats: Default::default(),
    };
    tokio::spawn(async move { leg.run(&CancellationToken::new()).await });
    let mut writer = writer(&log);
    let mut at = written(&log).await;
    for size in (1..40).cycle() {
        writer.write(&batch(at, size)).await.unwrap();
        at += size;
    }
}

fn all(log: &LocalLog, topic: &str) -> BTreeMap<i32, Records> {
    let topics = log.topics().unwrap();
    let topic = topics.iter().find(|info| info.name == topic).unwrap();
    (0..topic.ends.len() as i32)
        .map(|partition| {
            let slice = log
                .read(&topic.name, partition, 0, EVERYTHING, EVERYTHING)
                .unwrap();
            assert_eq!(slice.next, topic.ends[partition as usize]);
            (partition, slice.records)
        })
        .collect()
}

async fn check(log: &LocalLog) -> i64 {
    let position = written(log).await;
    let topic = all(log, "edits");
    let mut seen = BTreeSet::new();
    for records in topic.values() {
        let mut last = -1;
        for record in records.iter() {
            let n: i64 = std::str::from_utf8(record.key.unwrap())
                .unwrap()
                .parse()
                .unwrap();
            assert_eq!(record.value, value(n).as_bytes());
            assert!(n > last, "{n} after {last}: out of order");
            assert!(seen.insert(n), "{n} is there twice");
            last = n;
        }
    }
    let letters = all(log, "edits.dead-letter").remove(&0).unwrap();
    for letter in letters.iter() {
        let n = letter.headers.get(header::OFFSET).unwrap();
        let n: i64 = std::str::from_utf8(n).unwrap().parse().unwrap();
        assert!(seen.insert(n), "the dead letter of {n} is there twice");
    }
    assert_eq!(seen, (0..position).collect(), "effect and position differ");

    let lanes: Vec<Lane> = topic.keys().map(|p| Lane::new("edits", *p)).collect();
    let offsets = counter(log).positions(&lanes).await.unwrap();
    let mut expect = BTreeMap::new();
    for (lane, offset) in &offsets {
        let counted = offset.offset().unwrap() as usize;
        for record in topic[&lane.partition].iter().take(counted) {
            let key = String::from_utf8(record.value.to_vec()).unwrap();
            *expect.entry(key).or_insert(0) += 1;
        }
    }
    assert_eq!(
        log.counts("crash", "counts").unwrap(),
        expect,
        "{offsets:?}"
    );
    position
}

/// Once the child has the directory, a second process is turned away with its number.
async fn check_in_use(dir: &Path, pid: u32) {
    let deadline = Instant::now() + Duration::from_secs(30);
    // Looked at, not opened: that would lock the child out.
    let lock = dir.join("gristmill.lock");
    while std::fs::read_to_string(&lock).is_ok_and(|holder| holder != pid.to_string()) {
        assert!(Instant::now() < deadline, "the child does not start");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let error = LocalLog::open(dir).unwrap_err();
    assert!(matches!(error, LocalError::InUse { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains(&dir.display().to_string()), "{text}");
    assert!(text.contains(&format!("process {pid}:")), "{text}");
}

/// One test at a time starts processes: one that is just being started has, until it executes, a copy
/// of whatever lock the other test holds.
static STARTING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Run this binary as the [`child`] on `dir`.
fn spawn(dir: &Path) -> std::process::Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child"])
        .env(DIR, dir)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn a_kill_while_the_directory_is_made_leaves_one_that_opens() {
    let _alone = STARTING.blocking_lock();
    let temp = tempfile::tempdir().unwrap();
    let mut half_made = 0;
    for kill in 0..KILLS * 2 {
        let dir = temp.path().join(kill.to_string());
        let mut child = spawn(&dir);
        // From the moment at which the directory is there: how long a start takes is the machine's.
        while !dir.join("gristmill.lock").exists() {
            std::hint::spin_loop();
        }
        let there = Instant::now();
        while there.elapsed() < Duration::from_micros(kill * 200) {
            std::hint::spin_loop();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        half_made += u32::from(!dir.join("counts.redb").exists());
        let log = LocalLog::open(&dir).unwrap();
        log.ensure_topic("edits", 3).unwrap();
        drop(log);
        let mut names: Vec<_> = std::fs::read_dir(&dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["counts.redb", "gristmill.lock", "topics.redb"]);
    }
    assert!(half_made > 0, "no kill came while a database was made");
}

#[test]
fn a_file_that_is_no_database_is_told_apart_from_a_full_disk() {
    let temp = tempfile::tempdir().unwrap();
    std::fs::write(temp.path().join("counts.redb"), "no database at all").unwrap();
    let error = LocalLog::open(temp.path()).unwrap_err();
    assert!(matches!(error, LocalError::Corrupt { .. }), "{error}");
    let text = error.to_string();
    assert!(
        text.contains("restore the directory or delete it"),
        "{text}"
    );
}

#[tokio::test]
async fn a_killed_process_leaves_effect_and_position_equal() {
    let _alone = STARTING.lock().await;
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("data");
    let log = LocalLog::open(&dir).unwrap();
    log.ensure_topic("edits", 3).unwrap();
    writer(&log);
    drop(log);
    let mut reached = 0;
    for kill in 0..KILLS {
        let mut child = spawn(&dir);
        if kill == 0 {
            check_in_use(&dir, child.id()).await;
        }
        tokio::time::sleep(Duration::from_millis(30 + kill * 37 % 150)).await;
        child.kill().unwrap();
        let status = child.wait().unwrap();
        assert!(
            status.code().is_none(),
            "the child ended by itself: {status}"
        );
        let log = LocalLog::open(&dir).unwrap();
        let position = check(&log).await;
        assert!(
            position >= reached,
            "went back from {reached} to {position}"
        );
        reached = position;
    }
    assert!(reached > 0, "no child ever wrote");

    // In peace, the counts catch up with the topic.
    let log = LocalLog::open(&dir).unwrap();
    let source = LocalReader::new(log.clone(), ReaderConfig::new("edits")).unwrap();
    let stats = std::sync::Arc::new(gristmill_flow::LegStats::default());
    let mut leg = Leg {
        name: "counts".to_owned(),
        source,
        transform: Identity,
        sink: counter(&log),
        dead_letters: NoDeadLetters,
        stats,
    };
    let stop = CancellationToken::new();
    let ends: i64 = all(&log, "edits")
        .values()
        .map(|records| records.len() as i64)
        .sum();
    let _ = tokio::time::timeout(Duration::from_secs(60), async {
        tokio::join!(leg.run(&stop), async {
            while log.counts("crash", "counts").unwrap().values().sum::<i64>() < ends {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            stop.cancel();
        })
    })
    .await
    .expect("the counts catch up");
    check(&log).await;
    assert_eq!(
        log.counts("crash", "counts").unwrap().values().sum::<i64>(),
        ends
    );
}
