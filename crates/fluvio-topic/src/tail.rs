//! What the topic already holds.

use gristmill_flow::{SourceError, TopicTail};
use gristmill_record::{RecordRef, Records};

use crate::FluvioConfig;
use crate::cluster::{Cluster, Sight};

/// Records that are looked at, at first, to find where a partition reached a point in time: Fluvio has no
/// index by time. A partition whose timestamps run backward by more records than that is read from too late.
const STEP: i64 = 4096;

/// Looks back into a topic: every committed record from a point in time on, to the end as of now.
#[derive(Debug, Clone)]
pub struct FluvioTail {
    fluvio: FluvioConfig,
    topic: String,
}

impl FluvioTail {
    /// The tail of `topic`; connects when it is read.
    pub fn new(fluvio: FluvioConfig, topic: impl Into<String>) -> Self {
        Self {
            fluvio,
            topic: topic.into(),
        }
    }
}

impl TopicTail for FluvioTail {
    async fn read(
        &mut self,
        since_ms: i64,
        visit: &mut (dyn FnMut(RecordRef<'_>) + Send),
    ) -> Result<u64, SourceError> {
        // A topic that is missing is an error, as on Kafka: a cluster that has just come up may not know of
        // it yet, and what it holds would be taken for new.
        let mut cluster = Cluster::connect(&self.fluvio).await?;
        let mut visited = 0;
        for partition in 0..cluster.partitions(&self.topic)? {
            let at = (self.topic.as_str(), partition);
            let there = cluster.offsets(&self.topic, partition).await?;
            let from = reached(&mut cluster, at, (there.start, there.end), since_ms).await?;
            scan(&mut cluster, at, (from, there.end), |records| {
                records.iter().for_each(&mut *visit);
                visited += records.len() as u64;
            })
            .await?;
        }
        Ok(visited)
    }
}

/// Where a partition reached `since_ms`, between `start` and `end`. Goes backwards: the tail that is asked
/// for is short, the topic may not be.
pub(crate) async fn reached(
    cluster: &mut Cluster,
    partition: (&str, u32),
    (start, end): (i64, i64),
    since_ms: i64,
) -> Result<i64, SourceError> {
    let (mut from, mut step) = (end, STEP);
    while from > start {
        let before = (from - step).max(start);
        let mut reached = false;
        scan(cluster, partition, (before, from), |records| {
            reached |= records.iter().any(|r| r.timestamp_ms >= since_ms);
        })
        .await?;
        if !reached {
            break;
        }
        (from, step) = (before, step * 2);
    }
    Ok(from)
}

/// Visit the committed records of a partition with offsets from `from` to before `end`.
pub(crate) async fn scan(
    cluster: &mut Cluster,
    partition: (&str, u32),
    (mut from, end): (i64, i64),
    mut visit: impl FnMut(&Records),
) -> Result<(), SourceError> {
    while from < end {
        let slice = cluster.fetch(partition, from, Sight::Committed).await?;
        if slice.next >= end {
            let mut kept = Records::default();
            let before = slice.records.iter().filter(|record| record.offset < end);
            before.for_each(|record| kept.push(record));
            visit(&kept);
        } else {
            visit(&slice.records);
        }
        if slice.next == from {
            break;
        }
        from = slice.next;
    }
    Ok(())
}
