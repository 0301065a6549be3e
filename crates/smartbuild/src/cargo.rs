//! The build itself.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::toolchain::{self, Toolchain};
use crate::{BuildError, process};

/// The target of every SmartModule.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";
/// Instructions beyond WASM's first version; every engine of the last years has them.
pub(crate) const FEATURES: &str = "+simd128,+bulk-memory";
/// The release profile of guests, whatever their workspace says.
pub(crate) const PROFILE: [&str; 5] = [
    "profile.release.opt-level=3",
    "profile.release.lto=true",
    "profile.release.codegen-units=1",
    "profile.release.panic=\"abort\"",
    "profile.release.strip=\"debuginfo\"",
];
/// Lines of cargo's output that an error shows.
const ERROR_LINES: usize = 40;

/// Variables of our own build that would change the child's: cargo's for crates and build scripts,
/// and overrides meant for the host.
const SCRUBBED_PREFIXES: [&str; 8] = [
    "CARGO_BUILD_",
    "CARGO_CFG_",
    "CARGO_FEATURE_",
    "CARGO_MANIFEST_",
    "CARGO_PKG_",
    "CARGO_PROFILE_",
    "CARGO_TARGET_",
    "CARGO_UNSTABLE_",
];
const SCRUBBED: [&str; 15] = [
    "CARGO",
    "CARGO_BIN_NAME",
    "CARGO_CRATE_NAME",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_INCREMENTAL",
    "CARGO_MAKEFLAGS",
    "CARGO_PRIMARY_PACKAGE",
    "MAKEFLAGS",
    "OUT_DIR",
    "RUSTC",
    "RUSTC_BOOTSTRAP",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_WRAPPER",
    "RUSTDOC",
    "RUSTFLAGS",
];

/// Build the crate in `dir` and give the WASM file that cargo made.
pub(crate) fn build(
    name: &str,
    dir: &Path,
    cache_dir: &Path,
    progress: &mut dyn FnMut(&str),
) -> Result<PathBuf, BuildError> {
    let dir = dir
        .canonicalize()
        .map_err(|error| BuildError::io(dir, error))?;
    let cache_dir = cache_dir
        .canonicalize()
        .map_err(|error| BuildError::io(cache_dir, error))?;
    let toolchain = toolchain::choose(name, &dir, &cache_dir, progress)?;
    let target_dir = cache_dir.join("build").join(toolchain.name());
    let about = match target_dir.is_dir() {
        true => "",
        false => " (first time, about a minute)",
    };
    progress(&format!("building {name}{about}"));
    let started = Instant::now();
    let mut cargo = cargo(&dir);
    cargo
        .args(["build", "--release", "--lib", "--target", TARGET])
        .arg("--manifest-path")
        .arg(dir.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&target_dir);
    for setting in PROFILE {
        cargo.args(["--config", setting]);
    }
    toolchain.configure(&mut cargo);
    process::run(&mut cargo, None).map_err(|output| BuildError::Compile {
        name: name.to_owned(),
        dir: dir.clone(),
        output: last_lines(&output, ERROR_LINES),
    })?;
    let seconds = started.elapsed().as_secs_f32();
    tracing::debug!(
        module = name,
        seconds,
        toolchain = toolchain.name(),
        "built"
    );
    let file = format!("{}.wasm", name.replace('-', "_"));
    let wasm = target_dir.join(TARGET).join("release").join(file);
    match wasm.is_file() {
        true => Ok(wasm),
        false => Err(BuildError::Manifest {
            path: dir.join("Cargo.toml"),
            reason: format!(
                "built, but made no {}; the package must be called `{name}` and have \
                 `[lib] crate-type = [\"cdylib\"]`",
                wasm.display()
            ),
        }),
    }
}

/// A cargo for `dir` that knows nothing of the cargo that may be running us.
pub(crate) fn cargo(dir: &Path) -> Command {
    clean(Command::new("cargo"), dir)
}

/// `command` in `dir`, without the variables of a build that is running us.
pub(crate) fn clean(mut command: Command, dir: &Path) -> Command {
    command.current_dir(dir);
    for (name, _) in std::env::vars_os() {
        let Some(text) = name.to_str() else { continue };
        if SCRUBBED.contains(&text) || SCRUBBED_PREFIXES.iter().any(|p| text.starts_with(p)) {
            command.env_remove(&name);
        }
    }
    command
}

impl Toolchain {
    /// Flags and variables for cargo.
    fn configure(&self, cargo: &mut Command) {
        let features = format!("-Ctarget-feature={FEATURES}");
        match self {
            Self::Installed => {
                cargo.env("CARGO_ENCODED_RUSTFLAGS", features);
            }
            Self::Debian {
                rustc,
                libraries,
                linker,
            } => {
                cargo.args(["-Zbuild-std=std,panic_abort"]);
                // rustc 1.96 no longer passes it: `copy_records` is the host's.
                let flags = [features.as_str(), "-Clink-arg=--allow-undefined"].join("\u{1f}");
                cargo.env("CARGO_ENCODED_RUSTFLAGS", flags);
                cargo.env("RUSTC_BOOTSTRAP", "1");
                cargo.env("RUSTC", rustc);
                cargo.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
                if let Some(libraries) = libraries {
                    cargo.env("LD_LIBRARY_PATH", libraries);
                }
            }
        }
    }
}

fn last_lines(text: &str, lines: usize) -> String {
    let all: Vec<_> = text.trim_end().lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
