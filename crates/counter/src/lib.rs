//! From a batch to increments: which key each record counts for, and by how much each key grows.
//!
//! ```text
//! Batch ─▶ KeyTemplate::render (one key a record) ─▶ Coalescer (one increment a distinct key)
//!       └─▶ WindowCounter (the same for each window of event time)
//!                     └──▶ Refusal: a key that must not be counted, with the reason
//! ```
//!
//! Shared by every sink that counts, so that a template means the same in Redis and in embedded
//! mode.
//!
//! **Invariant:** no I/O, no clock; a record whose key the batch has already seen allocates
//! nothing.

mod coalesce;
mod guard;
mod marks;
mod template;
mod window;

pub use coalesce::{Coalescer, Refusal};
pub use guard::{KEY_BYTES_MAX, KeyError, RESERVED_PREFIX, check_key};
pub use marks::Marks;
pub use template::{KeyTemplate, TemplateError};
pub use window::{Increments, Late, Mark, WindowCounter, WindowCounts, WindowRefusal, WindowRules};
