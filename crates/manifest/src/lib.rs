//! `pipeline.yaml` to a validated plan, with the place of every mistake.
//!
//! ```text
//! text ─yaml─▶ tree ─overrides─▶ tree ─vars─▶ tree ─check─▶ tree ─lower─▶ Manifest
//!                      └────────────── Diagnostics ◀──────────┘
//! ```
//!
//! Every value keeps its line and column to the end, so that each mistake is shown where it is
//! made, and all of them at once. A connector's section is checked against its `Connector.toml`
//! ([`ConnectorSpec`]), by the same engine as the rest of the file.
//!
//! **Invariants:** pure data, no file, no network, no clock, no environment but what
//! [`Variables`] hands in; no connector, Kafka or WASM crate; a filled-in secret is in
//! [`Text`], [`Section::value`] and [`Redactions`] and in no rendering; no input panics.

mod check;
mod core;
mod describe;
mod diagnostic;
mod fill;
mod fluvio;
mod format;
mod json_schema;
mod listen;
mod load;
mod lower;
mod mistakes;
mod model;
mod names;
mod overrides;
mod places;
mod redact;
mod render;
mod report;
mod rules;
mod scalar;
mod schema;
mod security;
mod source;
mod spec;
mod syntax;
mod text;
mod tree;
mod vars;
mod yaml;

pub use describe::describe;
pub use diagnostic::{Diagnostic, Diagnostics, Label, Origin, Severity};
pub use format::Format;
pub use json_schema::json_schema;
pub use listen::listen_addr;
pub use model::{
    Connector, Consumer, Delivery, Fluvio, Kafka, KafkaSasl, KafkaTls, Limits, Lookback, Manifest,
    Metrics, Place, Producer, Section, SectionError, Start, Text, Topic, Transform,
};
pub use overrides::{Override, OverrideError};
pub use redact::Redactions;
pub use render::{plural, printable};
pub use schema::{Additional, Schema, Type};
pub use spec::{ConnectorSpec, Direction, SectionCheck, SectionMistake, SpecError};
pub use text::nearest;
pub use vars::{MapVariables, NoVariables, Variables};
pub use yaml::TEXT_BYTES_MAX;
