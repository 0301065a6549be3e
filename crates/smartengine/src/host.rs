//! The host's side of an instance: its limits, and what the guest hands over.

use wasmtime::{Memory, ResourceLimiter, Trap, format_err};

use crate::Limits;
use crate::abi::Garbage;
use crate::fault::{Fault, one_line};

/// What a guest may say on standard error before the rest is dropped: a panic's message fits.
const SAID_BYTES_MAX: usize = 1024;
/// Entries of all tables of a guest: stock ones have a few hundred.
const TABLE_ELEMENTS_MAX: usize = 100_000;

/// The host's side of an instance.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) limits: Limits,
    /// The guest's, once it is there.
    pub(crate) memory: Option<Memory>,
    memory_denied: bool,
    output: Vec<u8>,
    handed_over: bool,
    output_denied: Option<u64>,
    said: Vec<u8>,
    random: u64,
}

impl Host {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            memory: None,
            memory_denied: false,
            output: Vec::new(),
            handed_over: false,
            output_denied: None,
            said: Vec::new(),
            random: 0x9e37_79b9_7f4a_7c15,
        }
    }

    pub(crate) fn begin(&mut self) {
        self.memory_denied = false;
        self.handed_over = false;
        self.output_denied = None;
        self.said.clear();
    }

    pub(crate) fn output(&self) -> Result<&[u8], Garbage> {
        match self.handed_over {
            true => Ok(&self.output),
            false => Err(Garbage(
                "no output handed over (copy_records was not called)".to_owned(),
            )),
        }
    }

    /// Copy what the guest hands over out of its memory. The last of several calls counts, as in
    /// Fluvio.
    pub(crate) fn take_output(
        &mut self,
        memory: &[u8],
        ptr: u32,
        len: u32,
    ) -> wasmtime::Result<()> {
        if len as usize > self.limits.output_bytes {
            self.output_denied = Some(u64::from(len));
            return Err(format_err!("output limit"));
        }
        let end = (ptr as usize).saturating_add(len as usize);
        let output = memory.get(ptr as usize..end).ok_or_else(|| {
            let memory_bytes = memory.len();
            format_err!("handed over {len} bytes at {ptr}, beyond its memory of {memory_bytes}")
        })?;
        self.output.clear();
        self.output.extend_from_slice(output);
        self.handed_over = true;
        Ok(())
    }

    /// Keep what the guest writes to standard error, up to a bound.
    pub(crate) fn tell(&mut self, bytes: &[u8]) {
        let room = SAID_BYTES_MAX - self.said.len();
        self.said.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// The next byte of a fixed sequence (splitmix64).
    pub(crate) fn pseudo_random(&mut self) -> u8 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) as u8
    }

    pub(crate) fn fault(&self, error: &wasmtime::Error, limit_ms: u64) -> Fault {
        let trap = error.downcast_ref::<Trap>();
        if trap == Some(&Trap::Interrupt) {
            return Fault::Time { limit_ms };
        }
        if let Some(bytes) = self.output_denied {
            return Fault::Output {
                bytes,
                limit_bytes: self.limits.output_bytes,
            };
        }
        // A Rust guest that is refused memory aborts, which looks like any other trap.
        if self.memory_denied {
            return Fault::Memory {
                limit_bytes: self.limits.memory_bytes,
            };
        }
        let mut reason = match trap {
            Some(trap) => trap.to_string(),
            None => error.root_cause().to_string(),
        };
        if !self.said.is_empty() {
            reason.push_str("; it said: ");
            reason.push_str(&String::from_utf8_lossy(&self.said));
        }
        Fault::Trap(one_line(&reason))
    }
}

impl ResourceLimiter for Host {
    fn memory_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let granted = desired <= self.limits.memory_bytes;
        self.memory_denied |= !granted;
        Ok(granted)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS_MAX)
    }

    fn memories(&self) -> usize {
        1
    }

    fn tables(&self) -> usize {
        4
    }

    fn instances(&self) -> usize {
        1
    }
}
