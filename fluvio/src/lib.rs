//! Nothing but tests: `tests/modules.rs`.
