//! What tests of several rooms share: the conformance suite and real servers of a test's own.
//!
//! A test helper fails by panicking, so this crate alone may.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc)]

pub mod conformance;
pub mod kafka;
pub mod pki;
pub mod redis;
#[cfg(feature = "sim")]
pub mod sim;
pub mod tls;
