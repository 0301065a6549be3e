//! `gristmill plan` and `apply`: from what is deployed to an edited file.

use std::io::{IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use gristmill_deploy::{Deployment, Reply, Request, Revision, StateDir};
use gristmill_runner::{ChangeKind, Changes, remains};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::args::{ApplyArgs, FileArgs, PlanArgs};
use crate::deployed::{self, How};
use crate::{Outcome, UsageError, output, project};

/// A plan as a file has it: enough to find out whether it still holds.
#[derive(Debug, Serialize, Deserialize)]
struct Saved {
    pipeline: String,
    /// The deployed revision that it was made for.
    base: u64,
    /// Of the revision that it leads to.
    digest: String,
    file: PathBuf,
    set: Vec<String>,
    secrets: Option<PathBuf>,
    changes: Vec<SavedChange>,
    notes: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct SavedChange {
    stage: String,
    /// `in-place`, `restart`, `start` or `stop`.
    action: String,
    /// Which keys changed, of a restart.
    keys: Vec<String>,
}

/// What an edited file would change.
struct Planned {
    deployment: Deployment,
    base: u64,
    revision: Revision,
    /// The new revision, made and not yet deployed.
    staged: TempDir,
    changes: Changes,
    /// Whether anything is different, be it what no stage sees.
    differs: bool,
}

pub(super) fn show(args: PlanArgs) -> anyhow::Result<Outcome> {
    let planned = plan(&args.file)?;
    let saved = planned.saved();
    if let Some(path) = &args.output {
        let mut options = std::fs::File::options();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options
            .open(path)
            .with_context(|| path.display().to_string())?;
        file.write_all(serde_json::to_string_pretty(&saved)?.as_bytes())?;
    }
    if args.json {
        output::line(&serde_json::to_string(&saved)?)?;
        return Ok(Outcome::Done);
    }
    output::line(&planned.text())?;
    if planned.differs {
        let path = args
            .output
            .as_ref()
            .map(|path| format!(" {}", path.display()));
        output::note(&format!(
            "\nNothing is changed yet: `gristmill apply{}` does this.",
            path.unwrap_or_default()
        ));
    }
    Ok(Outcome::Done)
}

pub(super) fn apply(args: ApplyArgs) -> anyhow::Result<Outcome> {
    let planned = match &args.plan {
        None => plan(&args.file)?,
        Some(path) => planned_before(path)?,
    };
    if !planned.deployment.is_locked() {
        bail!(
            "{} does not run: `gristmill deploy start` starts it as the file says now",
            planned.deployment.name
        );
    }
    output::line(&planned.text())?;
    if !planned.differs {
        return Ok(Outcome::Done);
    }
    if args.plan.is_none() && !args.yes && !agreed()? {
        output::note("Nothing is changed.");
        return Ok(Outcome::Failed);
    }
    let request = Request::Apply {
        base: planned.base,
        staged: planned.staged.path().to_owned(),
    };
    match planned.deployment.ask(&request)? {
        Reply::Done(_) => {}
        _ => bail!("the supervisor answered something else"),
    }
    output::note(&format!("{}: done", planned.deployment.name));
    Ok(Outcome::Done)
}

fn agreed() -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() {
        return Err(UsageError(
            "there is nobody to ask\n  = help: say --yes, or `gristmill plan -o FILE`, read it, and \
             `gristmill apply FILE`"
                .to_owned(),
        )
        .into());
    }
    output::note("\nDo this? [y/N]");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// The plan in the file at `path`, if it still is what would happen.
fn planned_before(path: &Path) -> anyhow::Result<Planned> {
    let shown = path.display();
    let invalid = |error: &dyn std::fmt::Display| UsageError(format!("{shown}: {error}"));
    let text = std::fs::read_to_string(path).map_err(|error| invalid(&error))?;
    let saved: Saved = serde_json::from_str(&text)
        .map_err(|error| invalid(&format!("not a plan of `gristmill plan -o`: {error}")))?;
    let planned = plan(&FileArgs {
        file: saved.file,
        set: saved.set,
        secrets: saved.secrets,
    })?;
    let stale = if planned.deployment.name != saved.pipeline {
        "the file is of another pipeline now".to_owned()
    } else if planned.base != saved.base {
        format!(
            "it was made for revision {}, and revision {} is deployed",
            saved.base, planned.base
        )
    } else if planned.revision.digest != saved.digest {
        "the file, or a module that it names, was changed since".to_owned()
    } else {
        return Ok(planned);
    };
    bail!("{shown} is stale: {stale}; nothing is changed\n  = help: plan anew")
}

/// Compare the file with what is deployed of its pipeline.
fn plan(args: &FileArgs) -> anyhow::Result<Planned> {
    let state = StateDir::of_user()?;
    let file = std::path::absolute(&args.file)?;
    // Told by its file first: its secrets are needed to read it.
    let known = state.deployments()?.iter().find_map(|deployment| {
        let (.., revision) = deployed::current(deployment).ok()?;
        (revision.file == file).then_some(revision)
    });
    let with_defaults = |old: &Revision| FileArgs {
        file: args.file.clone(),
        set: if args.set.is_empty() {
            old.set.clone()
        } else {
            args.set.clone()
        },
        secrets: args.secrets.clone().or_else(|| old.secrets.clone()),
    };
    let first = known.as_ref().map_or_else(|| args.clone(), with_defaults);
    let name = project::load(&first)?.manifest.name;
    let deployment = state.deployment(&name);
    if deployment.deployed()?.is_none() {
        return Err(not_deployed(known.as_ref(), &name));
    }
    let (base, dir, old) = deployed::current(&deployment)?;
    let args = with_defaults(&old);
    let before = deployed::plan(&old, &dir, &old.running(), None)?;
    let of_file = before.manifest.metrics.listen;
    let how = How {
        local: old.local.clone(),
        // What `--listen` said, if it was said.
        listen: old.listen.filter(|listen| Some(*listen) != of_file),
        cwd: old.cwd.clone(),
    };
    let staged = deployment.stage()?;
    // A stage that was there and was not deployed stays so; one that is new is.
    let runs = |name: &str| {
        let mut entries = old.stages.iter();
        entries
            .find(|entry| entry.name == name)
            .is_none_or(|entry| entry.runs)
    };
    let new = deployed::stage(&args, how, staged.path(), runs)?;
    let after = deployed::plan(&new, staged.path(), &new.running(), Some(&before))?;
    let is_local = new.local.is_some();
    let mut changes = match is_local {
        true => Changes::between(&before, &after),
        false => Changes::of_files(&before, &after),
    };
    let topics: Vec<&str> = after
        .stages
        .iter()
        .map(|stage| stage.topic.as_str())
        .collect();
    let gone = changes
        .stages
        .iter()
        .filter(|change| change.kind == ChangeKind::Stop);
    let remaining: Vec<String> = gone
        .filter_map(|change| remains(&before, &change.stage, &topics, is_local))
        .collect();
    changes.notes.extend(remaining);
    Ok(Planned {
        differs: new.digest != old.digest,
        deployment,
        base,
        revision: new,
        staged,
        changes,
    })
}

/// Why there is nothing to compare with, if `same_file` is what is deployed of the file.
fn not_deployed(same_file: Option<&Revision>, name: &str) -> anyhow::Error {
    match same_file.map(|revision| &revision.pipeline) {
        Some(old) => anyhow::anyhow!(
            "`meta.name` is now `{name}`, and this file is deployed as `{old}`: positions go by the \
             pipeline's name, so `{name}` would read and count everything anew\n  = help: change it \
             back, or `gristmill deploy shutdown {old}` and start `{name}` beside its data"
        ),
        None => anyhow::anyhow!("{name} is not deployed: `gristmill deploy start` starts it"),
    }
}

impl Planned {
    fn saved(&self) -> Saved {
        let changes = self.changes.stages.iter();
        Saved {
            pipeline: self.deployment.name.clone(),
            base: self.base,
            digest: self.revision.digest.clone(),
            file: self.revision.file.clone(),
            set: self.revision.set.clone(),
            secrets: self.revision.secrets.clone(),
            changes: changes
                .map(|change| SavedChange {
                    stage: change.stage.clone(),
                    action: change.kind.word().to_owned(),
                    keys: match &change.kind {
                        ChangeKind::Restart(keys) => keys.iter().map(ToString::to_string).collect(),
                        _ => Vec::new(),
                    },
                })
                .collect(),
            notes: self.changes.notes.clone(),
        }
    }

    fn text(&self) -> String {
        let name = &self.deployment.name;
        if !self.differs {
            return format!(
                "{name}: nothing to change, revision {} is deployed",
                self.base
            );
        }
        let mut text = format!(
            "{name}, revision {}, to {}",
            self.base,
            self.revision.file.display()
        );
        if self.changes.is_empty() {
            text.push_str("\n    no stage sees a difference");
        }
        for change in &self.changes.stages {
            let sign = match change.kind {
                ChangeKind::Swap => "~",
                ChangeKind::Restart(_) => "↻",
                ChangeKind::Scale { .. } => "±",
                ChangeKind::Start => "+",
                ChangeKind::Stop => "-",
            };
            text.push_str(&format!("\n  {sign} {change}"));
        }
        for note in &self.changes.notes {
            text.push_str(&format!("\nnote: {note}"));
        }
        text
    }
}
