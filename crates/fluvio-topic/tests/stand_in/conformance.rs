//! The suite of `flow-testing`.

use std::collections::BTreeMap;

use gristmill_flow_testing::conformance::{self, SinkHarness, SourceHarness};
use gristmill_fluvio_topic::stand_in::StandIn;
use gristmill_fluvio_topic::{FluvioReader, FluvioWriter, ReaderConfig, unpack};
use gristmill_record::{Position, RecordRef, Records};

use crate::{cluster, values, writer};

struct Written {
    cluster: StandIn,
    tokens: bool,
}

impl SinkHarness for Written {
    type Sink = FluvioWriter;

    async fn open(&mut self) -> FluvioWriter {
        writer(&self.cluster)
    }

    async fn effect(&mut self) -> BTreeMap<String, u64> {
        let mut effect = BTreeMap::new();
        for value in values(&self.cluster, "edits") {
            *effect.entry(value).or_default() += 1;
        }
        effect
    }

    async fn dead_letters(&mut self) -> Records {
        let mut letters = Records::default();
        let packed = self.cluster.records("edits-dead-letter", 0);
        packed
            .iter()
            .for_each(|record| unpack(&record, &mut letters));
        letters
    }

    fn position(&self, n: i64) -> Position {
        if self.tokens {
            Position::Token(format!("[{{\"offset\":{n}}}]").into())
        } else {
            Position::Offset(n)
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writer_suite() {
    for tokens in [false, true] {
        conformance::sink(async |_case| Written {
            cluster: cluster().await,
            tokens,
        })
        .await;
    }
}

struct Read(StandIn);

impl SourceHarness for Read {
    type Source = FluvioReader;

    async fn open(&mut self) -> FluvioReader {
        FluvioReader::new(ReaderConfig {
            records_max: 7,
            ..ReaderConfig::new(self.0.config(), "edits")
        })
    }

    async fn append(&mut self, partition: i32, values: &[String]) {
        let mut records = Records::default();
        for value in values {
            records.push(RecordRef::new(0, 1, None, value.as_bytes()));
        }
        self.0.append("edits", partition as usize, &records);
    }

    fn partitions(&self) -> i32 {
        3
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reader_suite() {
    conformance::source(async |_case| Read(cluster().await)).await;
}
