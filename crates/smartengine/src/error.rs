//! What keeps a module or a chain from running at all.

use std::path::PathBuf;

/// Why a module cannot be loaded or a chain not be started.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// wasmtime does not start on this machine.
    #[error("the WASM engine does not start: {0}")]
    Engine(String),
    /// The file cannot be read.
    #[error("SmartModule {module}: cannot read {}: {error}", path.display())]
    Read {
        /// The module's name.
        module: String,
        /// Its file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The bytes are not a WASM module that this engine takes.
    #[error("SmartModule {module}{}", invalid(reason))]
    Invalid {
        /// The module's name.
        module: String,
        /// wasmtime's words.
        reason: String,
    },
    /// A WASM module, but not a SmartModule.
    #[error("SmartModule {module}: {reason}")]
    NotASmartModule {
        /// The module's name.
        module: String,
        /// What is missing or too much.
        reason: String,
    },
    /// `with:` or `lookback:` asks for what the module does not have.
    #[error("SmartModule {module}: {reason}")]
    Config {
        /// The module's name.
        module: String,
        /// What does not fit, and what to do.
        reason: String,
    },
    /// `init` refused the parameters, or failed.
    #[error("SmartModule {module}: init: {reason}")]
    Init {
        /// The module's name.
        module: String,
        /// The module's own words, or what went wrong.
        reason: String,
    },
    /// `look_back` failed.
    #[error("SmartModule {module}: look_back: {reason}")]
    LookBack {
        /// The module's name.
        module: String,
        /// The module's own words, or what went wrong.
        reason: String,
    },
    /// An instance could not be made.
    #[error("SmartModule {module}: cannot be instantiated: {reason}")]
    Instantiate {
        /// The module's name.
        module: String,
        /// Why.
        reason: String,
    },
}

/// What follows the module's name, on one line: wasmtime prints the first bytes of what is no WASM
/// as a list with a line for each.
fn invalid(reason: &str) -> String {
    if let Some(bytes) = first_bytes(reason) {
        return format!(
            " is no WASM module (it starts with `{}`)",
            bytes.escape_ascii()
        );
    }
    let words: Vec<&str> = reason.split_whitespace().collect();
    format!(": not a valid WASM module: {}", words.join(" "))
}

/// The bytes that stand where WASM's magic number should.
fn first_bytes(reason: &str) -> Option<Vec<u8>> {
    let (_, list) = reason.split_once("bad magic number")?;
    let (list, _) = list.split_once("actual=[")?.1.split_once(']')?;
    let bytes = list.split(',').map(str::trim).filter(|it| !it.is_empty());
    bytes
        .map(|byte| u8::from_str_radix(byte.trim_start_matches("0x"), 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_wasm_is_told_on_one_line() {
        let text = |reason: &str| {
            let (module, reason) = ("m".to_owned(), reason.to_owned());
            EngineError::Invalid { module, reason }.to_string()
        };
        assert_eq!(
            text(
                "bad magic number - expected=[\n 0x0,\n] actual=[\n 0x3c,\n 0x1,\n] (at offset 0x0)"
            ),
            "SmartModule m is no WASM module (it starts with `<\\x01`)"
        );
        assert_eq!(
            text("one\n  two"),
            "SmartModule m: not a valid WASM module: one two"
        );
    }
}
