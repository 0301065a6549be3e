//! What the manifest says about running a module.

use std::ops::RangeInclusive;
use std::time::Duration;

/// All outputs of one batch in one step: an index of `Records` is 32 bits.
pub(crate) const STEP_OUTPUT_BYTES_MAX: usize = 256 << 20;

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

impl Limits {
    /// A grain below a millisecond is no limit, and one above an hour does not limit.
    pub const CALL_TIME_MS: RangeInclusive<u64> = 1..=3_600_000;
    /// One page of WASM's memory, to all that 32 bits reach.
    pub const MEMORY_BYTES: RangeInclusive<u64> = 64 << 10..=4 << 30;
    /// Room for an error's text, to what one step of a batch may hold.
    pub const OUTPUT_BYTES: RangeInclusive<u64> = 1 << 10..=STEP_OUTPUT_BYTES_MAX as u64;

    /// Hold the limits against what makes sense.
    pub(crate) fn check(&self) -> Result<(), String> {
        let bytes = [
            ("memory", self.memory_bytes, Self::MEMORY_BYTES),
            ("output", self.output_bytes, Self::OUTPUT_BYTES),
        ];
        for (name, value, range) in bytes {
            if !range.contains(&(value as u64)) {
                let (from, to) = (range.start(), range.end());
                return Err(format!(
                    "`limits.{name}` is {value} bytes; it can be {from} to {to}"
                ));
            }
        }
        if !Self::CALL_TIME_MS.contains(&self.call_time_ms) {
            let value = self.call_time_ms;
            return Err(format!(
                "`limits.time` is {value} ms; it can be 1 ms to 1 h"
            ));
        }
        Ok(())
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
