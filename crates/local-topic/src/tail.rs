//! Looking back into an embedded topic.

use gristmill_flow::{SourceError, TopicTail};
use gristmill_record::RecordRef;
use redb::ReadTransaction;

use crate::LocalLog;
use crate::chunk::ChunkRef;
use crate::log::{CHUNKS, Topic, end};
use crate::reader::blocking;

/// Read at once, in records and bytes.
const SLICE: (usize, usize) = (4096, 1 << 20);

/// The tail of one topic.
#[derive(Debug, Clone)]
pub struct LocalTail {
    log: LocalLog,
    topic: String,
}

impl LocalTail {
    /// The tail of `topic`, which need not exist yet.
    pub fn new(log: LocalLog, topic: impl Into<String>) -> Self {
        Self {
            log,
            topic: topic.into(),
        }
    }
}

impl TopicTail for LocalTail {
    async fn read(
        &mut self,
        since_ms: i64,
        visit: &mut (dyn FnMut(RecordRef<'_>) + Send),
    ) -> Result<u64, SourceError> {
        let (log, name) = (self.log.clone(), self.topic.clone());
        let ranges = blocking(move || {
            let Some(topic) = log.topic(&name)? else {
                return Ok(Vec::new());
            };
            let ranges = log.read_with(|txn| {
                (0..topic.partitions)
                    .map(|partition| range(txn, topic, partition, since_ms))
                    .collect::<Result<Vec<_>, _>>()
            })?;
            Ok(ranges)
        });
        let mut visited = 0;
        for (partition, (mut at, end)) in (0..).zip(ranges.await?) {
            while at < end {
                let (log, name) = (self.log.clone(), self.topic.clone());
                let slice =
                    blocking(move || log.read(&name, partition, at, SLICE.0, SLICE.1)).await?;
                for record in slice.records.iter().filter(|record| record.offset < end) {
                    visit(record);
                    visited += 1;
                }
                if slice.records.is_empty() {
                    break;
                }
                at = slice.next;
            }
        }
        Ok(visited)
    }
}

/// From where the partition reached `since_ms`, to its end. Goes backwards from the end: the tail
/// that is asked for is short, the topic may not be.
fn range(
    txn: &ReadTransaction,
    topic: Topic,
    partition: u32,
    since_ms: i64,
) -> Result<(i64, i64), redb::Error> {
    let end = end(txn, topic.id, partition)?;
    let chunks = txn.open_table(CHUNKS)?;
    let mut first = end;
    for row in chunks
        .range((topic.id, partition, 0)..=(topic.id, partition, i64::MAX))?
        .rev()
    {
        let (key, value) = row?;
        let base = key.value().2;
        // A damaged chunk is reported by the read that follows.
        if ChunkRef::parse(base, value.value()).is_some_and(|chunk| chunk.high_ms() < since_ms) {
            break;
        }
        first = base;
    }
    Ok((first, end))
}
