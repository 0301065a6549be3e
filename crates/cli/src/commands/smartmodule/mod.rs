//! `gristmill smartmodule`: make one, build it, and run its real WASM on a few records or on many.

mod bench;
mod new;
mod test;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use anyhow::Context;
use gristmill_runner::{compiled_modules_dir, module_sources};
use gristmill_smartbuild::{BuildError, Built};
use gristmill_smartengine::{Chain, Engine, EngineError, EngineOptions, Limits, Module, Step};

use crate::args::{ModuleArgs, SmartModuleVerb};
use crate::{Outcome, UsageError, output};

pub(super) fn run(verb: SmartModuleVerb) -> anyhow::Result<Outcome> {
    match verb {
        SmartModuleVerb::New(args) => new::run(&args),
        SmartModuleVerb::Build { module, output } => build(module.as_deref(), output.as_deref()),
        SmartModuleVerb::Test(args) => test::run(&args),
        SmartModuleVerb::Bench(args) => bench::run(&args),
    }
}

/// Modules are looked for from the working directory up, as for a pipeline file in it. A folder
/// with a crate is taken as such, wherever it is; without a name, the crate is here.
fn resolve(module: Option<&str>) -> anyhow::Result<Built> {
    let sources = module_sources(Path::new("pipeline.yaml"));
    let mut progress = |text: &str| output::note(text);
    let dir = PathBuf::from(module.unwrap_or("."));
    let built = match (dir.join("Cargo.toml").is_file(), module) {
        (true, _) => sources.resolve_crate(&dir, &mut progress),
        (false, Some(name)) => sources.resolve(name, &mut progress),
        (false, None) => {
            let text = "there is no Cargo.toml here\n  = help: run where the SmartModule's crate \
                        is, or name one: `gristmill smartmodule build extract-type`";
            return Err(UsageError(text.to_owned()).into());
        }
    };
    built.map_err(|error| match error {
        // It was asked for in the right way and does not build.
        BuildError::Compile { .. } | BuildError::Toolchain { .. } => error.into(),
        error => UsageError(error.to_string()).into(),
    })
}

fn build(module: Option<&str>, to: Option<&Path>) -> anyhow::Result<Outcome> {
    let built = resolve(module)?;
    // A build that cargo likes may still be no SmartModule.
    load(&built)?;
    let path = match to {
        None => built.wasm,
        Some(to) => {
            std::fs::copy(&built.wasm, to)
                .with_context(|| format!("cannot write {}", to.display()))?;
            to.to_owned()
        }
    };
    output::line(&path.display().to_string())?;
    Ok(Outcome::Done)
}

fn load(built: &Built) -> anyhow::Result<Module> {
    let engine = Engine::new(EngineOptions {
        cache_dir: compiled_modules_dir(),
    })?;
    let module = engine.load(&built.name, &built.wasm);
    module.map_err(|error| refused(built, error))
}

/// A file that is no SmartModule is wrong usage; a crate that does not become one is not: whoever
/// works on it asked in the right way.
fn refused(built: &Built, error: EngineError) -> anyhow::Error {
    let is_file = built.manifest.is_none();
    match error {
        EngineError::Read { .. }
        | EngineError::Invalid { .. }
        | EngineError::NotASmartModule { .. }
            if is_file =>
        {
            let path = built.wasm.display();
            UsageError(format!(
                "{path}: {error}\n  = help: name a SmartModule, its crate's folder, or a .wasm file \
                 that `gristmill smartmodule build` or `smdk build` made"
            ))
            .into()
        }
        error => error.into(),
    }
}

/// The lines of a file with records; one that cannot be read is wrong usage.
fn file_lines(path: &Path) -> anyhow::Result<impl Iterator<Item = io::Result<Vec<u8>>> + use<>> {
    let file = open(path)
        .map_err(|error| UsageError(format!("cannot read {}: {error}", path.display())))?;
    Ok(lines(BufReader::new(file)))
}

/// Opens what can be read: the system opens a directory too, and refuses the first read of it.
fn open(path: &Path) -> io::Result<File> {
    let file = File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    Ok(file)
}

/// Lines without their ends. Not UTF-8 necessarily: a record is bytes.
fn lines(input: impl BufRead) -> impl Iterator<Item = io::Result<Vec<u8>>> {
    input.split(b'\n').map(|line| {
        let mut line = line?;
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Ok(line)
    })
}

/// The module that `args` name, built, with the parameters that they give.
fn chain(args: &ModuleArgs) -> anyhow::Result<(Built, Chain)> {
    let params = params(&args.params)?;
    let built = resolve(args.module.as_deref())?;
    if let Some(manifest) = &built.manifest {
        manifest
            .check_params(params.keys().map(String::as_str))
            .map_err(UsageError)?;
    }
    let step = Step {
        module: load(&built)?,
        params,
        lookback: None,
        limits: Limits::default(),
    };
    let chain = Chain::new(vec![step])?;
    Ok((built, chain))
}

fn params(params: &[String]) -> anyhow::Result<BTreeMap<String, String>> {
    let mut map = BTreeMap::new();
    for param in params {
        let Some((name, value)) = param.split_once('=') else {
            return Err(UsageError(format!("-e {param}: expected NAME=VALUE")).into());
        };
        if map.insert(name.to_owned(), value.to_owned()).is_some() {
            return Err(UsageError(format!("-e {name} is given twice")).into());
        }
    }
    Ok(map)
}
