//! What builds for `wasm32-unknown-unknown` on this machine.
//!
//! Tried in order:
//! 1. the target of the user's own `rustc`, if it is installed;
//! 2. `rustup target add wasm32-unknown-unknown`, given up after a minute without progress;
//! 3. Debian's `rustc-web` with the standard library's sources (`rust-web-src`), installed, or
//!    fetched with `apt-get download` and unpacked into the cache: no root, nothing of the system
//!    is touched. Cargo is the user's own; it builds the standard library too.
//!
//! [`VARIABLE`] picks one: `rustup` (1 and 2), `debian` (3) or `auto` (all, the default).

mod debian;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::cargo::{TARGET, clean};
use crate::{BuildError, process};

/// The environment variable that picks a toolchain: `auto`, `rustup` or `debian`.
pub const VARIABLE: &str = "GRISTMILL_WASM_TOOLCHAIN";

/// A download that writes nothing for so long is given up.
const SILENCE_MAX: Duration = Duration::from_secs(60);

const REMEDY: &str = "Remedy: `rustup target add wasm32-unknown-unknown` (with network), or on \
                      Debian 12 `apt-get install rustc-web rust-web-src lld`.";

/// A way to build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Toolchain {
    /// The user's `rustc` has the target.
    Installed,
    /// Debian's `rustc`, building the standard library from source.
    Debian {
        rustc: PathBuf,
        /// Where its shared libraries are, if not where the system looks.
        libraries: Option<PathBuf>,
        linker: PathBuf,
    },
}

impl Toolchain {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Installed => "rustup",
            Self::Debian { .. } => "debian",
        }
    }
}

/// Find a toolchain to build module `name` in `dir`.
pub(crate) fn choose(
    name: &str,
    dir: &Path,
    cache_dir: &Path,
    progress: &mut dyn FnMut(&str),
) -> Result<Toolchain, BuildError> {
    let fail = |reason: String| BuildError::Toolchain {
        name: name.to_owned(),
        reason,
        remedy: REMEDY.to_owned(),
    };
    let choice = std::env::var(VARIABLE).unwrap_or_default();
    let (rustup, debian) = match choice.as_str() {
        "" | "auto" => (true, true),
        "rustup" => (true, false),
        "debian" => (false, true),
        other => {
            return Err(fail(format!(
                "{VARIABLE} is `{other}`; it takes auto, rustup or debian"
            )));
        }
    };
    let mut tried = Vec::new();
    if rustup {
        match installed(dir, progress) {
            Ok(()) => return Ok(Toolchain::Installed),
            Err(reason) => tried.push(reason),
        }
    }
    if debian {
        match debian::toolchain(dir, cache_dir, progress) {
            Ok(toolchain) => return Ok(toolchain),
            Err(reason) => tried.push(reason),
        }
    }
    Err(fail(tried.join("; ")))
}

fn installed(dir: &Path, progress: &mut dyn FnMut(&str)) -> Result<(), String> {
    let has_target = || -> Result<bool, String> {
        let output = process::run(
            clean(Command::new("rustc"), dir).args([
                "--print",
                "target-libdir",
                "--target",
                TARGET,
            ]),
            None,
        )?;
        // rustc prints where the target would be, whether or not it is there.
        let libdir = output.lines().last().unwrap_or_default().trim().to_owned();
        Ok(std::fs::read_dir(libdir).is_ok_and(|entries| {
            entries
                .flatten()
                .any(|entry| entry.file_name().as_encoded_bytes().starts_with(b"libcore"))
        }))
    };
    if has_target()? {
        return Ok(());
    }
    progress(&format!("asking rustup for {TARGET}"));
    process::run(
        clean(Command::new("rustup"), dir).args(["target", "add", TARGET]),
        Some(SILENCE_MAX),
    )
    .map_err(|reason| format!("rustc has no {TARGET}; {}", short(&reason)))?;
    match has_target()? {
        true => Ok(()),
        false => Err(format!(
            "rustup added {TARGET}, but not for the rustc on PATH"
        )),
    }
}

/// The last line of a child's words: where the cause is.
fn short(text: &str) -> String {
    let line = text.trim().lines().last().unwrap_or_default().trim();
    match text.lines().next() {
        Some(first) if first.trim() != line => format!("{}: {line}", head(first)),
        _ => line.to_owned(),
    }
}

/// "rustup failed (exit status: 1)" of "rustup failed (exit status: 1): info: …".
fn head(first: &str) -> &str {
    match first.find("): ") {
        Some(end) => &first[..=end],
        None => first.trim(),
    }
}
