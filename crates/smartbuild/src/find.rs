//! From what a pipeline says to a crate or a file.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::{BuildError, SmartModuleToml};

/// What `uses:` says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Uses {
    Path(PathBuf),
    Name {
        name: String,
        version: Option<String>,
    },
}

/// A module that is there.
#[derive(Debug)]
pub(crate) enum Found {
    File {
        name: String,
        version: String,
        wasm: PathBuf,
        manifest: Option<SmartModuleToml>,
    },
    Crate {
        name: String,
        version: String,
        dir: PathBuf,
        manifest: SmartModuleToml,
    },
}

impl Uses {
    pub(crate) fn parse(uses: &str) -> Result<Self, BuildError> {
        if uses.ends_with(".wasm") {
            return Ok(Self::Path(uses.into()));
        }
        let fail = |reason: &str| BuildError::Uses {
            uses: uses.to_owned(),
            reason: reason.to_owned(),
        };
        let (name, version) = match uses.split_once('@') {
            Some((name, version)) => (name, Some(version)),
            None => (uses, None),
        };
        // The group tells whose it is on a hub; here a name is enough.
        let (group, name) = name.split_once('/').unwrap_or(("none", name));
        if !is_name(name) || !is_name(group) {
            return Err(fail(
                "write NAME, NAME@VERSION, GROUP/NAME@VERSION or the path of a .wasm file; a name \
                 has letters, digits, `-` and `_`",
            ));
        }
        if version == Some("") {
            return Err(fail("the version after `@` is missing"));
        }
        Ok(Self::Name {
            name: name.to_owned(),
            version: version.map(str::to_owned),
        })
    }
}

/// A name becomes part of a path: nothing in it may lead elsewhere.
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
}

/// What `uses` names: in one of `dirs`, or by a path that counts from `base`.
pub(crate) fn find(dirs: &[PathBuf], base: &Path, uses: &Uses) -> Result<Found, BuildError> {
    let (name, wanted) = match uses {
        Uses::Name { name, version } => (name, version.as_deref()),
        Uses::Path(path) => return file(&base.join(path)),
    };
    let mut other = None;
    for dir in dirs {
        let candidate = dir.join(name);
        if candidate.join("Cargo.toml").is_file() {
            let manifest = SmartModuleToml::of_crate(&candidate)?;
            let version = manifest.package.version.clone();
            if wanted.is_none_or(|wanted| wanted == version) {
                let name = name.clone();
                return Ok(Found::Crate {
                    name,
                    version,
                    dir: candidate,
                    manifest,
                });
            }
            other.get_or_insert((version, candidate));
        }
        for (version, wasm) in prebuilt(dir, name) {
            if wanted.is_none_or(|wanted| version.is_empty() || wanted == version) {
                return Ok(Found::File {
                    name: name.clone(),
                    version,
                    wasm,
                    manifest: None,
                });
            }
            other.get_or_insert((version, wasm));
        }
    }
    match (other, wanted) {
        (Some((found, path)), Some(wanted)) => Err(BuildError::Version {
            name: name.clone(),
            wanted: wanted.to_owned(),
            found,
            path,
        }),
        _ => {
            let known = names(dirs);
            Err(BuildError::NotFound {
                name: name.clone(),
                dirs: dirs.to_vec(),
                suggestion: closest(name, &known),
                known,
            })
        }
    }
}

fn file(path: &Path) -> Result<Found, BuildError> {
    let metadata = std::fs::metadata(path).map_err(|error| BuildError::io(path, error))?;
    if !metadata.is_file() {
        return Err(BuildError::io(path, std::io::Error::other("not a file")));
    }
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let (name, version) = stem.split_once('@').unwrap_or((&stem, ""));
    Ok(Found::File {
        name: name.to_owned(),
        version: version.to_owned(),
        wasm: path.to_owned(),
        manifest: None,
    })
}

/// Versions of `NAME@VERSION.wasm` in `dir`, the greatest text first, then `NAME.wasm` without.
fn prebuilt(dir: &Path, name: &str) -> Vec<(String, PathBuf)> {
    let mut found: Vec<_> = wasm_files(dir)
        .filter(|(file, ..)| file == name)
        .map(|(_, version, path)| (version, path))
        .collect();
    found.sort_by(|a, b| b.cmp(a));
    found
}

fn wasm_files(dir: &Path) -> impl Iterator<Item = (String, String, PathBuf)> {
    std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let path = entry.path();
            let stem = path
                .file_name()?
                .to_str()?
                .strip_suffix(".wasm")?
                .to_owned();
            let (name, version) = stem.split_once('@').unwrap_or((&stem, ""));
            Some((name.to_owned(), version.to_owned(), path.clone()))
        })
}

/// The names of all modules in `dirs`.
pub(crate) fn names(dirs: &[PathBuf]) -> Vec<String> {
    let mut names = BTreeSet::new();
    for dir in dirs {
        names.extend(wasm_files(dir).map(|(name, ..)| name));
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            if entry.path().join("Cargo.toml").is_file() {
                names.insert(entry.file_name().to_string_lossy().into_owned());
            }
        }
    }
    names.into_iter().collect()
}

pub(crate) fn closest(name: &str, known: &[String]) -> Option<String> {
    let scored = known
        .iter()
        .map(|other| (strsim::damerau_levenshtein(name, other), other));
    let (distance, other) = scored.min_by_key(|(distance, _)| *distance)?;
    // A third of the letters wrong is another word.
    (distance <= name.len().div_ceil(3)).then(|| other.clone())
}

#[cfg(test)]
mod tests;
