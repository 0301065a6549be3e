//! Everything that a build depends on, as one hash.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::cargo::{FEATURES, PROFILE};

/// Change it when the way of building changes, so that nothing old is taken for new.
const SCHEME: &str = "gristmill-smartbuild 1";

/// Digests of everything that a build depends on, by path.
///
/// These are the crate's files, its path dependencies', and the workspace's `Cargo.toml`,
/// `Cargo.lock` and `.cargo/config.toml`. The compiler is not among them: a newer one is no reason
/// to build anew.
#[derive(Debug)]
pub(crate) struct Snapshot {
    base: PathBuf,
    files: BTreeMap<PathBuf, Vec<u8>>,
}

impl Snapshot {
    /// The crate in `dir` as it is now.
    pub(crate) fn take(dir: &Path) -> std::io::Result<Self> {
        let mut snapshot = Self {
            base: base(dir)?,
            files: BTreeMap::new(),
        };
        files(dir)?
            .into_iter()
            .for_each(|file| snapshot.digest(file));
        snapshot.digest_lock();
        Ok(snapshot)
    }

    /// Look at `Cargo.lock` again: a build makes or completes it.
    pub(crate) fn digest_lock(&mut self) {
        self.digest(self.base.join("Cargo.lock"));
    }

    fn digest(&mut self, file: PathBuf) {
        if let Ok(bytes) = std::fs::read(&file) {
            self.files.insert(file, Sha256::digest(bytes).to_vec());
        }
    }

    /// Hex of the hash over all of it. Paths count from the workspace, so that a clone elsewhere
    /// has the same builds.
    pub(crate) fn hash(&self) -> String {
        let mut hasher = Sha256::new();
        let mut add = |bytes: &[u8]| {
            hasher.update((bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        [SCHEME, FEATURES]
            .iter()
            .for_each(|text| add(text.as_bytes()));
        PROFILE.iter().for_each(|setting| add(setting.as_bytes()));
        for (file, digest) in &self.files {
            let path = file.strip_prefix(&self.base).unwrap_or(file);
            add(path.as_os_str().as_encoded_bytes());
            add(digest);
        }
        let hash = hasher.finalize();
        hash.iter()
            .take(12)
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

/// What paths count from: the crate's workspace, or the crate itself.
fn base(dir: &Path) -> std::io::Result<PathBuf> {
    let dir = dir.canonicalize()?;
    Ok(workspace_root(&dir).unwrap_or(dir))
}

/// Files that a build of the crate in `dir` depends on, but for `Cargo.lock`.
pub(crate) fn files(dir: &Path) -> std::io::Result<BTreeSet<PathBuf>> {
    let base = base(dir)?;
    let mut files = BTreeSet::new();
    let mut crates = BTreeSet::new();
    let mut todo = vec![dir.canonicalize()?];
    while let Some(dir) = todo.pop() {
        if !crates.insert(dir.clone()) {
            continue;
        }
        walk(&dir, &mut files)?;
        // A dependency may be of another workspace, whose dependencies count from its own root.
        let root = workspace_root(&dir).unwrap_or_else(|| base.clone());
        todo.extend(path_dependencies(&dir.join("Cargo.toml"), &root));
        files.insert(root.join("Cargo.toml"));
    }
    files.insert(base.join(".cargo/config.toml"));
    Ok(files)
}

/// Names, sizes and times of `files` in one number.
pub(crate) fn fingerprint(files: impl IntoIterator<Item = PathBuf>) -> u64 {
    let mut hasher = DefaultHasher::new();
    for file in files {
        let metadata = std::fs::metadata(&file).ok();
        file.hash(&mut hasher);
        metadata
            .as_ref()
            .map(std::fs::Metadata::len)
            .hash(&mut hasher);
        metadata.and_then(|m| m.modified().ok()).hash(&mut hasher);
    }
    hasher.finish()
}

/// The nearest directory at or above `dir` whose `Cargo.toml` has `[workspace]`.
fn workspace_root(dir: &Path) -> Option<PathBuf> {
    dir.ancestors()
        .find(|dir| {
            table(&dir.join("Cargo.toml")).is_some_and(|table| table.contains_key("workspace"))
        })
        .map(Path::to_owned)
}

fn table(path: &Path) -> Option<toml::Table> {
    std::fs::read_to_string(path).ok()?.parse().ok()
}

/// Files of a crate; hidden ones, build output and crates within are not its own.
fn walk(dir: &Path, files: &mut BTreeSet<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let path = entry.path();
        if name.as_encoded_bytes().starts_with(b".") || name == "target" {
            continue;
        }
        if entry.file_type()?.is_dir() {
            if !path.join("Cargo.toml").is_file() {
                walk(&path, files)?;
            }
        } else {
            files.insert(path);
        }
    }
    Ok(())
}

/// Directories of the crates that `manifest` depends on by path, itself or through its workspace
/// in `root`.
fn path_dependencies(manifest: &Path, root: &Path) -> Vec<PathBuf> {
    let Some(own) = table(manifest) else {
        return Vec::new();
    };
    let shared = table(&root.join("Cargo.toml"));
    let shared = shared
        .as_ref()
        .and_then(|t| t.get("workspace")?.get("dependencies")?.as_table());
    let sections = ["dependencies", "build-dependencies"];
    let dependencies = sections
        .iter()
        .filter_map(|section| own.get(*section)?.as_table())
        .flatten();
    let mut dirs = Vec::new();
    for (name, dependency) in dependencies {
        let inherited = dependency.get("workspace").and_then(toml::Value::as_bool) == Some(true);
        let (base, dependency) = match inherited {
            true => (Some(root), shared.and_then(|shared| shared.get(name))),
            false => (manifest.parent(), Some(dependency)),
        };
        let path = dependency
            .and_then(|d| d.get("path"))
            .and_then(toml::Value::as_str);
        if let (Some(base), Some(path)) = (base, path)
            && let Ok(dir) = base.join(path).canonicalize()
        {
            dirs.push(dir);
        }
    }
    dirs
}
