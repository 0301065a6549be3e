//! Between pipeline files and what is deployed of them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use gristmill_deploy::{Deployment, Revision, StageEntry, StateDir};
use gristmill_manifest::nearest;
use gristmill_runner::Plan;

use crate::args::FileArgs;
use crate::project::{self, Project};
use crate::{UsageError, output};

/// How a pipeline is deployed, beside its file.
pub(crate) struct How {
    pub(crate) local: Option<PathBuf>,
    pub(crate) listen: Option<SocketAddr>,
    pub(crate) cwd: PathBuf,
}

/// What a user calls: a pipeline, or one stage of it.
pub(crate) struct Named {
    pub(crate) deployment: Deployment,
    pub(crate) stage: Option<String>,
}

/// Make a revision of `project` in `dir`, checked as far as that goes without a broker: names,
/// sections, and every module built, loaded and given its parameters. `runs` says which of its
/// stages run.
///
/// # Errors
/// An invalid file or module; a directory that cannot be written.
pub(crate) fn stage(
    args: &FileArgs,
    how: How,
    dir: &Path,
    runs: impl Fn(&str) -> bool,
) -> anyhow::Result<Revision> {
    let text = project::text(args)?;
    let project = project::load(args)?;
    project.plan(&[])?;
    let manifest = &project.manifest;
    let entry = |connector: &gristmill_manifest::Connector| StageEntry {
        name: connector.name.clone(),
        kind: connector.kind.clone(),
        topic: connector.topic.clone(),
        is_source: connector.direction == gristmill_manifest::Direction::Source,
        transforms: connector
            .transforms
            .iter()
            .map(|t| t.uses.to_string())
            .collect(),
        runs: runs(&connector.name),
    };
    let absolute = |path: &Path| std::path::absolute(path);
    let mut revision = Revision {
        pipeline: manifest.name.clone(),
        file: absolute(&args.file)?,
        cwd: how.cwd,
        set: args.set.clone(),
        secrets: args.secrets.as_deref().map(absolute).transpose()?,
        local: how.local.as_deref().map(absolute).transpose()?,
        listen: how.listen.or(manifest.metrics.listen),
        stages: manifest.connectors.iter().map(entry).collect(),
        modules: BTreeMap::new(),
        digest: String::new(),
    };
    let sources = project.sources();
    let transforms = manifest.connectors.iter().flat_map(|c| &c.transforms);
    for transform in transforms {
        let built = sources.resolve(&transform.uses, &mut |text| output::note(text))?;
        revision.add_module(dir, &transform.uses, &built.name, &built.wasm)?;
    }
    revision.save(dir, &text)?;
    // Saved meanwhile? What is deployed is what was checked.
    load(&revision, dir, &revision.running())?;
    Ok(revision)
}

/// The revision in `dir` as a project of the stages in `wanted`.
///
/// # Errors
/// A text that is not valid here and now: a secret that is not there.
pub(crate) fn load(revision: &Revision, dir: &Path, wanted: &[String]) -> anyhow::Result<Project> {
    let args = FileArgs {
        file: revision.file.clone(),
        set: revision.set.clone(),
        secrets: revision.secrets.clone(),
    };
    let mut project = project::load_text(&args, &Revision::text(dir)?)?;
    let connectors = &mut project.manifest.connectors;
    connectors.retain(|connector| wanted.contains(&connector.name));
    let modules = revision.modules.iter();
    project.pinned = modules
        .map(|(uses, path)| (uses.clone(), dir.join(path)))
        .collect();
    Ok(project)
}

/// The plan of the revision in `dir`, which follows `before` if there is one.
///
/// # Errors
/// As [`load`], and modules that cannot be loaded.
pub(crate) fn plan(
    revision: &Revision,
    dir: &Path,
    wanted: &[String],
    before: Option<&Plan>,
) -> anyhow::Result<Plan> {
    let project = load(revision, dir, wanted)?;
    match before {
        Some(before) => project.renewed(before),
        None => project.plan(&[]),
    }
}

/// What is deployed of `deployment`: its number, and where it is.
///
/// # Errors
/// A damaged state; nothing deployed.
pub(crate) fn current(deployment: &Deployment) -> anyhow::Result<(u64, PathBuf, Revision)> {
    let name = &deployment.name;
    let deployed = deployment
        .deployed()?
        .with_context(|| format!("{name} is not deployed: `gristmill deploy start` starts it"))?;
    let dir = deployment.revision_dir(deployed.revision);
    let revision = Revision::load(&dir)?;
    Ok((deployed.revision, dir, revision))
}

/// The deployment, and perhaps the stage, that `name` means.
///
/// # Errors
/// None of that name, or several.
pub(crate) fn find(name: &str) -> anyhow::Result<Named> {
    let all = StateDir::of_user()?.deployments()?;
    let stages = |deployment: &Deployment| {
        let revision = deployment
            .newest()
            .and_then(|dir| Revision::load(&dir).ok());
        let stages = revision.map(|revision| revision.stages).unwrap_or_default();
        stages
            .into_iter()
            .map(|stage| stage.name)
            .collect::<Vec<_>>()
    };
    let (pipeline, stage) = match name.split_once('/') {
        Some((pipeline, stage)) => (Some(pipeline), stage),
        None => (None, name),
    };
    if pipeline.is_none()
        && let Some(deployment) = all.iter().find(|deployment| deployment.name == name)
    {
        let deployment = deployment.clone();
        return Ok(Named {
            deployment,
            stage: None,
        });
    }
    let mut known = Vec::new();
    let mut found = Vec::new();
    for deployment in &all {
        known.push(deployment.name.clone());
        let right = pipeline.is_none_or(|pipeline| pipeline == deployment.name);
        let stages = stages(deployment);
        if right && stages.iter().any(|known| known == stage) {
            found.push(deployment.clone());
        }
        known.extend(stages);
    }
    match found.as_slice() {
        [deployment] => Ok(Named {
            deployment: deployment.clone(),
            stage: Some(stage.to_owned()),
        }),
        [] => {
            let help = match nearest(stage, &known) {
                Some(near) => format!("did you mean `{near}`?"),
                None if known.is_empty() => "`gristmill deploy start` deploys something".to_owned(),
                None => "`gristmill deploy list` shows what is deployed".to_owned(),
            };
            let text = format!("nothing of the name `{name}` is deployed\n  = help: {help}");
            Err(UsageError(text).into())
        }
        several => {
            let names: Vec<String> = several
                .iter()
                .map(|deployment| format!("`{}/{stage}`", deployment.name))
                .collect();
            Err(UsageError(format!(
                "`{name}` is a stage of several pipelines\n  = help: say {}",
                names.join(" or ")
            ))
            .into())
        }
    }
}
