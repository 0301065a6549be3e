//! Plan to wired legs, supervision, statistics, shutdown
