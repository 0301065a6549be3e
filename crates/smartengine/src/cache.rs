//! Compiled modules on disk, so that a stage starts in milliseconds.
//!
//! wasmtime trusts what it deserialises: a forged file would be native code in our process. So the
//! directory must be the user's own and writable by nobody else, or it is not used. A checksum
//! beside each file catches what a crash or a full disk left behind.

use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sha2::{Digest, Sha256};
use wasmtime::{Engine, Module};

/// Modules that are kept: more than a user's pipelines have, at one to three megabytes each.
const FILES_MAX: usize = 64;

/// A directory of compiled modules.
#[derive(Debug, Clone)]
pub(crate) struct Cache {
    dir: PathBuf,
}

impl Cache {
    /// The cache in `dir`, which is made if missing; `None`, with a warning, where it cannot be
    /// trusted.
    pub(crate) fn open(dir: &Path) -> Option<Self> {
        match prepare(dir) {
            Ok(()) => Some(Self {
                dir: dir.to_owned(),
            }),
            Err(reason) => {
                let dir = dir.display();
                tracing::warn!(%dir, reason, "compiled SmartModules are not kept");
                None
            }
        }
    }

    /// The compiled `wasm`, whose SHA-256 is `digest`, from disk or anew. Trouble with the disk is
    /// logged, never fatal.
    pub(crate) fn module(
        &self,
        engine: &Engine,
        wasm: &[u8],
        digest: &[u8; 32],
    ) -> wasmtime::Result<Module> {
        let path = self.path(engine, digest);
        if let Some(module) = load(engine, &path) {
            // What is used last is forgotten last; where the time cannot be set, a little earlier.
            let file = std::fs::File::options().append(true).open(&path);
            let _ = file.and_then(|file| file.set_modified(SystemTime::now()));
            return Ok(module);
        }
        let module = Module::new(engine, wasm)?;
        let stored = module
            .serialize()
            .map_err(|error| error.to_string())
            .and_then(|code| store(&path, &code).map_err(|error| error.to_string()));
        self.prune();
        if let Err(reason) = stored {
            tracing::warn!(path = %path.display(), reason, "compiled SmartModule not kept");
        }
        Ok(module)
    }

    /// Named by content, wasmtime's version and the engine's configuration.
    fn path(&self, engine: &Engine, digest: &[u8; 32]) -> PathBuf {
        struct Sha(Sha256);
        impl Hasher for Sha {
            fn finish(&self) -> u64 {
                0
            }
            fn write(&mut self, bytes: &[u8]) {
                self.0.update(bytes);
            }
        }
        let mut hasher = Sha(Sha256::new());
        engine.precompile_compatibility_hash().hash(&mut hasher);
        hasher.0.update(digest);
        self.dir
            .join(format!("{}.cwasm", hex(&hasher.0.finalize())))
    }

    /// Keep the [`FILES_MAX`] modules that were used last. Each edit of a module makes another one.
    fn prune(&self) {
        let entries = std::fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let mut kept: Vec<_> = entries
            .filter(|entry| entry.path().extension().is_some_and(|e| e == "cwasm"))
            .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
            .collect();
        kept.sort_by(|a, b| b.cmp(a));
        for (_, path) in kept.drain(FILES_MAX.min(kept.len())..) {
            // Another process may be at the same; a reader has the file open or compiles anew.
            let _ = std::fs::remove_file(checksum_path(&path));
            let _ = std::fs::remove_file(path);
        }
    }
}

/// A compiled module that is whole and of this engine.
fn load(engine: &Engine, path: &Path) -> Option<Module> {
    let code = std::fs::read(path).ok()?;
    let sum = std::fs::read_to_string(checksum_path(path)).ok()?;
    if sum != hex(&Sha256::digest(&code)) {
        tracing::warn!(path = %path.display(), "compiled SmartModule is damaged, compiling anew");
        return None;
    }
    drop(code);
    // SAFETY: the file was written by `store` from `Module::serialize`: its checksum holds, and
    // `prepare` saw to it that nobody but this user can write into the directory.
    #[allow(unsafe_code)]
    let module = unsafe { Module::deserialize_file(engine, path) };
    module
        .inspect_err(|error| {
            tracing::warn!(path = %path.display(), %error, "compiled SmartModule not usable");
        })
        .ok()
}

/// Code first, checksum second, each at once: a reader sees a whole pair or compiles.
fn store(path: &Path, code: &[u8]) -> std::io::Result<()> {
    write_whole(path, code)?;
    write_whole(&checksum_path(path), hex(&Sha256::digest(code)).as_bytes())
}

fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    let written =
        std::fs::write(&temporary, bytes).and_then(|()| std::fs::rename(&temporary, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    written
}

fn checksum_path(path: &Path) -> PathBuf {
    path.with_extension("sha256")
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(unix)]
fn prepare(dir: &Path) -> Result<(), String> {
    use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};

    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|error| error.to_string())?;
    let metadata = std::fs::metadata(dir).map_err(|error| error.to_string())?;
    if metadata.mode() & 0o022 != 0 {
        return Err("the directory is writable by others; chmod 700 it".to_owned());
    }
    // A file of ours tells who we are, without a system call that Rust's std does not have.
    let probe = dir.join(format!("probe.{}.tmp", std::process::id()));
    let _ = std::fs::remove_file(&probe);
    let ours = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&probe)
        .and_then(|file| file.metadata());
    let _ = std::fs::remove_file(&probe);
    match ours {
        Ok(ours) if ours.uid() == metadata.uid() => Ok(()),
        Ok(_) => Err("the directory belongs to another user".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(not(unix))]
fn prepare(dir: &Path) -> Result<(), String> {
    std::fs::create_dir_all(dir).map_err(|error| error.to_string())
}
