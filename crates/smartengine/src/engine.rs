//! wasmtime as SmartModules need it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use wasmtime::Config;

use crate::cache::Cache;
use crate::imports;
use crate::ticker::Ticker;
use crate::{EngineError, Module};

/// A module with all of std and a JSON parser has half a megabyte; compiling takes about a second
/// a megabyte, and no time limit reaches it.
const MODULE_BYTES_MAX: usize = 32 << 20;

/// How modules are compiled and kept.
#[derive(Debug, Clone, Default)]
pub struct EngineOptions {
    /// Where compiled modules are kept between runs; nowhere if `None`. Made with mode 0700, and
    /// not used if others can write to it.
    pub cache_dir: Option<PathBuf>,
}

/// Compiles modules and runs the clock for their time limits. Cheap to clone; one a process is
/// enough.
#[derive(Debug, Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    engine: wasmtime::Engine,
    ticker: Ticker,
    cache: Option<Cache>,
}

impl Engine {
    /// Start the engine and its ticker thread, which sleeps while no guest runs.
    ///
    /// # Errors
    /// [`EngineError::Engine`] where wasmtime or a thread cannot start.
    pub fn new(options: EngineOptions) -> Result<Self, EngineError> {
        let start = |error: String| EngineError::Engine(error);
        let mut config = Config::new();
        config.epoch_interruption(true);
        let engine = wasmtime::Engine::new(&config).map_err(|e| start(e.to_string()))?;
        let ticker = Ticker::start(engine.clone()).map_err(|e| start(e.to_string()))?;
        let cache = options.cache_dir.as_deref().and_then(Cache::open);
        Ok(Self {
            shared: Arc::new(Shared {
                engine,
                ticker,
                cache,
            }),
        })
    }

    /// Load the module in the file `wasm`; `name` is what errors and rejects call it.
    ///
    /// # Errors
    /// The file cannot be read, is not WASM, or is not a SmartModule that can run here.
    pub fn load(&self, name: &str, wasm: &Path) -> Result<Module, EngineError> {
        let bytes = std::fs::read(wasm).map_err(|error| EngineError::Read {
            module: name.to_owned(),
            path: wasm.to_owned(),
            error,
        })?;
        self.load_bytes(name, &bytes)
    }

    /// [`load`](Self::load) for a module that is in memory.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_bytes(&self, name: &str, wasm: &[u8]) -> Result<Module, EngineError> {
        let engine = &self.shared.engine;
        let invalid = |error: wasmtime::Error| EngineError::Invalid {
            module: name.to_owned(),
            reason: format!("{error:#}"),
        };
        if wasm.len() > MODULE_BYTES_MAX {
            let bytes = wasm.len();
            return Err(invalid(wasmtime::format_err!(
                "it has {bytes} bytes; at most {MODULE_BYTES_MAX} are compiled"
            )));
        }
        let digest = Sha256::digest(wasm).into();
        let compiled = match &self.shared.cache {
            Some(cache) => cache.module(engine, wasm, &digest),
            None => wasmtime::Module::new(engine, wasm),
        };
        let compiled = compiled.map_err(invalid)?;
        let linker = imports::linker(engine, name, &compiled)?;
        let pre = linker.instantiate_pre(&compiled).map_err(invalid)?;
        Module::new(self.clone(), name, digest, &compiled, pre)
    }

    pub(crate) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.shared.engine
    }

    pub(crate) fn ticker(&self) -> &Ticker {
        &self.shared.ticker
    }
}
