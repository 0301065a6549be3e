//! Count key templates and coalesced increments: no I/O
