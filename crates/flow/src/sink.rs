//! Where records have their effect.

use std::future::Future;
use std::time::Duration;

use gristmill_record::{Batch, Lane, Position, Positions};

/// Makes the effect of a batch and its position durable in one atomic step.
pub trait Sink: Send {
    /// The positions stored with the effect; a lane that was never written is absent.
    ///
    /// # Errors
    /// [`SinkError::Retry`], [`SinkError::Fenced`] or [`SinkError::Fatal`].
    fn positions(
        &mut self,
        lanes: &[Lane],
    ) -> impl Future<Output = Result<Positions, SinkError>> + Send;

    /// Hold the positions of `topic` to the topic of this id from now on: called before
    /// [`positions`](Self::positions), if the source knows one.
    ///
    /// # Errors
    /// [`SinkError::Fatal`] if they are those of another id; else as `positions`.
    fn hold_to(
        &mut self,
        topic: &str,
        id: &str,
    ) -> impl Future<Output = Result<(), SinkError>> + Send {
        let _ = (topic, id);
        std::future::ready(Ok(()))
    }

    /// Apply `batch` and store `batch.next`. `Ok` means durable, position included. After
    /// [`SinkError::Retry`], also one with an unknown outcome, the leg calls again with the very
    /// same batch, and the sink must apply it once in all. `batch.rejects` is the sink's business
    /// only if [`takes_rejects`](Self::takes_rejects) says so.
    ///
    /// # Errors
    /// See [`SinkError`]; after any of them nothing of the batch counts as applied, unless the
    /// stored position says so.
    fn write(&mut self, batch: &Batch) -> impl Future<Output = Result<(), SinkError>> + Send;

    /// Whether [`write`](Self::write) puts `batch.rejects` into the dead-letter topic within its
    /// atomic step. Otherwise the leg writes them through its [`DeadLetters`](crate::DeadLetters)
    /// before.
    fn takes_rejects(&self) -> bool {
        false
    }

    /// These lanes went to somebody else: forget what is cached of them.
    fn revoked(&mut self, lanes: &[Lane]) {
        let _ = lanes;
    }

    /// Leave in order. Not called after a crash, so nothing may depend on it.
    fn close(&mut self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }
}

/// Why a batch was not applied.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// May pass by itself; write the same batch again.
    #[error("{reason}")]
    Retry {
        /// How long to wait.
        after: Duration,
        /// What is awaited, for the status line.
        reason: String,
    },
    /// These records (index in the batch, reason) can never be applied: the leg makes them
    /// rejects and writes the rest. Nothing was applied.
    #[error("{} records refused, the first: {}", .0.len(), .0.first().map_or("", |r| r.1.as_str()))]
    Reject(Vec<(usize, String)>),
    /// The batch does not start where the stored position ends: another consumer went on with the
    /// lane, or the store was rewound. The leg asks for the positions anew and re-seeks.
    #[error("{lane}: batch does not start at the stored position ({}): {reason}", stored.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string))]
    Misaligned {
        /// The lane of the refused batch.
        lane: Lane,
        /// What is stored.
        stored: Option<Position>,
        /// What that means.
        reason: String,
    },
    /// Another copy of this connector took over: stop, and say so.
    #[error("{0}")]
    Fenced(String),
    /// Will not pass: the leg ends with this reason, which names the remedy.
    #[error("{0}")]
    Fatal(String),
}
