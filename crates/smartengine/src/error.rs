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
    #[error("SmartModule {module}: not a valid WASM module: {reason}")]
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
