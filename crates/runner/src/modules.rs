//! Where SmartModules are looked for.

use std::path::{Path, PathBuf};

pub use gristmill_smartbuild::Sources as ModuleSources;

/// Names folders of SmartModules (sources or built ones), separated as in `PATH`.
const ENV: &str = "GRISTMILL_SMARTMODULES";

/// The folders that may hold a pipeline's SmartModules, nearest first: those that the environment
/// names, `smartmodules/` beside the pipeline file and above it, the one beside an installed
/// binary, and the one of the clone that this binary was built from.
pub fn module_sources(pipeline_file: &Path) -> ModuleSources {
    let mut dirs: Vec<PathBuf> = Vec::new();
    if let Some(paths) = std::env::var_os(ENV) {
        dirs.extend(std::env::split_paths(&paths));
    }
    let start = std::path::absolute(pipeline_file).unwrap_or_else(|_| pipeline_file.to_owned());
    dirs.extend(
        start
            .ancestors()
            .skip(1)
            .map(|dir| dir.join("smartmodules")),
    );
    if let Ok(exe) = std::env::current_exe()
        && let Some(prefix) = exe.parent().and_then(Path::parent)
    {
        dirs.push(prefix.join("share/gristmill/smartmodules"));
    }
    dirs.push(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../smartmodules"));
    dirs.retain(|dir| dir.is_dir());
    dirs.dedup();
    let base = start.parent().unwrap_or(Path::new("."));
    ModuleSources::new(dirs).at(base)
}

/// Where compiled modules are kept: in the user's cache directory, which only the user can write.
pub fn compiled_modules_dir() -> Option<PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))?;
    base.is_absolute().then(|| base.join("gristmill"))
}
