//! Fluvio's SmartModule ABI, version 22, from the guest's side.
//!
//! ```text
//! host                                 guest
//! alloc(len) ────────────────────────▶ the input buffer, kept from call to call
//! writes the input into guest memory
//! filter(ptr, len, 22) ──────────────▶ read: records one by one, where they lie
//!                                      run:  the module's function
//!                                      write: outputs into one buffer, kept from call to call
//!      copy_records(ptr, len) ◀─────── the output: the host copies it at once
//! count of successes, or an error ◀───
//! ```
//!
//! Each function here runs one call over plain slices, so that it can be tested on any target;
//! `guest`, for wasm32, has what connects it to memory and exports. `docs/smartmodules.md` has the
//! encoding byte for byte.

#[cfg(target_arch = "wasm32")]
pub mod guest;

mod call;
mod output;
mod read;
mod transform;
mod write;

pub use call::{Call, Handed, aggregate, init, look_back};
pub use output::{Buffers, Output, Outputs};
pub use transform::{
    array_map, array_map_into, filter, filter_map, filter_map_into, map, map_into,
};

/// The least version of the encoding that is read. The current one is 22; hosts of older Fluvio
/// clusters, which know no timestamps, say less.
pub const VERSION_MIN: i32 = 16;

/// `SmartModuleTransformErrorStatus::DecodingBaseInput`.
const BAD_INPUT: i32 = -11;
/// `SmartModuleTransformErrorStatus::DecodingRecords`.
const BAD_RECORDS: i32 = -22;
/// `SmartModuleInitErrorStatus::InitError`: the error is in the output.
const INIT_REFUSED: i32 = -2;
/// `SmartModuleInitErrorStatus::DecodingInput`.
const INIT_BAD_INPUT: i32 = -10;
/// `SmartModuleLookbackErrorStatus::DecodingBaseInput`.
const LOOK_BACK_BAD_INPUT: i32 = -66;
/// `SmartModuleLookbackErrorStatus::DecodingRecords`.
const LOOK_BACK_BAD_RECORDS: i32 = -77;
/// `SmartModuleLookbackErrorStatus::PropagatedError`: the error is in the output.
const LOOK_BACK_REFUSED: i32 = -99;

/// `SmartModuleKind`, as an error names it.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Filter = 0,
    Map = 1,
    ArrayMap = 2,
    Aggregate = 3,
    FilterMap = 4,
}
