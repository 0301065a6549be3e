//! Replaces a JSON record by the text of one of its fields; the key is kept.
//!
//! | the field is | the record becomes |
//! |---|---|
//! | a string | its text, escapes decoded |
//! | a number or a boolean | its JSON text, as written (`1.0` stays `1.0`) |
//! | absent, `null`, an object or an array | nothing: it is filtered out |
//!
//! A record that is not one whole, valid JSON document is an error with byte offset and reason.
//! Parameter `field` names a top-level field, or any place by a JSON pointer (RFC 6901, starts
//! with `/`); it is `type` unless given. Of duplicate keys the last one counts.
//!
//! `extract-type` as it is on Fluvio's stock SDK and `serde_json`: the test guest that ours is held
//! against. `gristmill-smartmodule` compiles [`Field`] into its tests, where it is the reference for
//! what is accepted, found and said.

mod error;
mod field;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use fluvio_smartmodule::dataplane::core::{Decoder, Encoder};
use fluvio_smartmodule::dataplane::smartmodule::{
    SMARTMODULE_TIMESTAMPS_VERSION, SmartModuleExtraParams,
};
use fluvio_smartmodule::{RecordData, Result, SmartModuleRecord, eyre, smartmodule};

pub use error::Malformed;
pub use field::Field;

/// Which field to extract unless parameter `field` says so.
const FIELD_DEFAULT: &str = "type";

/// Set once by `init`, before the first record.
static FIELD: OnceLock<Field> = OnceLock::new();

/// Reads the parameters.
///
/// # Errors
/// A parameter that is not `field`, or a `field` that is no name and no JSON pointer.
#[smartmodule(init)]
pub fn init(params: SmartModuleExtraParams) -> Result<()> {
    let mut params = list(&params)?;
    let name = params.remove("field");
    if let Some(unknown) = params.keys().next() {
        return Err(eyre!(
            "unknown parameter `{unknown}`; extract-type takes: field"
        ));
    }
    let field = Field::parse(name.as_deref().unwrap_or(FIELD_DEFAULT)).map_err(|e| eyre!(e))?;
    FIELD.set(field).map_err(|_| eyre!("initialised twice"))
}

/// Extracts the field.
///
/// # Errors
/// The record's value is malformed JSON.
#[smartmodule(filter_map)]
pub fn filter_map(record: &SmartModuleRecord) -> Result<Option<(Option<RecordData>, RecordData)>> {
    let field = match FIELD.get() {
        Some(field) => field,
        // An engine that skips `init` where there are no parameters.
        None => FIELD.get_or_init(|| Field::parse(FIELD_DEFAULT).unwrap_or_default()),
    };
    let text = field.extract(record.value().as_ref())?;
    Ok(text.map(|text| (record.key().cloned(), RecordData::from(text.as_ref()))))
}

/// `SmartModuleExtraParams` has no iterator, but its encoding starts with the map.
fn list(params: &SmartModuleExtraParams) -> Result<BTreeMap<String, String>> {
    let mut bytes = Vec::new();
    params.encode(&mut bytes, SMARTMODULE_TIMESTAMPS_VERSION)?;
    Ok(Decoder::decode_from(
        &mut bytes.as_slice(),
        SMARTMODULE_TIMESTAMPS_VERSION,
    )?)
}
