//! One record, where it lies.

use crate::{Error, Result};

/// A record of the batch. Key and value are slices of the batch's buffer: copying it is cheap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    key: Option<&'a [u8]>,
    value: &'a [u8],
    offset: i64,
    timestamp_ms: i64,
}

impl<'a> Record<'a> {
    /// A record of this value, without key, at offset and timestamp 0: for tests.
    pub fn new(value: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        Self {
            key: None,
            value: value.as_ref(),
            offset: 0,
            timestamp_ms: 0,
        }
    }

    /// With this key.
    pub fn with_key(self, key: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        Self {
            key: Some(key.as_ref()),
            ..self
        }
    }

    /// At this offset and timestamp.
    pub fn at(self, offset: i64, timestamp_ms: i64) -> Self {
        Self {
            offset,
            timestamp_ms,
            ..self
        }
    }

    /// The key; `None` is a null key, which is not the same as an empty one.
    #[inline]
    pub fn key(&self) -> Option<&'a [u8]> {
        self.key
    }

    /// The value.
    #[inline]
    pub fn value(&self) -> &'a [u8] {
        self.value
    }

    /// The value as text.
    ///
    /// # Errors
    /// It is not UTF-8.
    pub fn text(&self) -> Result<&'a str> {
        std::str::from_utf8(self.value).map_err(|error| {
            let at = error.valid_up_to();
            Error::new(format_args!("the value is not UTF-8 at byte {at}"))
        })
    }

    /// Offset in its topic and partition.
    #[inline]
    pub fn offset(&self) -> i64 {
        self.offset
    }

    /// Milliseconds since the epoch.
    #[inline]
    pub fn timestamp_ms(&self) -> i64 {
        self.timestamp_ms
    }

    #[inline(always)]
    pub(crate) fn of(
        key: Option<&'a [u8]>,
        value: &'a [u8],
        offset: i64,
        timestamp_ms: i64,
    ) -> Self {
        Self {
            key,
            value,
            offset,
            timestamp_ms,
        }
    }
}
