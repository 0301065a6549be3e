//! `gristmill smartmodule new`: a crate that builds and tests at once.

use std::path::{Path, PathBuf};

use anyhow::Context;
use gristmill_smartbuild::{Template, scaffold, sdk_above};

use crate::args::{ModuleKind, SmartModuleNewArgs};
use crate::{Outcome, UsageError, output};

pub(super) fn run(args: &SmartModuleNewArgs) -> anyhow::Result<Outcome> {
    let dir = match &args.dir {
        Some(dir) => dir.clone(),
        None => modules_dir(),
    };
    let sdk = match &args.sdk {
        Some(sdk) => sdk.clone(),
        None => sdk(&dir)?,
    };
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let template = match args.kind {
        ModuleKind::Filter => Template::Filter,
        ModuleKind::Map => Template::Map,
        ModuleKind::FilterMap => Template::FilterMap,
        ModuleKind::ArrayMap => Template::ArrayMap,
        ModuleKind::Aggregate => Template::Aggregate,
    };
    let made = scaffold(&args.name, template, &dir, &sdk);
    let home = made.map_err(|error| UsageError(error.to_string()))?;
    output::line(&home.display().to_string())?;
    let (name, home) = (&args.name, home.display());
    let (text, params) = match args.kind {
        ModuleKind::Filter => ("'a word'", " -e text=word"),
        ModuleKind::Map => ("world", " -e prefix='hello '"),
        ModuleKind::FilterMap => (r#"'{"type":"edit"}'"#, " -e field=type"),
        ModuleKind::ArrayMap => ("a,b,c", ""),
        ModuleKind::Aggregate => ("42", ""),
    };
    output::note(&format!(
        "Next:\n  edit {home}/src/lib.rs\n  cargo test --manifest-path {home}/Cargo.toml\n  \
         gristmill smartmodule test {home} --text {text}{params}\n  \
         gristmill smartmodule bench {home}{params}\n  \
         in pipeline.yaml, under transforms: `- uses: {name}@0.1.0`"
    ));
    Ok(Outcome::Done)
}

/// `smartmodules/` here or above, where `uses` looks; a new one here else.
fn modules_dir() -> PathBuf {
    let here = std::env::current_dir().unwrap_or_default();
    let mut dirs = here.ancestors().map(|dir| dir.join("smartmodules"));
    let found = dirs.find(|dir| dir.is_dir());
    match found {
        // Short where it can be.
        Some(dir) => dir.strip_prefix(&here).map(Path::to_owned).unwrap_or(dir),
        None => PathBuf::from("smartmodules"),
    }
}

/// The SDK of the clone that the new crate is in, else of the one that this binary was built from.
fn sdk(dir: &Path) -> anyhow::Result<PathBuf> {
    let built_from = Path::new(env!("CARGO_MANIFEST_DIR"));
    sdk_above(dir)
        .or_else(|| sdk_above(built_from))
        .ok_or_else(|| {
            UsageError(
                "the guest SDK is not here\n  = help: a SmartModule is built on the crate \
             `crates/smartmodule` of a Gristmill clone: run within one, or name that folder with \
             --sdk"
                    .to_owned(),
            )
            .into()
        })
}
