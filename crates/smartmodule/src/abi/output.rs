//! What functions that write their outputs write to.

use std::fmt;
use std::io;

use super::write;
use crate::Bytes;

/// Buffers that are kept from call to call.
#[derive(Debug, Default)]
pub struct Buffers {
    /// The output.
    pub out: Vec<u8>,
    /// Whether the records that `array_map` makes have attributes and deltas of the one that they
    /// are made from, which Fluvio's do not.
    pub keep_origins: bool,
    key: Vec<u8>,
    value: Vec<u8>,
}

/// The record that `map` or `filter_map` make of one, in the form with `&mut Output`. It starts
/// with the record's own key and an empty value.
#[derive(Debug)]
pub struct Output<'o> {
    key: Key,
    key_bytes: &'o mut Vec<u8>,
    value: &'o mut Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    Keep,
    None,
    Own,
}

impl Output<'_> {
    /// The value, to be written to.
    pub fn value(&mut self) -> &mut Vec<u8> {
        self.value
    }

    /// Append to the value.
    pub fn push(&mut self, bytes: impl Bytes) {
        self.value.extend_from_slice(bytes.bytes());
    }

    /// Give it another key, or none.
    pub fn set_key(&mut self, key: Option<&[u8]>) {
        self.key_bytes.clear();
        self.key = match key {
            Some(key) => {
                self.key_bytes.extend_from_slice(key);
                Key::Own
            }
            None => Key::None,
        };
    }
}

impl Buffers {
    /// Empty ones.
    pub const fn new() -> Self {
        Self {
            out: Vec::new(),
            keep_origins: false,
            key: Vec::new(),
            value: Vec::new(),
        }
    }

    /// The output, and where records for it are put together.
    pub(super) fn split(&mut self) -> (&mut Vec<u8>, Scratch<'_>) {
        let scratch = Scratch {
            keep_origins: self.keep_origins,
            key: &mut self.key,
            value: &mut self.value,
        };
        (&mut self.out, scratch)
    }
}

/// Where an [`Output`] is put together, and how [`Outputs`] are.
pub(super) struct Scratch<'b> {
    keep_origins: bool,
    key: &'b mut Vec<u8>,
    value: &'b mut Vec<u8>,
}

impl Scratch<'_> {
    pub(super) fn output(&mut self) -> Output<'_> {
        self.key.clear();
        self.value.clear();
        Output {
            key: Key::Keep,
            key_bytes: self.key,
            value: self.value,
        }
    }

    pub(super) fn outputs<'o>(&self, out: &'o mut Vec<u8>, preamble: &'o [u8]) -> Outputs<'o> {
        Outputs {
            out,
            preamble: match self.keep_origins {
                true => preamble,
                false => write::NO_PREAMBLE,
            },
            count: 0,
        }
    }
}

impl Output<'_> {
    pub(super) fn write(&self, out: &mut Vec<u8>, preamble: &[u8], own_key: Option<&[u8]>) {
        let key = match self.key {
            Key::Keep => own_key,
            Key::None => None,
            Key::Own => Some(self.key_bytes.as_slice()),
        };
        write::record(out, preamble, key, self.value);
    }
}

impl fmt::Write for Output<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.value.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

impl io::Write for Output<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.value.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The records that `array_map` makes of one, in the form with `&mut Outputs`.
#[derive(Debug)]
pub struct Outputs<'o> {
    out: &'o mut Vec<u8>,
    preamble: &'o [u8],
    count: u32,
}

impl Outputs<'_> {
    /// One more record.
    pub fn push(&mut self, key: Option<&[u8]>, value: impl Bytes) {
        write::record(self.out, self.preamble, key, value.bytes());
        self.count += 1;
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}
