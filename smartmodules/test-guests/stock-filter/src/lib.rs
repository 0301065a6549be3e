//! Keeps each value's first occurrence, also across `look_back`; `init` takes `drop`, a value that
//! never passes. Value `bad` is an error, value `panic` panics.
use std::collections::BTreeSet;
use std::sync::{Mutex, OnceLock};

use fluvio_smartmodule::dataplane::smartmodule::SmartModuleExtraParams;
use fluvio_smartmodule::{Result, SmartModuleRecord, eyre, smartmodule};

static SEEN: Mutex<BTreeSet<Vec<u8>>> = Mutex::new(BTreeSet::new());
static DROP: OnceLock<String> = OnceLock::new();

#[smartmodule(init)]
fn init(params: SmartModuleExtraParams) -> Result<()> {
    match params.get("drop") {
        Some(value) if value.is_empty() => Err(eyre!("`drop` is empty")),
        value => DROP
            .set(value.cloned().unwrap_or_default())
            .map_err(|_| eyre!("initialised twice")),
    }
}

#[smartmodule(look_back)]
pub fn look_back(record: &SmartModuleRecord) -> Result<()> {
    seen(record);
    Ok(())
}

#[smartmodule(filter)]
pub fn filter(record: &SmartModuleRecord) -> Result<bool> {
    match record.value().as_ref() {
        b"bad" => Err(eyre!("a bad value")),
        b"panic" => panic!("a value to panic at"),
        value => {
            let dropped = DROP.get().is_some_and(|drop| drop.as_bytes() == value);
            Ok(!seen(record) && !dropped)
        }
    }
}

fn seen(record: &SmartModuleRecord) -> bool {
    match SEEN.lock() {
        Ok(mut set) => !set.insert(record.value().to_vec()),
        Err(_) => false,
    }
}
