//! Running counts in Redis, exactly once
