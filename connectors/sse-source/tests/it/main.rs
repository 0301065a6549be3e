//! The connector as a leg sees it, against real HTTP servers on loopback.

#![allow(
    clippy::unwrap_used,
    reason = "a test helper that fails is a test that fails"
)]
mod cases;
mod conformance;
mod harness;
mod http;
mod records;
mod resume;
mod spec;
mod tls;
