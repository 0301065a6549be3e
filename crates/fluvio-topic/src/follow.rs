//! Looking into topics without a position: `tap`, `dead-letter list`, modules that look back.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use gristmill_flow::{Source, SourceError, SourceEvent};
use gristmill_record::{Positions, RecordRef};

use crate::cluster::Cluster;
use crate::tail::{reached, scan};
use crate::{FluvioConfig, FluvioReader, ReaderConfig, Start};

/// What a visitor says after each record, told its partition.
type Visit<'a> = &'a mut (dyn FnMut(i32, RecordRef<'_>) -> ControlFlow<()> + Send);

/// Visit the committed records that `topic` has now.
///
/// # Errors
/// [`SourceError::Retry`] where the cluster does not answer or has no such topic.
pub async fn read_all(
    config: &FluvioConfig,
    topic: &str,
    visit: Visit<'_>,
) -> Result<(), SourceError> {
    let mut cluster = Cluster::connect(config).await?;
    let mut flow = ControlFlow::Continue(());
    for partition in 0..cluster.partitions(topic)? {
        let there = cluster.offsets(topic, partition).await?;
        let range = (there.start, there.end);
        scan(&mut cluster, (topic, partition), range, |records| {
            for record in records.iter() {
                if flow.is_continue() {
                    flow = visit(partition as i32, record);
                }
            }
        })
        .await?;
        if flow.is_break() {
            break;
        }
    }
    Ok(())
}

/// Visit the committed records of each partition in `ends` that come before the offset named there: from
/// `start` of that offset on, or, where it gives none, from where the partition reached `since_ms`.
///
/// # Errors
/// As [`read_all`].
pub async fn read_before(
    config: &FluvioConfig,
    topic: &str,
    ends: &BTreeMap<i32, i64>,
    (start, since_ms): (impl Fn(i64) -> Option<i64>, i64),
    mut visit: impl FnMut(i32, RecordRef<'_>),
) -> Result<(), SourceError> {
    let mut cluster = Cluster::connect(config).await?;
    for (partition, end) in ends {
        let Ok(number) = u32::try_from(*partition) else {
            continue;
        };
        let there = cluster.offsets(topic, number).await?;
        let end = (*end).min(there.end);
        let from = match start(end) {
            Some(start) => start.max(there.start),
            None => reached(&mut cluster, (topic, number), (there.start, end), since_ms).await?,
        };
        scan(&mut cluster, (topic, number), (from, end), |records| {
            records.iter().for_each(|record| visit(*partition, record));
        })
        .await?;
    }
    Ok(())
}

/// Visit the records that come from now on, until the visitor has enough.
///
/// # Errors
/// As [`read_all`]; a topic that is deleted while it is read.
pub async fn read_new(
    config: &FluvioConfig,
    topic: &str,
    visit: Visit<'_>,
) -> Result<(), SourceError> {
    let mut reader = FluvioReader::new(ReaderConfig {
        start: Start::End,
        ..ReaderConfig::new(config.clone(), topic)
    });
    loop {
        match reader.next().await {
            Ok(SourceEvent::Assigned(lanes)) => reader.resume(&lanes, &Positions::new()).await?,
            Ok(SourceEvent::Batch(batch)) => {
                for record in batch.records.iter() {
                    if visit(batch.lane.partition, record).is_break() {
                        return Ok(());
                    }
                }
            }
            Ok(SourceEvent::Revoked(_)) => {}
            Ok(SourceEvent::End) => return Ok(()),
            Err(SourceError::Retry { after, reason }) => {
                tracing::warn!(reason, "waiting");
                tokio::time::sleep(after).await;
            }
            Err(error) => return Err(error),
        }
    }
}
