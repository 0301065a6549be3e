//! Why there is no module.

use std::path::{Path, PathBuf};

/// Why a module cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// `uses:` is not a name, a name with a version, or a path.
    #[error("`{uses}` names no SmartModule: {reason}")]
    Uses {
        /// What was written.
        uses: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No directory has it.
    #[error("no SmartModule `{name}` in {}{}", list(dirs), hint(suggestion.as_deref(), known))]
    NotFound {
        /// What was looked for.
        name: String,
        /// Where.
        dirs: Vec<PathBuf>,
        /// The name that may have been meant.
        suggestion: Option<String>,
        /// All names that there are.
        known: Vec<String>,
    },
    /// It is there, in another version.
    #[error(
        "SmartModule `{name}` is there in version {found} ({}), not {wanted}; write \
         `uses: {name}@{found}`",
        path.display()
    )]
    Version {
        /// The module.
        name: String,
        /// The version asked for.
        wanted: String,
        /// The version that is there.
        found: String,
        /// Where.
        path: PathBuf,
    },
    /// A manifest that does not say what it must.
    #[error("{}: {reason}", path.display())]
    Manifest {
        /// `SmartModule.toml` or `Cargo.toml`.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The module has to be built, and nothing here can.
    #[error("cannot build SmartModule `{name}` for wasm32-unknown-unknown: {reason}\n{remedy}")]
    Toolchain {
        /// The module.
        name: String,
        /// What was tried, and how each attempt ended.
        reason: String,
        /// What to do, in one line.
        remedy: String,
    },
    /// The module's own sources do not compile.
    #[error("SmartModule `{name}` ({}) does not build:\n{output}", dir.display())]
    Compile {
        /// The module.
        name: String,
        /// Its crate.
        dir: PathBuf,
        /// The end of what cargo said.
        output: String,
    },
    /// A file or directory is in the way.
    #[error("{}: {error}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
}

impl BuildError {
    pub(crate) fn io(path: &Path, error: std::io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            error,
        }
    }
}

fn list(dirs: &[PathBuf]) -> String {
    match dirs {
        [] => "no directory at all".to_owned(),
        _ => {
            let dirs: Vec<_> = dirs.iter().map(|dir| dir.display().to_string()).collect();
            dirs.join(", ")
        }
    }
}

fn hint(suggestion: Option<&str>, known: &[String]) -> String {
    match (suggestion, known) {
        (Some(name), _) => format!("; did you mean `{name}`?"),
        (None, []) => "; there is none at all".to_owned(),
        (None, known) => format!("; there are: {}", known.join(", ")),
    }
}
