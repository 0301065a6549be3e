//! Conformance suite, fault wrappers and test servers
