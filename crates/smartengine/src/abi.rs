//! Fluvio's SmartModule encoding, version 22, byte for byte.
//!
//! Written and read by hand, because `fluvio-protocol` encodes byte by byte into buffers of its
//! own: here a batch goes straight into guest memory and an output is read where it lies. Tests
//! hold both directions against `fluvio-protocol`'s own types.

mod decode;
mod encode;

pub(crate) use decode::{
    Garbage, Output, Spare, decode_init_error, decode_look_back_error, decode_output,
};
pub(crate) use encode::{Input, Params, encode_init};

/// The version of the encoding, third argument of every call
/// (`fluvio_smartmodule::SMARTMODULE_TIMESTAMPS_VERSION`).
pub(crate) const VERSION: i32 = 22;

#[cfg(test)]
mod tests;
