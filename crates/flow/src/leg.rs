//! The one loop: pull a batch, transform it, write it with its position.
//!
//! ```text
//! next ─▶ Assigned ─▶ source.topic_id ─▶ sink.hold_to, sink.positions ─▶ source.resume
//!      ─▶ Batch    ─▶ transform ─▶ dead letters ─▶ sink.write ─▶ source.committed
//!      ─▶ Revoked  ─▶ sink.revoked
//!      ─▶ End      ─▶ done
//! ```
//!
//! It runs between a stream and its topic and between a topic and its sink. It holds no position
//! of its own: whatever it forgets in a crash, the sink knows.
//!
//! While a batch is written the next event of a source that [reads ahead](Source::reads_ahead) is
//! pulled, and transformed if it is a batch; it is looked at once the write is over, so writes are
//! one after the other and in order.

use std::sync::Arc;
use std::time::Duration;

use gristmill_record::{Batch, Lane, Reject};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    DeadLetters, LegStats, Sink, SinkError, Source, SourceError, SourceEvent, Status, Transform,
    TransformError,
};

/// Misaligned writes in a row, without one that went well between, before the leg gives up: two
/// consumers that believe they own a lane would else fight for ever.
const MISALIGNED_MAX: u32 = 8;

/// A source, a transform and a sink that run as one.
pub struct Leg<S, T, K, D> {
    /// The connector's name, for logs and for the stage of a sink's rejects.
    pub name: String,
    /// Where records come from.
    pub source: S,
    /// What happens to them.
    pub transform: T,
    /// Where they have their effect.
    pub sink: K,
    /// Where rejects go, unless the sink takes them.
    pub dead_letters: D,
    /// What the outside sees.
    pub stats: Arc<LegStats>,
}

/// Why a leg ended before its time.
#[derive(Debug, thiserror::Error)]
pub enum LegError {
    /// The source cannot go on.
    #[error("source: {0}")]
    Source(String),
    /// The transform cannot go on.
    #[error("transform: {0}")]
    Transform(#[from] TransformError),
    /// The sink cannot go on.
    #[error("sink: {0}")]
    Sink(String),
    /// Another copy took over.
    #[error("fenced: {0}")]
    Fenced(String),
}

/// A batch was written, or its lane was re-seeked and the batch will come again.
enum Delivered {
    Written,
    Resumed,
    Stopped,
}

/// What keeps the leg from its next step.
enum Hindrance {
    Passing { after: Duration, reason: String },
    Lasting(LegError),
}

/// What came next, a batch of it transformed.
type Pulled = Result<SourceEvent, Hindrance>;

impl From<TransformError> for Hindrance {
    fn from(error: TransformError) -> Self {
        Self::Lasting(error.into())
    }
}

impl From<SourceError> for Hindrance {
    fn from(error: SourceError) -> Self {
        match error {
            SourceError::Retry { after, reason } => Self::Passing { after, reason },
            SourceError::Fatal(reason) => Self::Lasting(LegError::Source(reason)),
        }
    }
}

impl From<SinkError> for Hindrance {
    fn from(error: SinkError) -> Self {
        match error {
            SinkError::Retry { after, reason } => Self::Passing { after, reason },
            SinkError::Fenced(reason) => Self::Lasting(LegError::Fenced(reason)),
            error => Self::Lasting(LegError::Sink(error.to_string())),
        }
    }
}

impl<S: Source, T: Transform, K: Sink, D: DeadLetters> Leg<S, T, K, D> {
    /// Run until the source ends, `stop` is cancelled or something fails for good. On `stop`, a
    /// write that is under way is finished first; what was read ahead is dropped and read again
    /// next time.
    ///
    /// # Errors
    /// See [`LegError`]; the status holds the same reason.
    pub async fn run(&mut self, stop: &CancellationToken) -> Result<(), LegError> {
        let result = self.pump(stop).await;
        self.source.close().await;
        self.sink.close().await;
        self.stats.set_status(match &result {
            Ok(()) => Status::Ended,
            Err(error) => Status::Failed(error.to_string()),
        });
        result
    }

    async fn pump(&mut self, stop: &CancellationToken) -> Result<(), LegError> {
        let mut misaligned = 0;
        let mut ahead = None;
        loop {
            let pulled = match ahead.take() {
                Some(_) if stop.is_cancelled() => return Ok(()),
                Some(pulled) => pulled,
                None => tokio::select! {
                    biased;
                    () = stop.cancelled() => return Ok(()),
                    pulled = pull(&mut self.source, &mut self.transform, &self.stats) => pulled,
                },
            };
            match pulled {
                Ok(SourceEvent::Batch(batch)) => {
                    let delivered = self.deliver(batch, &mut ahead, &mut misaligned, stop);
                    match delivered.await? {
                        Delivered::Written => misaligned = 0,
                        Delivered::Resumed => {}
                        Delivered::Stopped => return Ok(()),
                    }
                }
                Ok(SourceEvent::Assigned(lanes)) => {
                    // A group with more members than partitions: ready, should one go away.
                    if !lanes.is_empty() && !self.resume(&lanes, stop).await? {
                        return Ok(());
                    }
                    self.running();
                }
                Ok(SourceEvent::Revoked(lanes)) => {
                    self.sink.revoked(&lanes);
                    self.dead_letters.revoked(&lanes);
                    lanes
                        .iter()
                        .for_each(|lane| self.stats.clear_lag(lane.partition));
                }
                Ok(SourceEvent::End) => {
                    tracing::info!(connector = self.name, "the source has ended");
                    return Ok(());
                }
                Err(Hindrance::Passing { after, reason }) => {
                    if !self.wait(after, &reason, stop).await {
                        return Ok(());
                    }
                }
                Err(Hindrance::Lasting(error)) => return Err(error),
            }
        }
    }

    /// Ask the sink where `lanes` are and send the source there. False if stopped meanwhile.
    async fn resume(&mut self, lanes: &[Lane], stop: &CancellationToken) -> Result<bool, LegError> {
        loop {
            match self.try_resume(lanes).await {
                Ok(()) => return Ok(true),
                Err(Hindrance::Passing { after, reason }) => {
                    if !self.wait(after, &reason, stop).await {
                        return Ok(false);
                    }
                }
                Err(Hindrance::Lasting(error)) => return Err(error),
            }
        }
    }

    async fn try_resume(&mut self, lanes: &[Lane]) -> Result<(), Hindrance> {
        let topic_id = self.source.topic_id().await?;
        if let (Some(id), Some(lane)) = (topic_id, lanes.first()) {
            self.sink.hold_to(&lane.topic, &id).await?;
            self.dead_letters.hold_to(&lane.topic, &id);
        }
        let positions = self.sink.positions(lanes).await?;
        for lane in lanes {
            let from = positions.get(lane).map(ToString::to_string);
            tracing::debug!(connector = self.name, %lane, from, "resume");
        }
        Ok(self.source.resume(lanes, &positions).await?)
    }

    /// Write `batch`, whatever it takes; what the source gives meanwhile goes to `ahead`.
    async fn deliver(
        &mut self,
        mut batch: Batch,
        ahead: &mut Option<Pulled>,
        misaligned: &mut u32,
        stop: &CancellationToken,
    ) -> Result<Delivered, LegError> {
        loop {
            let started = Instant::now();
            match self.write(&batch, ahead).await {
                Ok(()) => {
                    self.written(&batch, started.elapsed());
                    return Ok(Delivered::Written);
                }
                Err(SinkError::Retry { after, reason }) => {
                    if !self.wait(after, &reason, stop).await {
                        return Ok(Delivered::Stopped);
                    }
                }
                Err(SinkError::Reject(refused)) => {
                    let error = format!("{refused:?}");
                    // Nothing moved: writing the same batch again would go on for ever.
                    if reject(&mut batch, refused, &self.name) == 0 {
                        return Err(LegError::Sink(format!(
                            "{}: the sink refused records that the batch of {} does not have, \
                             which is a bug of the sink: {error}",
                            batch.lane,
                            batch.records.len()
                        )));
                    }
                }
                Err(error @ SinkError::Misaligned { .. }) => {
                    *misaligned += 1;
                    if *misaligned > MISALIGNED_MAX {
                        return Err(LegError::Sink(format!(
                            "{error} ({MISALIGNED_MAX} times in a row: is the same consumer group \
                             running twice on one partition?)"
                        )));
                    }
                    tracing::warn!(connector = self.name, %error, "going back to the stored position");
                    let lanes = [batch.lane];
                    // It comes again behind this one. All else that was pulled stays as it is.
                    ahead.take_if(|ahead| {
                        matches!(ahead, Ok(SourceEvent::Batch(ahead)) if ahead.lane == lanes[0])
                    });
                    return Ok(if self.resume(&lanes, stop).await? {
                        Delivered::Resumed
                    } else {
                        Delivered::Stopped
                    });
                }
                Err(SinkError::Fenced(reason)) => return Err(LegError::Fenced(reason)),
                Err(SinkError::Fatal(reason)) => return Err(LegError::Sink(reason)),
            }
        }
    }

    /// Write `batch`, and meanwhile, if the source reads ahead, pull what comes next: the sink's
    /// round trip and the transform's work take place side by side.
    async fn write(&mut self, batch: &Batch, ahead: &mut Option<Pulled>) -> Result<(), SinkError> {
        let (sink, dead_letters) = (&mut self.sink, &mut self.dead_letters);
        let mut write = std::pin::pin!(async {
            if !batch.rejects.is_empty() && !sink.takes_rejects() {
                dead_letters.write(batch).await?;
            }
            sink.write(batch).await
        });
        if self.source.reads_ahead() && !self.transform.is_slow() && ahead.is_none() {
            tokio::select! {
                // The write first: it must be under way before the transform takes the thread.
                biased;
                written = &mut write => return written,
                pulled = async {
                    // What the write has handed to the sink's client is to go out before that.
                    tokio::task::yield_now().await;
                    pull(&mut self.source, &mut self.transform, &self.stats).await
                } => *ahead = Some(pulled),
            }
        }
        write.await
    }

    fn written(&mut self, batch: &Batch, took: Duration) {
        self.running();
        self.stats.written(batch, took);
        self.source.committed(&batch.lane, &batch.next);
    }

    fn running(&self) {
        if self.stats.set_status(Status::Running) {
            tracing::info!(connector = self.name, "running");
        }
    }

    /// Wait out something that may pass. False if stopped meanwhile.
    async fn wait(&self, after: Duration, reason: &str, stop: &CancellationToken) -> bool {
        LegStats::add(&self.stats.waits, 1);
        if self.stats.set_status(Status::Waiting(reason.to_owned())) {
            tracing::warn!(connector = self.name, reason, "waiting");
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => false,
            () = tokio::time::sleep(after) => true,
        }
    }
}

/// What the source gives next, a batch of it transformed. Cancel-safe, as the source is.
async fn pull<S: Source, T: Transform>(
    source: &mut S,
    transform: &mut T,
    stats: &LegStats,
) -> Pulled {
    let event = source.next().await?;
    let SourceEvent::Batch(batch) = event else {
        return Ok(event);
    };
    stats.pulled(&batch.records);
    let started = Instant::now();
    let batch = transform.apply(batch)?;
    stats.transformed(started.elapsed());
    Ok(SourceEvent::Batch(batch))
}

/// Move the records that the sink refused, in any order, from `batch.records` to `batch.rejects`.
/// Returns how many.
fn reject(batch: &mut Batch, mut refused: Vec<(usize, String)>, stage: &str) -> usize {
    refused.sort_by_key(|(index, _)| *index);
    refused.dedup_by_key(|(index, _)| *index);
    let mut refused = refused.into_iter().peekable();
    let mut kept =
        gristmill_record::Records::with_capacity(batch.records.len(), batch.records.bytes());
    for (index, record) in batch.records.iter().enumerate() {
        match refused.next_if(|(refused, _)| *refused == index) {
            None => kept.push(record),
            Some((_, reason)) => batch.rejects.push(Reject {
                offset: record.offset,
                timestamp_ms: record.timestamp_ms,
                key: record.key.map(<[u8]>::to_vec),
                value: record.value.to_vec(),
                stage: stage.to_owned(),
                reason,
            }),
        }
    }
    let moved = batch.records.len() - kept.len();
    batch.records = kept;
    moved
}

#[cfg(test)]
mod tests {
    use gristmill_record::{Position, RecordRef};

    use super::*;

    #[test]
    fn refused_records_become_rejects_whatever_their_order() {
        let refuse = |refused: &[usize]| {
            let mut batch = Batch::empty(Lane::new("t", 0), None, Position::Offset(14));
            for offset in 10..14 {
                batch.records.push(RecordRef::new(offset, 0, None, b"v"));
            }
            let refused = refused
                .iter()
                .map(|index| (*index, "why".to_owned()))
                .collect();
            let moved = reject(&mut batch, refused, "sink");
            let rejects: Vec<i64> = batch.rejects.iter().map(|reject| reject.offset).collect();
            let kept: Vec<i64> = batch.records.iter().map(|record| record.offset).collect();
            (moved, rejects, kept)
        };
        assert_eq!(refuse(&[3, 0, 3]), (2, vec![10, 13], vec![11, 12]));
        assert_eq!(refuse(&[9, 1]), (1, vec![11], vec![10, 12, 13]));
        // These two end the leg instead of turning it in a circle.
        assert_eq!(refuse(&[]).0, 0);
        assert_eq!(refuse(&[4]).0, 0);
    }
}
