//! Builds SmartModules to WASM from source, on demand
