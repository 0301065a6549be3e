//! From the command line's file and `--set` to a manifest, a plan and a backend.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use gristmill_manifest::{Diagnostic, Diagnostics, Manifest, Override, Place, TEXT_BYTES_MAX};
use gristmill_runner::{
    Backend, BackendError, CountStore, LOCAL_DIR, ModuleSources, Plan, PlanError, module_sources,
    registry,
};

use crate::args::{FileArgs, LocalArgs};
use crate::secrets::Secrets;
use crate::{UsageError, logging, output};

mod holder;

use holder::Holder;

/// A file that was read and is valid.
pub(crate) struct Project {
    /// What it says.
    pub(crate) manifest: Manifest,
    /// Where it is; SmartModules and embedded topics are looked for beside it.
    pub(crate) file: PathBuf,
    /// SmartModules that are not looked for: they are those of a deployed revision.
    pub(crate) pinned: BTreeMap<String, PathBuf>,
}

/// What validation says: a manifest with warnings, or everything that is wrong.
type Checked = Result<(Manifest, Vec<Diagnostic>), Diagnostics>;

/// Read and validate the file. Warnings are shown; errors are a [`UsageError`] with all of them.
///
/// # Errors
/// An unreadable or invalid file, or an invalid `--set`.
pub(crate) fn load(args: &FileArgs) -> anyhow::Result<Project> {
    Ok(Project::new(&args.file, accept(&args.file, check(args)?)?))
}

/// [`load`] for a text that was read before.
///
/// # Errors
/// As [`load`], but for the file's.
pub(crate) fn load_text(args: &FileArgs, text: &[u8]) -> anyhow::Result<Project> {
    let secrets = Secrets::open(args.secrets.as_deref())?;
    let (manifest, _) = valid(&args.file, validate(&args.file, text, &args.set, &secrets)?)?;
    Ok(Project::new(&args.file, manifest))
}

/// [`load`] for a file that was loaded before: its warnings are given, not shown.
///
/// # Errors
/// As [`load`].
pub(crate) fn reload(args: &FileArgs) -> anyhow::Result<(Project, Vec<Diagnostic>)> {
    let (manifest, warnings) = valid(&args.file, check(args)?)?;
    Ok((Project::new(&args.file, manifest), warnings))
}

/// Read and validate the file, and leave it to the caller what to say.
///
/// # Errors
/// An unreadable file, or a `--set` without a path.
pub(crate) fn check(args: &FileArgs) -> anyhow::Result<Checked> {
    let bytes = text(args)?;
    let secrets = Secrets::open(args.secrets.as_deref())?;
    validate(&args.file, &bytes, &args.set, &secrets)
}

/// The file's text, not looked into.
///
/// # Errors
/// An unreadable file.
pub(crate) fn text(args: &FileArgs) -> anyhow::Result<Vec<u8>> {
    let bytes = read(&args.file).map_err(|error| {
        let name = args.file.display();
        let help = match error.kind() {
            io::ErrorKind::NotFound => "run where the file is, or name it with --file",
            io::ErrorKind::IsADirectory => "name the file in it with --file",
            _ => "check the file's rights",
        };
        UsageError(format!("cannot read {name}: {error}\n  = help: {help}"))
    })?;
    Ok(bytes)
}

/// The file's bytes; of one that is too large to be a manifest only enough to say so.
fn read(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let max = TEXT_BYTES_MAX as u64 + 1;
    File::open(file)?.take(max).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Validate `text`, which is or stands for `file`. Warnings are shown.
///
/// # Errors
/// As [`load`].
pub(crate) fn parse(file: &Path, text: &str, set: &[String]) -> anyhow::Result<Manifest> {
    accept(
        file,
        validate(file, text.as_bytes(), set, &Secrets::Environment)?,
    )
}

fn validate(
    file: &Path,
    bytes: &[u8],
    set: &[String],
    secrets: &Secrets,
) -> anyhow::Result<Checked> {
    let overrides = set
        .iter()
        .map(|text| Override::parse(text))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| UsageError(format!("--set: {error}")))?;
    let name = file.display().to_string();
    Ok(Manifest::load_bytes(
        &name,
        bytes,
        &registry::specs(),
        &overrides,
        secrets,
    ))
}

fn accept(file: &Path, checked: Checked) -> anyhow::Result<Manifest> {
    let (manifest, warnings) = valid(file, checked)?;
    warn(&warnings);
    Ok(manifest)
}

/// Show warnings.
pub(crate) fn warn(warnings: &[Diagnostic]) {
    for warning in warnings {
        output::note(warning.render(output::is_live()).trim_end());
    }
}

fn valid(file: &Path, checked: Checked) -> anyhow::Result<(Manifest, Vec<Diagnostic>)> {
    let (mut manifest, warnings) = checked.map_err(|errors| {
        let rendered = errors.render(output::is_live());
        UsageError(format!(
            "{} is not valid\n\n{}",
            file.display(),
            rendered.trim_end()
        ))
    })?;
    manifest.resolve_files(file.parent().unwrap_or(Path::new("")));
    logging::redact(manifest.redactions());
    Ok((manifest, warnings))
}

impl Project {
    /// `manifest`, which is what `file` says.
    pub(crate) fn new(file: &Path, manifest: Manifest) -> Self {
        Self {
            manifest,
            file: file.to_owned(),
            pinned: BTreeMap::new(),
        }
    }

    /// Where its SmartModules come from.
    pub(crate) fn sources(&self) -> ModuleSources {
        ModuleSources {
            pinned: self.pinned.clone(),
            ..module_sources(&self.file)
        }
    }

    /// Everything made that can fail before a broker is asked.
    ///
    /// # Errors
    /// A section that makes no sense, a SmartModule that is missing or does not build.
    pub(crate) fn plan(&self, only: &[String]) -> anyhow::Result<Plan> {
        let sources = self.sources();
        let manifest = self.manifest.clone();
        Plan::new(manifest, only, &sources, &mut |text| output::note(text))
            .map_err(|error| self.wrong(&error))
    }

    /// The plan that follows `plan` after a change.
    ///
    /// # Errors
    /// As [`plan`](Self::plan).
    pub(crate) fn renewed(&self, plan: &Plan) -> anyhow::Result<Plan> {
        let sources = self.sources();
        let manifest = self.manifest.clone();
        plan.renewed(manifest, &sources, &mut |text| output::note(text))
            .map_err(|error| self.wrong(&error))
    }

    fn wrong(&self, error: &PlanError) -> anyhow::Error {
        self.located(error.place(), error)
    }

    fn located(&self, place: Option<Place>, error: &dyn std::error::Error) -> anyhow::Error {
        let file = self.file.display();
        let text = match place {
            Some(Place { line, column }) => format!("{file}:{line}:{column}: {error}"),
            None => format!("{file}: {error}"),
        };
        UsageError(text).into()
    }

    /// A reader of the counts in `backend`; connects when it is first asked.
    ///
    /// # Errors
    /// A sink's section that makes no sense, or names certificates that cannot be used.
    pub(crate) fn counts(&self, backend: &Backend) -> anyhow::Result<CountStore> {
        CountStore::open(&self.manifest, backend).map_err(|error| self.unusable(error))
    }

    /// The cluster that the file names.
    ///
    /// # Errors
    /// No brokers; certificates that cannot be used.
    pub(crate) fn cluster(&self) -> anyhow::Result<Backend> {
        Backend::cluster(&self.manifest).map_err(|error| self.unusable(error))
    }

    fn unusable(&self, error: BackendError) -> anyhow::Error {
        match error.place() {
            Some(place) => self.located(Some(place), &error),
            None => error.into(),
        }
    }

    /// As [`Project::backend`], for those who only look: an embedded one must be there already.
    ///
    /// # Errors
    /// As [`Project::backend`], and a directory that is not there.
    pub(crate) fn existing_backend(&self, local: &LocalArgs) -> anyhow::Result<Backend> {
        if let Some(dir) = self.local_dir(local).filter(|dir| !dir.exists()) {
            anyhow::bail!(
                "no embedded topics in {}: name their directory with --local=DIR, or run \
                 `gristmill up --local` first",
                dir.display()
            );
        }
        self.backend(local)
    }

    /// The directory of embedded topics and counts, if the command line asks for them.
    pub(crate) fn local_dir(&self, local: &LocalArgs) -> Option<PathBuf> {
        let beside = || self.file.parent().unwrap_or(Path::new("")).join(LOCAL_DIR);
        local
            .local
            .as_ref()
            .map(|dir| dir.clone().unwrap_or_else(beside))
    }

    /// The cluster that the file names, or the directory that the command line asks for.
    ///
    /// # Errors
    /// No brokers; a directory that cannot be used.
    pub(crate) fn backend(&self, local: &LocalArgs) -> anyhow::Result<Backend> {
        match self.local_dir(local) {
            Some(dir) => open_local(&dir),
            None => self.cluster(),
        }
    }
}

/// Embedded topics and counts in `dir`.
///
/// # Errors
/// A directory that cannot be used; one that another process has, with who that is.
pub(crate) fn open_local(dir: &Path) -> anyhow::Result<Backend> {
    Backend::local(dir).map_err(|error| {
        let what = format!("embedded topics in {}", dir.display());
        match Holder::of(&error) {
            Some(holder) => {
                let text = format!("{what}: {}", holder.text());
                anyhow::Error::new(InUse(holder)).context(text)
            }
            None => anyhow::Error::new(error).context(what),
        }
    })
}

/// Another process has the directory.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.text())]
pub(crate) struct InUse(pub(crate) Holder);
