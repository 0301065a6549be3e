//! `stock-filter` on our SDK.
use std::collections::BTreeSet;
use std::sync::Mutex;

use gristmill_smartmodule::{Params, Record, Result, State, bail, smartmodule};

static SEEN: Mutex<BTreeSet<Vec<u8>>> = Mutex::new(BTreeSet::new());
static DROP: State<String> = State::new();

#[smartmodule(init)]
fn init(mut params: Params) -> Result<()> {
    let drop: Option<String> = params.optional("drop")?;
    if drop.as_deref() == Some("") {
        bail!("`drop` is empty");
    }
    DROP.set(drop.unwrap_or_default())?;
    params.finish()
}

#[smartmodule(look_back)]
fn look_back(record: Record<'_>) -> Result<()> {
    seen(record);
    Ok(())
}

#[smartmodule(filter)]
fn filter(record: Record<'_>) -> Result<bool> {
    match record.value() {
        b"bad" => bail!("a bad value"),
        b"panic" => panic!("a value to panic at"),
        value => {
            let dropped = DROP.get()?.as_bytes() == value;
            Ok(!seen(record) && !dropped)
        }
    }
}

fn seen(record: Record<'_>) -> bool {
    match SEEN.lock() {
        Ok(mut set) => !set.insert(record.value().to_vec()),
        Err(_) => false,
    }
}
