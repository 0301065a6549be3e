//! A pipeline's sinks as a job for another engine.

pub mod arroyo;

use gristmill_manifest::Place;

/// Something that the other engine has no words for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Where it is in the file.
    pub place: Place,
    /// What it is, why it cannot be expressed, and the remedy.
    pub reason: String,
}
