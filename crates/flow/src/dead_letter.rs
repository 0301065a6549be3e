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

    /// Offsets of `topic` are of the topic of this id from now on: letters of one that had its
    /// name before say nothing of this one's.
    fn hold_to(&mut self, topic: &str, id: &str) {
        let _ = (topic, id);
    }

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
    lanes: BTreeMap<Lane, Open<K>>,
    /// Topic → id.
    topic_ids: BTreeMap<String, String>,
}

/// A lane's writer and what is stored with it.
struct Open<K> {
    sink: K,
    written: Written,
    /// As the sink has it.
    position: Option<Position>,
}

/// Which letters of a lane are in the dead-letter topic.
///
/// Not just an offset. A sink may refuse a record after the batch's other rejects were written; and
/// a store that was restored or emptied gets records again that it took before and may refuse now
/// (somebody changed the key's type, or the transform). Neither may be taken for written.
#[derive(Debug, Clone, Default, PartialEq)]
struct Written {
    /// Nothing is known of single letters before this offset: all of them count as written, as they
    /// were if nothing but a crash came between.
    below: i64,
    /// Letters at or after `below` that are written: the newest [`NAMED_MAX`], or one batch of
    /// them if that is more.
    offsets: BTreeSet<i64>,
    /// Of which topic, where topics have ids.
    topic_id: Option<String>,
}

/// Letters of a lane that are known by name: a checkpoint of some 8 kB at most. Rejects are the
/// exception, so these reach far back.
const NAMED_MAX: usize = 1_000;

impl Written {
    fn parse(token: &str) -> Option<Self> {
        let (below, offsets) = token.split_once(';')?;
        let (offsets, topic_id) = match offsets.split_once(';') {
            Some((offsets, id)) => (offsets, Some(id.to_owned())),
            None => (offsets, None),
        };
        let offsets = offsets.split(',').filter(|offset| !offset.is_empty());
        Some(Self {
            below: below.parse().ok()?,
            offsets: offsets
                .map(|offset| offset.parse().ok())
                .collect::<Option<_>>()?,
            topic_id,
        })
    }

    /// As of the topic that has this id: what is known of another one's letters means nothing.
    fn of_topic(self, id: Option<&String>) -> Self {
        let other = |stored: &String| id.is_some_and(|id| id != stored);
        let known = if self.topic_id.as_ref().is_some_and(other) {
            Self::default()
        } else {
            self
        };
        Self {
            topic_id: id.cloned().or(known.topic_id),
            ..known
        }
    }

    fn token(&self) -> Position {
        let offsets: Vec<String> = self.offsets.iter().map(ToString::to_string).collect();
        let mut token = format!("{};{}", self.below, offsets.join(","));
        if let Some(id) = &self.topic_id {
            token = token + ";" + id;
        }
        Position::Token(token.into())
    }

    fn holds(&self, offset: i64) -> bool {
        offset < self.below || self.offsets.contains(&offset)
    }

    /// The state after `letters` are written for a batch that starts at `from`. Only names from
    /// before it may be forgotten: the batch itself can come again after a crash.
    fn with(&self, from: i64, letters: impl Iterator<Item = i64>) -> Self {
        let mut after = self.clone();
        after.offsets.extend(letters);
        while after.offsets.len() > NAMED_MAX {
            let Some(oldest) = after
                .offsets
                .first()
                .copied()
                .filter(|oldest| *oldest < from)
            else {
                break;
            };
            after.offsets.pop_first();
            after.below = oldest + 1;
        }
        after
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
            topic_ids: BTreeMap::new(),
        }
    }

    /// The lane's writer, opened if need be. It is taken out, and put back only after a write that
    /// went well: the outcome of one that did not may be unknown, and only a fresh writer can tell.
    async fn take(&mut self, lane: &Lane) -> Result<Open<K>, SinkError> {
        if let Some(open) = self.lanes.remove(lane) {
            return Ok(open);
        }
        let mut sink = (self.open)(lane.clone()).await?;
        let position = sink
            .positions(std::slice::from_ref(lane))
            .await?
            .remove(lane);
        let written = match &position {
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
        Ok(Open {
            sink,
            written: written.of_topic(self.topic_ids.get(&*lane.topic)),
            position,
        })
    }

    async fn write_fresh(&mut self, batch: &Batch) -> Result<(), SinkError> {
        let mut open = self.take(&batch.lane).await?;
        let written = &open.written;
        let fresh: Vec<Reject> = batch
            .rejects
            .iter()
            .filter(|reject| !written.holds(reject.offset))
            .cloned()
            .collect();
        if !fresh.is_empty() {
            // A stream's position is no offset; then its first reject stands for it.
            let from = batch.from.as_ref().and_then(Position::offset);
            let first = batch.rejects.iter().map(|reject| reject.offset).min();
            let from = from.or(first).unwrap_or(written.below);
            let after = written.with(from, fresh.iter().map(|reject| reject.offset));
            let letters = Batch {
                lane: batch.lane.clone(),
                from: open.position.take(),
                next: after.token(),
                records: dead_letter_records(&batch.lane, &fresh),
                rejects: Vec::new(),
            };
            open.sink.write(&letters).await?;
            open.position = Some(letters.next);
            open.written = after;
        }
        self.lanes.insert(batch.lane.clone(), open);
        Ok(())
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
        // Being shut out of one lane is no end of a leg: in a rebalance the lane's new owner and its
        // old one, which does not know yet, do it to each other. The sink's position tells who is
        // behind.
        self.write_fresh(batch).await.map_err(|error| match error {
            SinkError::Fenced(reason) => SinkError::Misaligned {
                lane: batch.lane.clone(),
                stored: None,
                reason: format!(
                    "its dead letters have another owner now: the partition was reassigned, or the \
                     pipeline runs twice ({reason})"
                ),
            },
            error => error,
        })
    }

    fn hold_to(&mut self, topic: &str, id: &str) {
        self.topic_ids.insert(topic.to_owned(), id.to_owned());
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
            let mut written = Written {
                below: 5,
                offsets: offsets.into_iter().collect(),
                topic_id: None,
            };
            let Position::Token(token) = written.token() else {
                panic!("a token")
            };
            assert_eq!(Written::parse(&token), Some(written.clone()));
            written.topic_id = Some("a-b_c".to_owned());
            let Position::Token(token) = written.token() else {
                panic!("a token")
            };
            assert_eq!(Written::parse(&token), Some(written));
        }
        assert_eq!(Written::parse("x;1"), None);
        assert_eq!(Written::parse("12"), None);
    }

    #[test]
    fn letters_of_a_topic_that_had_the_name_before_count_for_nothing() {
        let (old, new) = ("old".to_owned(), "new".to_owned());
        let written = Written::default().with(0, 0..5_000);
        // Written by a version that kept no id: of this topic.
        let of_old = written.of_topic(Some(&old));
        assert!(of_old.holds(4_999) && of_old.holds(0));
        assert_eq!(of_old.clone().of_topic(Some(&old)), of_old);
        // A broker that gives no ids any more.
        assert_eq!(of_old.clone().of_topic(None), of_old);
        let of_new = of_old.of_topic(Some(&new));
        assert!(!of_new.holds(0) && !of_new.holds(4_999));
        assert_eq!(of_new.topic_id, Some(new));
    }

    #[test]
    fn only_what_is_written_is_taken_for_written() {
        let first = Written::default().with(10, [12, 20].into_iter());
        assert!(first.holds(12) && first.holds(20));
        // The sink refuses one more record of the same batch, and later one that it took before.
        assert!(!first.holds(15) && !first.holds(9));
        let second = first.with(30, [31].into_iter()).with(3, [9].into_iter());
        assert!([9, 12, 20, 31].iter().all(|offset| second.holds(*offset)));
        assert!(!second.holds(13));
    }

    #[test]
    fn names_are_bounded_but_for_the_batch_under_way() {
        let many = NAMED_MAX as i64;
        let full = Written::default().with(0, 0..many);
        assert_eq!((full.below, full.offsets.len()), (0, NAMED_MAX));
        let next = full.with(many, [many, many + 5].into_iter());
        assert_eq!((next.below, next.offsets.len()), (2, NAMED_MAX));
        assert!(next.holds(0) && next.holds(many) && !next.holds(many + 1));
        let large = next.with(many + 6, many + 6..3 * many);
        assert_eq!(
            (large.below, large.offsets.first()),
            (many + 6, Some(&(many + 6)))
        );
        assert!(large.holds(3 * many - 1));
    }
}
