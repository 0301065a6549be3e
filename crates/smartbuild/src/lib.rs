//! Builds SmartModules to WASM from source, on demand.
//!
//! ```text
//! "extract-type@0.1.0" ─▶ find ─▶ prebuilt NAME.wasm ────────────────────────▶ Built
//!                           └──▶ crate NAME/ ─▶ hash of its sources ─▶ kept? ──▶ Built
//!                                                  └─ toolchain ─▶ cargo build ─▶ keep ─┘
//! ```
//!
//! A build is named by the hash of everything that goes into it, so one that is there is right:
//! it was written aside and renamed. Two processes that build the same module wait for each other
//! on a file lock. Which toolchain builds is told in [`toolchain`].
//!
//! **Invariant:** nothing outside of the cache directory is written, except that `rustup` may be
//! asked to add its wasm32 target, and that [`scaffold()`] makes a new crate.

mod cargo;
mod error;
mod find;
mod manifest;
mod process;
mod scaffold;
mod sources;
pub mod toolchain;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub use error::BuildError;
pub use manifest::{Package, Param, SmartModuleToml};
pub use scaffold::{Template, scaffold, sdk_above};

use find::{Found, Uses};
use sources::Snapshot;

/// Where modules come from and where what is built of them is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sources {
    /// Looked through in order. A directory holds crates (`NAME/Cargo.toml`, a cargo workspace or
    /// members of one), or modules that were built elsewhere (`NAME.wasm`, `NAME@VERSION.wasm`),
    /// or both.
    pub dirs: Vec<PathBuf>,
    /// What a relative path in `uses` counts from: the folder of the pipeline file.
    pub base: PathBuf,
    /// Builds, intermediate files and a private toolchain if one is needed.
    pub cache_dir: PathBuf,
    /// What `uses` means whatever is in [`dirs`](Self::dirs): the WASM file that it meant before.
    pub pinned: BTreeMap<String, PathBuf>,
}

/// A module that is there to be loaded.
#[derive(Debug, Clone, PartialEq)]
pub struct Built {
    /// Its name, without group.
    pub name: String,
    /// Its version; empty for a plain file.
    pub version: String,
    /// The WASM file.
    pub wasm: PathBuf,
    /// Its `SmartModule.toml`, where there is one.
    pub manifest: Option<SmartModuleToml>,
    /// Whether it was built just now.
    pub fresh: bool,
}

impl Sources {
    /// Modules in `dirs`, kept in `target/gristmill` of the first of them.
    pub fn new(dirs: Vec<PathBuf>) -> Self {
        let first = dirs
            .first()
            .map_or_else(|| PathBuf::from("."), Clone::clone);
        Self {
            cache_dir: first.join("target/gristmill"),
            base: PathBuf::new(),
            dirs,
            pinned: BTreeMap::new(),
        }
    }

    /// Let relative paths in `uses` count from `base`.
    pub fn at(self, base: impl Into<PathBuf>) -> Self {
        Self {
            base: base.into(),
            ..self
        }
    }

    /// The module that `uses` names: `extract-type`, `extract-type@0.1.0`,
    /// `gristmill/extract-type@0.1.0` (Fluvio's form) or the path of a file that ends in `.wasm`.
    /// It is built if its sources have changed since it last was; `progress` is told, in a line
    /// for a human, before anything that takes seconds.
    ///
    /// # Errors
    /// See [`BuildError`].
    pub fn resolve(&self, uses: &str, progress: &mut dyn FnMut(&str)) -> Result<Built, BuildError> {
        let uses = match self.pinned.get(uses) {
            Some(path) => Uses::Path(path.clone()),
            None => Uses::parse(uses)?,
        };
        match find::find(&self.dirs, &self.base, &uses)? {
            Found::File {
                name,
                version,
                wasm,
                manifest,
            } => Ok(Built {
                name,
                version,
                wasm,
                manifest,
                fresh: false,
            }),
            Found::Crate {
                name,
                version,
                dir,
                manifest,
            } => self.build(name, version, &dir, manifest, progress),
        }
    }

    /// The module whose crate is in `dir`, which need not be in [`dirs`](Self::dirs).
    ///
    /// # Errors
    /// See [`BuildError`].
    pub fn resolve_crate(
        &self,
        dir: &Path,
        progress: &mut dyn FnMut(&str),
    ) -> Result<Built, BuildError> {
        let manifest = SmartModuleToml::of_crate(dir)?;
        let name = manifest.package.name.clone();
        let version = manifest.package.version.clone();
        self.build(name, version, dir, manifest, progress)
    }

    fn build(
        &self,
        name: String,
        version: String,
        dir: &Path,
        manifest: SmartModuleToml,
        progress: &mut dyn FnMut(&str),
    ) -> Result<Built, BuildError> {
        let (wasm, fresh) = self.built(&name, &version, dir, progress)?;
        Ok(Built {
            name,
            version,
            wasm,
            manifest: Some(manifest),
            fresh,
        })
    }

    /// Names of the modules in [`dirs`](Self::dirs), sorted.
    pub fn modules(&self) -> Vec<String> {
        find::names(&self.dirs)
    }

    fn built(
        &self,
        name: &str,
        version: &str,
        dir: &Path,
        progress: &mut dyn FnMut(&str),
    ) -> Result<(PathBuf, bool), BuildError> {
        let mut snapshot = Snapshot::take(dir).map_err(|error| BuildError::io(dir, error))?;
        let path = |snapshot: &Snapshot| {
            self.cache_for(dir)
                .join(format!("{name}-{version}-{}.wasm", snapshot.hash()))
        };
        let wasm = path(&snapshot);
        if wasm.is_file() {
            return Ok((wasm, false));
        }
        let cache_dir = self.cache_for(dir);
        let cache = |error| BuildError::io(&cache_dir, error);
        std::fs::create_dir_all(&cache_dir).map_err(cache)?;
        // Cargo is told to build into one directory: one build at a time, whatever the module.
        let _lock = lock(&cache_dir.join("lock"), progress).map_err(cache)?;
        // Whoever held the lock may have built this, and made the Cargo.lock that goes with it.
        snapshot.digest_lock();
        let wasm = path(&snapshot);
        if wasm.is_file() {
            return Ok((wasm, false));
        }
        loop {
            let built = cargo::build(name, dir, &cache_dir, progress)?;
            snapshot.digest_lock();
            let now = Snapshot::take(dir).map_err(|error| BuildError::io(dir, error))?;
            if now.hash() == snapshot.hash() {
                let wasm = path(&snapshot);
                keep(&built, &wasm).map_err(cache)?;
                forget_others(&cache_dir, name, &wasm);
                return Ok((wasm, true));
            }
            // Saved while cargo ran: what it made may be of the old sources, the new ones, or both.
            snapshot = now;
        }
    }

    /// Tells when a module has changed: a fingerprint of names, sizes and times of what it is made
    /// of, read without opening a file. Where it is the same, so is the module; where it is
    /// another, [`resolve`](Self::resolve) tells. A module that is not there has one too.
    pub fn fingerprint(&self, uses: &str) -> u64 {
        let found = Uses::parse(uses).and_then(|uses| find::find(&self.dirs, &self.base, &uses));
        match found {
            Ok(Found::File { wasm, .. }) => sources::fingerprint([wasm]),
            Ok(Found::Crate { dir, .. }) => {
                sources::fingerprint(sources::files(&dir).unwrap_or_default())
            }
            Err(_) => 0,
        }
    }

    /// Where builds of the crate in `dir` are kept: with the first of [`dirs`](Self::dirs), or,
    /// for a crate that is in none of them, in its own `target`.
    fn cache_for(&self, dir: &Path) -> PathBuf {
        let within = |folder: &PathBuf| {
            let (Ok(folder), Ok(dir)) = (folder.canonicalize(), dir.canonicalize()) else {
                return false;
            };
            dir.starts_with(folder)
        };
        match self.dirs.iter().any(within) {
            true => self.cache_dir.clone(),
            false => dir.join("target/gristmill"),
        }
    }
}

/// Remove builds of the same module from other sources.
fn forget_others(cache_dir: &Path, name: &str, wasm: &Path) {
    let Ok(entries) = std::fs::read_dir(cache_dir) else {
        return;
    };
    let prefix = format!("{name}-");
    for path in entries.flatten().map(|entry| entry.path()) {
        let file = path
            .file_name()
            .and_then(|file| file.to_str())
            .unwrap_or_default();
        // NAME-VERSION-HASH.wasm: the version starts with a digit, unlike `name`-more's.
        let ours = file.strip_prefix(&prefix).is_some_and(|rest| {
            rest.ends_with(".wasm") && rest.starts_with(|c: char| c.is_ascii_digit())
        });
        if ours && path != wasm {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Released when the file is dropped, by the system if the process dies.
fn lock(path: &Path, progress: &mut dyn FnMut(&str)) -> std::io::Result<std::fs::File> {
    let file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)?;
    if file.try_lock().is_err() {
        progress("waiting for another process that builds SmartModules");
        file.lock()?;
    }
    Ok(file)
}

/// Copy `built` to `wasm` so that no reader ever sees a part of it.
fn keep(built: &Path, wasm: &Path) -> std::io::Result<()> {
    let temporary = wasm.with_extension(format!("{}.tmp", std::process::id()));
    let copied = std::fs::copy(built, &temporary)
        .and_then(|_| std::fs::File::open(&temporary)?.sync_all())
        .and_then(|()| std::fs::rename(&temporary, wasm));
    if copied.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    copied
}
