//! The ABI against Fluvio's own types: inputs that they encode, outputs that they decode, and the
//! very bytes that Fluvio's SDK would have handed over.

#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod golden;
mod properties;
mod stock;

use fluvio_protocol::Encoder;
use gristmill_smartmodule::abi::{Buffers, Call};

pub const VERSION: i32 = 22;

pub fn encoded(value: &impl Encoder) -> Vec<u8> {
    let mut bytes = Vec::new();
    value.encode(&mut bytes, VERSION as i16).unwrap();
    bytes
}

/// What a call over `input` returns and hands over. The buffers were used before.
pub fn run(
    input: &[u8],
    call: impl FnOnce(&mut [u8], &mut Buffers) -> Call,
) -> (i32, Option<Vec<u8>>) {
    let mut buffers = Buffers::new();
    buffers
        .out
        .extend_from_slice(b"left over from the last call");
    let mut input = input.to_vec();
    let call = call(&mut input, &mut buffers);
    let output = call.output(&input, &buffers).map(<[u8]>::to_vec);
    (call.code, output)
}
