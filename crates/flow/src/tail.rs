//! What a topic already holds.

use std::future::Future;

use gristmill_record::RecordRef;

use crate::SourceError;

/// Looks back into the topic that a source writes to, so that a stream with inexact resumption
/// can tell which events are there.
pub trait TopicTail: Send {
    /// Visit every committed record whose partition reached `since_ms` (record timestamp,
    /// milliseconds since the epoch) or later, up to the topic's end as it is now; earlier records
    /// may be among them. Returns how many were visited.
    ///
    /// # Errors
    /// As [`Source::next`](crate::Source::next); [`SourceError::Retry`] also where there is no such
    /// topic: what a broker does not know of yet may hold records all the same.
    fn read(
        &mut self,
        since_ms: i64,
        visit: &mut (dyn FnMut(RecordRef<'_>) + Send),
    ) -> impl Future<Output = Result<u64, SourceError>> + Send;
}

/// For sources that resume exactly.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoTail;

impl TopicTail for NoTail {
    async fn read(
        &mut self,
        _since_ms: i64,
        _visit: &mut (dyn FnMut(RecordRef<'_>) + Send),
    ) -> Result<u64, SourceError> {
        Ok(0)
    }
}
