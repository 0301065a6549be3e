//! Writes SmartModules for Gristmill and Fluvio.
//!
//! ```
//! use std::borrow::Cow;
//!
//! use gristmill_smartmodule::{Keyed, Params, Record, Result, State, json, smartmodule};
//!
//! static FIELD: State<json::Path> = State::new();
//!
//! #[smartmodule(init)]
//! fn init(mut params: Params) -> Result<()> {
//!     FIELD.set(params.required("field")?)?;
//!     params.finish()
//! }
//!
//! #[smartmodule(filter_map)]
//! fn extract<'a>(record: Record<'a>) -> Result<Option<Keyed<'a, Cow<'a, str>>>> {
//!     let Some(value) = FIELD.get()?.find(record.value())? else {
//!         return Ok(None);
//!     };
//!     Ok(value.text()?.map(|text| (record.key(), text)))
//! }
//! ```
//!
//! The attribute makes an export of Fluvio's SmartModule ABI (version 22, byte for byte) of a plain
//! function. Records are decoded where the host put them: key and value are slices of the input.
//! What a function returns may borrow from them. Outputs go into one buffer that is kept from call
//! to call, and so does the input, so that a module's memory does not grow.
//!
//! | attribute | the function | or, without allocating |
//! |---|---|---|
//! | `filter` | `fn(Record<'_>) -> Result<bool>` | |
//! | `map` | `fn(Record<'_>) -> Result<(Option<K>, V)>` | `fn(Record<'_>, &mut Output<'_>) -> Result<()>` |
//! | `filter_map` | `fn(Record<'_>) -> Result<Option<(Option<K>, V)>>` | `fn(Record<'_>, &mut Output<'_>) -> Result<bool>` |
//! | `array_map` | `fn(Record<'_>) -> Result<Vec<(Option<K>, V)>>` | `fn(Record<'_>, &mut Outputs<'_>) -> Result<()>` |
//! | `aggregate` | `fn(&[u8], Record<'_>) -> Result<V>`: the accumulator so far, and the new one | |
//! | `init` | `fn(Params) -> Result<()>`, once, before the first record | |
//! | `look_back` | `fn(Record<'_>) -> Result<()>` for records before the first one | |
//!
//! `K` and `V` are anything that has [`Bytes`]: `&[u8]`, `&str`, `Vec<u8>`, `String`, `Cow`. A
//! record may be taken as `&Record<'_>` as well. The first error stops the batch, as in Fluvio: the
//! records before it are the output, and the host is told the error with the record.
//!
//! Everything but the exports is there on every target: a module's functions, and
//! [`abi`] itself, are tested natively.

pub mod abi;
mod bytes;
mod error;
pub mod json;
mod params;
mod record;
mod state;

/// What `map`, `filter_map` and `array_map` give where the key is the record's own, or another
/// slice of it: a key and a value.
pub type Keyed<'a, V = &'a [u8]> = (Option<&'a [u8]>, V);

pub use abi::{Output, Outputs};
pub use bytes::Bytes;
pub use error::{Error, Result};
pub use gristmill_smartmodule_derive::smartmodule;
pub use params::Params;
pub use record::Record;
pub use state::State;
