//! What happens to records on the way.

use gristmill_record::Batch;

/// Turns a batch into another one: synchronous, no I/O.
pub trait Transform: Send {
    /// Transform the records of `batch` and append what was refused to its `rejects`. Lane and
    /// positions stay as they are; the result may be empty.
    ///
    /// # Errors
    /// Only when the transform itself cannot go on; a bad record is a reject.
    fn apply(&mut self, batch: Batch) -> Result<Batch, TransformError>;

    /// Whether it holds up its thread for long. Then no write is under way meanwhile, whose answer
    /// would not be heard in time.
    fn is_slow(&self) -> bool {
        false
    }
}

/// A transform that cannot go on (a module that no longer instantiates): the leg ends with it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct TransformError(pub String);

/// Passes every batch on as it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Identity;

impl Transform for Identity {
    fn apply(&mut self, batch: Batch) -> Result<Batch, TransformError> {
        Ok(batch)
    }
}
