//! Debian's `rustc-web`: a current rustc for an old Debian, without a wasm32 standard library but
//! with its sources.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{SILENCE_MAX, Toolchain, short};
use crate::cargo::clean;
use crate::process;

/// Edition 2024 and a standard library that builds as its sources are.
const RUSTC_MINOR_MIN: u32 = 90;
/// The compiler, the standard library for the host (build scripts, macros), and its sources.
const PACKAGES: [&str; 3] = ["rustc-web", "libstd-rust-web-dev", "rust-web-src"];

/// Debian's rustc, installed or fetched into `cache_dir`.
pub(super) fn toolchain(
    dir: &Path,
    cache_dir: &Path,
    progress: &mut dyn FnMut(&str),
) -> Result<Toolchain, String> {
    let system = Path::new("/usr/bin/rustc");
    if is_fit(dir, system, None) {
        let linker = linker(dir, None).ok_or("no rust-lld or wasm-ld found to link with")?;
        return Ok(Toolchain::Debian {
            rustc: system.to_owned(),
            libraries: None,
            linker,
        });
    }
    let root = cache_dir.join("debian");
    let rustc = root.join("usr/bin/rustc");
    if !is_fit(dir, &rustc, libraries(&root).as_deref()) {
        fetch(dir, &root, progress)?;
    }
    let libraries = libraries(&root);
    if !is_fit(dir, &rustc, libraries.as_deref()) {
        return Err(format!("Debian's rustc in {} does not run", root.display()));
    }
    let linker = linker(dir, Some(&root)).ok_or("no rust-lld or wasm-ld found to link with")?;
    Ok(Toolchain::Debian {
        rustc,
        libraries,
        linker,
    })
}

/// Whether `rustc` runs, is new enough and has the standard library's sources beside it.
fn is_fit(dir: &Path, rustc: &Path, libraries: Option<&Path>) -> bool {
    if !rustc.is_file() {
        return false;
    }
    let print = |what: &str| {
        let mut command = clean(Command::new(rustc), dir);
        if let Some(libraries) = libraries {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        process::run(command.args(what.split(' ')), Some(SILENCE_MAX)).unwrap_or_default()
    };
    let minor = print("--version")
        .strip_prefix("rustc 1.")
        .and_then(|rest| rest.split('.').next()?.parse::<u32>().ok());
    let sysroot = PathBuf::from(print("--print sysroot").trim());
    minor.is_some_and(|minor| minor >= RUSTC_MINOR_MIN)
        && sysroot
            .join("lib/rustlib/src/rust/library/Cargo.toml")
            .is_file()
}

/// `usr/lib/<triple>` in `root`: where Debian puts shared libraries.
fn libraries(root: &Path) -> Option<PathBuf> {
    let dirs = std::fs::read_dir(root.join("usr/lib")).ok()?.flatten();
    dirs.map(|entry| entry.path()).find(|path| {
        path.file_name()
            .is_some_and(|name| name.as_encoded_bytes().ends_with(b"-linux-gnu"))
    })
}

/// A linker for wasm: rustup's `rust-lld`, or LLVM's `wasm-ld`.
fn linker(dir: &Path, root: Option<&Path>) -> Option<PathBuf> {
    let mut places = Vec::new();
    if let Ok(sysroot) = process::run(
        clean(Command::new("rustc"), dir).args(["--print", "sysroot"]),
        None,
    ) {
        let rustlib = Path::new(sysroot.trim()).join("lib/rustlib");
        let targets = std::fs::read_dir(rustlib).into_iter().flatten().flatten();
        places.extend(targets.map(|target| target.path().join("bin/rust-lld")));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    places.extend(std::env::split_paths(&path).map(|dir| dir.join("wasm-ld")));
    let usr = [
        Some(PathBuf::from("/usr")),
        root.map(|root| root.join("usr")),
    ];
    for lib in usr.into_iter().flatten().map(|usr| usr.join("lib")) {
        let llvms = std::fs::read_dir(lib).into_iter().flatten().flatten();
        places.extend(llvms.map(|llvm| llvm.path().join("bin/wasm-ld")));
    }
    places.into_iter().find(|place| place.is_file())
}

/// Download the packages and what they need that is not installed, and unpack them into `root`,
/// which appears whole or not at all.
fn fetch(dir: &Path, root: &Path, progress: &mut dyn FnMut(&str)) -> Result<(), String> {
    let step = |what: &str, command: &mut Command| {
        process::run(command, Some(SILENCE_MAX))
            .map_err(|reason| format!("{what}: {}", short(&reason)))
    };
    let mut packages: Vec<String> = PACKAGES.map(str::to_owned).into();
    let needed = step(
        "Debian's rustc-web",
        clean(Command::new("apt-cache"), dir).args([
            "depends",
            "--recurse",
            "--important",
            "libstd-rust-web-dev",
        ]),
    )?;
    if !needed
        .lines()
        .any(|line| line.starts_with("libstd-rust-web-"))
    {
        return Err("apt knows no rustc-web (run `apt-get update`, or not Debian 12)".to_owned());
    }
    for package in needed.lines().filter(|line| line.starts_with("lib")) {
        if !packages.iter().any(|p| p == package) && !is_installed(dir, package) {
            packages.push(package.to_owned());
        }
    }
    if linker(dir, None).is_none() {
        // The linker of the LLVM that comes anyhow: lld-22 for libllvm22.
        let version = packages
            .iter()
            .find_map(|package| package.strip_prefix("libllvm"));
        let version = version.ok_or("no rust-lld or wasm-ld found to link with")?;
        packages.push(format!("lld-{version}"));
    }
    progress("fetching Debian's wasm compiler (about 110 MB, once)");
    let parts = root.with_extension(format!("{}.tmp", std::process::id()));
    let unpacked = parts.join("root");
    std::fs::create_dir_all(&unpacked).map_err(|error| format!("{}: {error}", parts.display()))?;
    let result = (|| {
        let mut download = clean(Command::new("apt-get"), &parts);
        download.args([
            "download",
            "-o",
            "APT::Sandbox::User=",
            "-o",
            "Acquire::http::Timeout=30",
        ]);
        step("apt-get download", download.args(&packages))?;
        let entries = std::fs::read_dir(&parts).map_err(|error| error.to_string())?;
        for deb in entries.flatten().map(|entry| entry.path()) {
            if deb.extension() == Some(OsStr::new("deb")) {
                let mut dpkg = clean(Command::new("dpkg"), &parts);
                step("dpkg -x", dpkg.arg("-x").arg(&deb).arg(&unpacked))?;
            }
        }
        if root.exists() {
            std::fs::remove_dir_all(root).map_err(|error| error.to_string())?;
        }
        std::fs::rename(&unpacked, root).map_err(|error| error.to_string())
    })();
    let _ = std::fs::remove_dir_all(&parts);
    result
}

fn is_installed(dir: &Path, package: &str) -> bool {
    process::run(
        clean(Command::new("dpkg-query"), dir).args(["-W", "-f=${db:Status-Status}", package]),
        Some(SILENCE_MAX),
    )
    .is_ok_and(|status| status.trim() == "installed")
}
