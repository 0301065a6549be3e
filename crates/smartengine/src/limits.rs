//! What the manifest says about running a module.

use std::time::Duration;

/// What a call into a module may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Milliseconds of one call. 1000 unless set; a call is a batch, or a part of it.
    pub call_time_ms: u64,
    /// Bytes of the guest's linear memory. 64 MiB unless set.
    pub memory_bytes: usize,
    /// Bytes that one call may hand over. 16 MiB unless set.
    pub output_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            call_time_ms: 1000,
            memory_bytes: 64 << 20,
            output_bytes: 16 << 20,
        }
    }
}

/// How far back a module looks before its first record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lookback {
    /// The last so many records; 0 with an `age` means as many as are that young.
    pub last: usize,
    /// Not older than this, by record timestamp, counted from the newest record.
    pub age: Option<Duration>,
}
