//! Everything that a build depends on, as one hash.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::cargo::{FEATURES, PROFILE};

/// Change it when the way of building changes, so that nothing old is taken for new.
const SCHEME: &str = "gristmill-smartbuild 1";

/// Hex of the hash over the crate's files, the path dependencies', and the workspace's
/// `Cargo.toml`, `Cargo.lock` and `.cargo/config.toml`. The compiler is not part of it: a newer
/// one is no reason to build anew.
pub(crate) fn hash(dir: &Path) -> std::io::Result<String> {
    let mut files = BTreeSet::new();
    let mut crates = BTreeSet::new();
    let mut todo = vec![dir.canonicalize()?];
    let root = workspace_root(&todo[0]);
    while let Some(dir) = todo.pop() {
        if !crates.insert(dir.clone()) {
            continue;
        }
        walk(&dir, &mut files)?;
        todo.extend(path_dependencies(&dir.join("Cargo.toml"), root.as_deref())?);
    }
    for base in root.iter().map(PathBuf::as_path) {
        for file in ["Cargo.toml", "Cargo.lock", ".cargo/config.toml"] {
            files.insert(base.join(file));
        }
    }
    let mut hasher = Sha256::new();
    let mut add = |bytes: &[u8]| {
        hasher.update((bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    [SCHEME, FEATURES]
        .iter()
        .for_each(|text| add(text.as_bytes()));
    PROFILE.iter().for_each(|setting| add(setting.as_bytes()));
    // Relative, so that a clone elsewhere has the same builds.
    let base = root.unwrap_or_else(|| dir.to_owned());
    for file in files {
        let Ok(bytes) = std::fs::read(&file) else {
            continue;
        };
        add(file
            .strip_prefix(&base)
            .unwrap_or(&file)
            .as_os_str()
            .as_encoded_bytes());
        add(&bytes);
    }
    let hash = hasher.finalize();
    Ok(hash
        .iter()
        .take(12)
        .map(|byte| format!("{byte:02x}"))
        .collect())
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

/// Directories of the crates that `manifest` depends on by path, itself or through its workspace.
fn path_dependencies(manifest: &Path, root: Option<&Path>) -> std::io::Result<Vec<PathBuf>> {
    let Some(own) = table(manifest) else {
        return Ok(Vec::new());
    };
    let shared = root.and_then(|root| table(&root.join("Cargo.toml")));
    let shared = shared
        .as_ref()
        .and_then(|t| t.get("workspace")?.get("dependencies")?.as_table());
    let mut dirs = Vec::new();
    for section in ["dependencies", "build-dependencies"] {
        let Some(dependencies) = own.get(section).and_then(|section| section.as_table()) else {
            continue;
        };
        for (name, dependency) in dependencies {
            let inherited = dependency.get("workspace").and_then(toml::Value::as_bool);
            let (base, dependency) = match (inherited, root, shared) {
                (Some(true), Some(root), Some(shared)) => (Some(root), shared.get(name)),
                _ => (manifest.parent(), Some(dependency)),
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
    }
    Ok(dirs)
}
