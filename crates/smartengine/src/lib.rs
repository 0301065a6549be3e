//! SmartModules on wasmtime: the only room with wasmtime
