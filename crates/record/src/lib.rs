//! Records, batches and positions: the nouns every other room speaks.
//!
//! A [`Batch`] is what one turn of a leg moves: records of one [`Lane`], the [`Position`] they
//! start at and the one that is reached once their effect is durable. Payloads of a batch live in
//! one buffer ([`Records`]), so that the hot path allocates per batch and never per record.
//!
//! **Invariant:** no I/O, no async, no clock in this crate.

mod batch;
mod pool;
mod position;
mod records;

pub use batch::{Batch, Reject};
pub use pool::Pool;
pub use position::{Lane, Position, Positions};
pub use records::{Headers, HeadersIter, RecordRef, Records};
