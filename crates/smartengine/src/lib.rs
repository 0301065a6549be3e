//! SmartModules on wasmtime: the only room with wasmtime.
//!
//! ```text
//! Batch ─▶ Chain ─▶ Step 1 ──▶ Step 2 ──▶ … ─▶ Batch (records + rejects)
//!                     │ encode a range of records straight into guest memory
//!                     │ call filter | map | filter_map | array_map | aggregate
//!                     ▼ decode what `copy_records` handed over
//!                   Guest (one instance: memory, time and output limits)
//! ```
//!
//! Guests speak Fluvio's ABI (`fluvio-smartmodule` 0.50, encoding version 22): stock modules run
//! unchanged. A record that a module refuses becomes a reject with the module's own words; a
//! module that traps, loops, exhausts memory or answers nonsense loses its instance, the records
//! it did so on are found by bisection and rejected, and the rest goes on with a fresh instance.
//!
//! **Invariants:** guests have no file, network, clock or environment. Every guest pointer and
//! length is checked. What one record of a batch becomes is one unit: if any module of the chain
//! refuses any part of it, the record as it entered the chain is rejected and nothing made from it
//! passes. Headers never enter a guest; they stay with their record.

mod abi;
mod cache;
mod chain;
mod engine;
mod error;
mod fault;
mod guest;
mod host;
mod imports;
mod limits;
mod module;
mod origin;
mod step;
mod ticker;

pub use chain::{Chain, Step, Usage};
pub use engine::{Engine, EngineOptions};
pub use error::EngineError;
pub use limits::{Limits, Lookback};
pub use module::{Kind, Module};
