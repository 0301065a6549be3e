//! Where records come from.

use std::future::Future;
use std::time::Duration;

use gristmill_record::{Batch, Lane, Position, Positions};

/// Gives records of one or more lanes, in each lane's order.
///
/// Call order: [`next`](Self::next) yields [`SourceEvent::Assigned`] before any batch of a lane;
/// the leg answers with one [`resume`](Self::resume) for those lanes; only then come their
/// batches. A single-lane source assigns its lane first and never revokes it.
pub trait Source: Send {
    /// Wait for the next event. Cancel-safe: a dropped call loses nothing.
    ///
    /// # Errors
    /// [`SourceError::Retry`] when calling again later may work; [`SourceError::Fatal`] otherwise.
    fn next(&mut self) -> impl Future<Output = Result<SourceEvent, SourceError>> + Send;

    /// Whether [`next`](Self::next) may be called while the last batch is being written, and dropped
    /// when that is done: of a source that reads in the background it only takes what is there,
    /// where another one would cut its batch too early or begin to read in vain.
    fn reads_ahead(&self) -> bool {
        false
    }

    /// Go on at `from` in each of `lanes`; a lane that `from` does not hold starts where the
    /// source's configuration says. Called after an assignment, and again when the sink refused a
    /// batch as misaligned: batches of these lanes that were read ahead are then dropped, here and by
    /// the leg.
    ///
    /// # Errors
    /// As [`next`](Self::next); fatal where the position no longer exists.
    fn resume(
        &mut self,
        lanes: &[Lane],
        from: &Positions,
    ) -> impl Future<Output = Result<(), SourceError>> + Send;

    /// Which topic the lanes are of: one that is deleted and created anew under its name has
    /// another id, and a position of the old one means nothing there. Asked for before each
    /// [`resume`](Self::resume). `None` where there is no such thing (a stream, a broker before
    /// Kafka 2.8).
    ///
    /// # Errors
    /// As [`next`](Self::next).
    fn topic_id(&mut self) -> impl Future<Output = Result<Option<String>, SourceError>> + Send {
        std::future::ready(Ok(None))
    }

    /// The effect of everything before `next` in `lane` is durable. For lag tools and for memory
    /// that may now be freed; never blocks.
    fn committed(&mut self, lane: &Lane, next: &Position);

    /// Leave in order (commit a group's offsets, close connections). Not called after a crash, so
    /// nothing may depend on it.
    fn close(&mut self) -> impl Future<Output = ()> + Send;
}

/// What a source has to say.
#[derive(Debug)]
pub enum SourceEvent {
    /// These lanes are ours from now on: answer with [`Source::resume`].
    Assigned(Vec<Lane>),
    /// These lanes are no longer ours; no batch of them follows.
    Revoked(Vec<Lane>),
    /// Records, or an empty batch that only moves the position.
    Batch(Batch),
    /// There will never be more (an SSE server answered 204).
    End,
}

/// Why a source has nothing to give.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// May pass by itself (a broker that is down): the leg waits and calls again.
    #[error("{reason}")]
    Retry {
        /// How long to wait.
        after: Duration,
        /// What is awaited, for the status line.
        reason: String,
    },
    /// Will not pass: the leg ends with this reason, which names the remedy.
    #[error("{0}")]
    Fatal(String),
}
