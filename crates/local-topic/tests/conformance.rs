//! The suite of `flow-testing` on embedded topics and counts.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use gristmill_counter::KeyTemplate;
use gristmill_flow::Sink;
use gristmill_flow_testing::conformance::{self, SinkHarness, SourceHarness};
use gristmill_local_topic::{
    LocalCounts, LocalLog, LocalReader, LocalWriter, ReaderConfig, WriterConfig,
};
use gristmill_record::{Batch, Lane, Position, RecordRef, Records};
use tempfile::TempDir;

const EVERYTHING: usize = 1 << 30;

struct Topic {
    log: LocalLog,
    tokens: bool,
    _dir: TempDir,
}

fn open_log() -> (LocalLog, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let log = LocalLog::open(dir.path().join("data")).unwrap();
    log.ensure_topic("edits", 3).unwrap();
    (log, dir)
}

fn config(topic: &str, connector: &str) -> WriterConfig {
    WriterConfig {
        topic: topic.to_owned(),
        dead_letter_topic: Some(format!("{topic}.dead-letter")),
        connector: connector.to_owned(),
    }
}

impl SinkHarness for Topic {
    type Sink = LocalWriter;

    async fn open(&mut self) -> LocalWriter {
        LocalWriter::new(self.log.clone(), config("edits", "source")).unwrap()
    }

    async fn effect(&mut self) -> BTreeMap<String, u64> {
        let mut effect = BTreeMap::new();
        for partition in 0..3 {
            let slice = self
                .log
                .read("edits", partition, 0, EVERYTHING, EVERYTHING)
                .unwrap();
            for record in slice.records.iter() {
                *effect
                    .entry(String::from_utf8(record.value.to_vec()).unwrap())
                    .or_default() += 1;
            }
        }
        effect
    }

    async fn dead_letters(&mut self) -> Records {
        let topic = "edits.dead-letter";
        self.log
            .read(topic, 0, 0, EVERYTHING, EVERYTHING)
            .unwrap()
            .records
    }

    fn position(&self, n: i64) -> Position {
        if self.tokens {
            Position::Token(format!("[{{\"offset\":{n}}}]").into())
        } else {
            Position::Offset(n)
        }
    }
}

#[tokio::test]
async fn writer() {
    for tokens in [false, true] {
        conformance::sink(async |_case| {
            let (log, dir) = open_log();
            Topic {
                log,
                tokens,
                _dir: dir,
            }
        })
        .await;
    }
}

struct Counts {
    log: LocalLog,
    _dir: TempDir,
}

impl SinkHarness for Counts {
    type Sink = LocalCounts;

    async fn open(&mut self) -> LocalCounts {
        let template = KeyTemplate::parse("{value}").unwrap();
        LocalCounts::new(self.log.clone(), "wikipedia", "type-counts", template)
    }

    async fn effect(&mut self) -> BTreeMap<String, u64> {
        let counts = self.log.counts("wikipedia", "type-counts").unwrap();
        counts
            .into_iter()
            .map(|(key, count)| (key, count as u64))
            .collect()
    }
}

#[tokio::test]
async fn counts() {
    conformance::sink(async |_case| {
        let (log, dir) = open_log();
        Counts { log, _dir: dir }
    })
    .await;
}

struct Read {
    log: LocalLog,
    appended: i64,
    _dir: TempDir,
}

impl SourceHarness for Read {
    type Source = LocalReader;

    async fn open(&mut self) -> LocalReader {
        let config = ReaderConfig {
            records_max: 7,
            ..ReaderConfig::new("edits")
        };
        LocalReader::new(self.log.clone(), config).unwrap()
    }

    async fn append(&mut self, partition: i32, values: &[String]) {
        let mut writer = LocalWriter::new(self.log.clone(), config("edits", "test")).unwrap();
        let next = Position::Offset(self.appended + 1);
        let from = Some(Position::Offset(self.appended));
        let mut batch = Batch::empty(Lane::new("test", 0), from, next);
        // The first key that belongs to the partition, as Kafka's Java client has it.
        let key = ["f", "a", "b"][partition as usize];
        for value in values {
            batch
                .records
                .push(RecordRef::new(0, 1, Some(key.as_bytes()), value.as_bytes()));
        }
        writer.write(&batch).await.unwrap();
        self.appended += 1;
    }

    fn partitions(&self) -> i32 {
        3
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reader() {
    conformance::source(async |_case| {
        let (log, dir) = open_log();
        Read {
            log,
            appended: 0,
            _dir: dir,
        }
    })
    .await;
}
