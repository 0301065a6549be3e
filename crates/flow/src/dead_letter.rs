//! Rejects on their way to the dead-letter topic.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;

use gristmill_record::{Batch, Lane, Position, RecordRef, Records, Reject};

use crate::{Sink, SinkError};

/// Names of a dead letter's headers. Values are UTF-8 text.
pub mod header {
    /// The topic (or the stream's connector) that the record came from.
    pub const TOPIC: &str = "dead-letter.topic";
    /// The partition that the record came from.
    pub const PARTITION: &str = "dead-letter.partition";
    /// The offset that the record had there.
    pub const OFFSET: &str = "dead-letter.offset";
    /// The step that refused it.
    pub const STAGE: &str = "dead-letter.stage";
    /// Why.
    pub const REASON: &str = "dead-letter.reason";
}

/// The records that stand for `rejects` of `lane` in a dead-letter topic: key and value as they
/// were, the origin in headers.
pub fn dead_letter_records(lane: &Lane, rejects: &[Reject]) -> Records {
    let mut records = Records::default();
    let partition = lane.partition.to_string();
    for reject in rejects {
        let offset = reject.offset.to_string();
        records.push_with_headers(
            RecordRef::new(
                reject.offset,
                reject.timestamp_ms,
                reject.key.as_deref(),
                &reject.value,
            ),
            [
                (header::TOPIC, lane.topic.as_bytes()),
                (header::PARTITION, partition.as_bytes()),
                (header::OFFSET, offset.as_bytes()),
                (header::STAGE, reject.stage.as_bytes()),
                (header::REASON, reject.reason.as_bytes()),
            ],
        );
    }
    records
}

/// Writes rejects durably, once for each origin offset, crashes included.
pub trait DeadLetters: Send {
    /// Make the rejects of `batch` durable, unless an earlier life of this leg has.
    ///
    /// # Errors
    /// As [`Sink::write`].
    fn write(&mut self, batch: &Batch) -> impl Future<Output = Result<(), SinkError>> + Send;

    /// These lanes went to somebody else.
    fn revoked(&mut self, lanes: &[Lane]);
}

/// For legs whose sink takes rejects itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoDeadLetters;

impl DeadLetters for NoDeadLetters {
    async fn write(&mut self, batch: &Batch) -> Result<(), SinkError> {
        if batch.rejects.is_empty() {
            return Ok(());
        }
        Err(SinkError::Fatal(format!(
            "{} rejects of {} and no dead-letter topic to put them in",
            batch.rejects.len(),
            batch.lane
        )))
    }

    fn revoked(&mut self, _lanes: &[Lane]) {}
}

/// Dead letters through a topic writer of its own for each lane, opened on the lane's first
/// reject.
///
/// The writer stores which letters are written together with them, in one step, so a leg that
/// comes back after a crash between its dead letters and its sink's write skips those that are
/// there. One writer a lane, because with a writer comes the fence: a lane's new owner shuts out
/// the old one.
pub struct LaneDeadLetters<F, K> {
    open: F,
    lanes: BTreeMap<Lane, (K, Written)>,
}

/// Which letters of a lane are in the dead-letter topic.
///
/// Not just an offset: a sink may refuse a record after the batch's other rejects were written, so
/// the batch that the sink has not passed yet keeps its letters by name.
#[derive(Debug, Clone, Default, PartialEq)]
struct Written {
    /// Every letter before this offset is written.
    below: i64,
    /// Letters at or after `below` that are written; at most one batch of them.
    offsets: BTreeSet<i64>,
}

impl Written {
    fn parse(token: &str) -> Option<Self> {
        let (below, offsets) = token.split_once(';')?;
        let offsets = offsets.split(',').filter(|offset| !offset.is_empty());
        Some(Self {
            below: below.parse().ok()?,
            offsets: offsets
                .map(|offset| offset.parse().ok())
                .collect::<Option<_>>()?,
        })
    }

    fn token(&self) -> Position {
        let offsets: Vec<String> = self.offsets.iter().map(ToString::to_string).collect();
        Position::Token(format!("{};{}", self.below, offsets.join(",")).into())
    }

    fn holds(&self, offset: i64) -> bool {
        offset < self.below || self.offsets.contains(&offset)
    }

    /// The state after `letters` are written for a batch that starts at `from`. What lies before
    /// `from` has passed the sink, so no letter of it can still be missing.
    fn with(&self, from: Option<i64>, letters: impl Iterator<Item = i64>) -> Self {
        let below = self.below.max(from.unwrap_or(self.below));
        let kept = self
            .offsets
            .iter()
            .copied()
            .filter(|offset| *offset >= below);
        Self {
            below,
            offsets: kept.chain(letters).collect(),
        }
    }
}

impl<F, K, Fut> LaneDeadLetters<F, K>
where
    F: FnMut(Lane) -> Fut + Send,
    Fut: Future<Output = Result<K, SinkError>> + Send,
    K: Sink,
{
    /// `open` makes the writer of a lane's dead letters.
    pub fn new(open: F) -> Self {
        Self {
            open,
            lanes: BTreeMap::new(),
        }
    }

    /// The lane's writer, opened if need be. It is taken out, and put back only after a write that
    /// went well: the outcome of one that did not may be unknown, and only a fresh writer can tell.
    async fn take(&mut self, lane: &Lane) -> Result<(K, Written), SinkError> {
        if let Some(open) = self.lanes.remove(lane) {
            return Ok(open);
        }
        let mut sink = (self.open)(lane.clone()).await?;
        let positions = sink.positions(std::slice::from_ref(lane)).await?;
        let written = match positions.get(lane) {
            None => Written::default(),
            Some(Position::Token(token)) => Written::parse(token).ok_or_else(|| {
                SinkError::Fatal(format!(
                    "{lane}: unreadable dead-letter checkpoint `{token}`"
                ))
            })?,
            Some(Position::Offset(below)) => Written {
                below: *below,
                ..Written::default()
            },
        };
        Ok((sink, written))
    }
}

impl<F, K, Fut> DeadLetters for LaneDeadLetters<F, K>
where
    F: FnMut(Lane) -> Fut + Send,
    Fut: Future<Output = Result<K, SinkError>> + Send,
    K: Sink,
{
    async fn write(&mut self, batch: &Batch) -> Result<(), SinkError> {
        if batch.rejects.is_empty() {
            return Ok(());
        }
        let (mut sink, mut written) = self.take(&batch.lane).await?;
        let fresh: Vec<Reject> = batch
            .rejects
            .iter()
            .filter(|reject| !written.holds(reject.offset))
            .cloned()
            .collect();
        if !fresh.is_empty() {
            let from = batch.from.as_ref().and_then(Position::offset);
            let after = written.with(from, fresh.iter().map(|reject| reject.offset));
            let letters = Batch {
                lane: batch.lane.clone(),
                from: Some(written.token()),
                next: after.token(),
                records: dead_letter_records(&batch.lane, &fresh),
                rejects: Vec::new(),
            };
            sink.write(&letters).await?;
            written = after;
        }
        self.lanes.insert(batch.lane.clone(), (sink, written));
        Ok(())
    }

    fn revoked(&mut self, lanes: &[Lane]) {
        for lane in lanes {
            self.lanes.remove(lane);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_survives_its_text() {
        for offsets in [vec![], vec![7], vec![5, 9, 12]] {
            let written = Written {
                below: 5,
                offsets: offsets.into_iter().collect(),
            };
            let Position::Token(token) = written.token() else {
                panic!("a token")
            };
            assert_eq!(Written::parse(&token), Some(written));
        }
        assert_eq!(Written::parse("x;1"), None);
        assert_eq!(Written::parse("12"), None);
    }

    #[test]
    fn a_late_reject_of_the_same_batch_is_not_taken_for_written() {
        let first = Written::default().with(Some(10), [12, 20].into_iter());
        assert!(first.holds(9) && first.holds(12) && first.holds(20));
        assert!(!first.holds(15));
        let second = first.with(Some(10), [15].into_iter());
        assert!(second.holds(12) && second.holds(15) && second.holds(20));
        let next = second.with(Some(30), [31].into_iter());
        assert_eq!(
            next,
            Written {
                below: 30,
                offsets: [31].into_iter().collect()
            }
        );
        // A store that was rewound reads old offsets again: their letters are all there.
        assert_eq!(next.with(Some(3), std::iter::empty()), next);
    }
}
