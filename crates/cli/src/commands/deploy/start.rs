//! `gristmill deploy start`.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use gristmill_deploy::{
    DeployError, Deployment, DeploymentStatus, Reply, Request, Revision, StateDir, detach,
};
use gristmill_flow::Status;
use tokio::time::Instant;

use super::list;
use crate::args::DeployStartArgs;
use crate::commands::supervise::{self, STARTED};
use crate::deployed::{self, How};
use crate::{Outcome, UsageError, output, project};

/// How long it is watched how the stages come up. Whatever they wait for then, they wait for.
const WATCHED: Duration = Duration::from_secs(5);

pub(super) async fn run(args: DeployStartArgs) -> anyhow::Result<Outcome> {
    let project = project::load(&args.file)?;
    let manifest = &project.manifest;
    for name in &args.only {
        if manifest.connector(name).is_none() {
            let there: Vec<&str> = manifest
                .connectors
                .iter()
                .map(|c| c.name.as_str())
                .collect();
            return Err(UsageError(format!(
                "no stage `{name}` in this pipeline; it has: {}",
                there.join(", ")
            ))
            .into());
        }
    }
    let how = How {
        local: project.local_dir(&args.local),
        listen: args.watch.listen,
        cwd: std::env::current_dir()?,
    };
    let local = how.local.clone();
    if local.is_none() {
        // Certificates that cannot be used are told here, not by a stage in the background.
        let backend = project.cluster()?;
        project.counts(&backend)?;
    }
    let deployment = StateDir::of_user()?.deployment(&manifest.name);
    let staged = deployment.stage()?;
    let only = &args.only;
    let wanted = |name: &str| only.is_empty() || only.iter().any(|only| only == name);
    let revision = deployed::stage(&args.file, how, staged.path(), wanted)?;
    if deployment.is_locked() {
        return add(&deployment, revision, only);
    }
    if let Some(dir) = &local {
        // What else a stage in the background would find, where nobody looks. The directory is not
        // opened: that would shut out who starts at the same time.
        std::fs::create_dir_all(dir).with_context(|| {
            let dir = dir.display();
            format!("cannot make {dir}: name a directory that you can write with --local=DIR")
        })?;
    }
    if deployment.deployed()?.is_some() {
        output::note(&format!(
            "the supervisor of {} ended without a stop; it goes on where it was",
            deployment.name
        ));
    }
    if args.foreground {
        let supervisor = supervise::start(deployment.clone(), staged.path()).await?;
        output::note(&format!("{} runs; Ctrl-C ends it", deployment.name));
        supervisor.run().await;
        return Ok(Outcome::Done);
    }
    launch(&deployment, staged.path())?;
    let status = watch(&deployment).await?;
    output::line(&list::text(std::slice::from_ref(&status)))?;
    let failed = |stage: &&gristmill_deploy::StageStatus| {
        stage.given_up || matches!(stage.status, Status::Failed(_))
    };
    let Some(stage) = status.stages.iter().find(failed) else {
        return Ok(Outcome::Done);
    };
    let reason = match &stage.status {
        Status::Failed(reason) => format!(": {reason}"),
        _ => String::new(),
    };
    let next = match stage.given_up {
        true => "it is not started again",
        false => "its supervisor goes on trying",
    };
    let name = &stage.name;
    bail!("{name} fails{reason}; {next}: see `gristmill deploy log {name}`")
}

/// Start a supervisor on its own, and wait until its stages are ready.
fn launch(deployment: &Deployment, staged: &Path) -> anyhow::Result<()> {
    // Only what a defect of ours says comes here; its log is elsewhere.
    let path = deployment.dir().join("supervisor.err");
    let errors = File::create(&path).with_context(|| path.display().to_string())?;
    let mut command = supervise::this_program();
    command.arg("supervise").arg("--dir").arg(deployment.dir());
    command.arg("--staged").arg(staged);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(errors);
    let mut child = detach(&mut command).spawn()?;
    let mut said = String::new();
    if let Some(out) = child.stdout.take() {
        BufReader::new(out).read_line(&mut said)?;
    }
    match said.trim_end() {
        STARTED => Ok(()),
        "" => bail!("the supervisor ended at once: see {}", path.display()),
        reason => bail!("{reason}"),
    }
}

/// Start stages of a pipeline that runs, beside those that do.
fn add(deployment: &Deployment, new: Revision, only: &[String]) -> anyhow::Result<Outcome> {
    let runs_already = || {
        let pid = deployment.supervisor().map_or(0, |process| process.pid);
        let name = &deployment.name;
        anyhow::anyhow!(
            "{name} runs already (supervisor process {pid})\n  = help: `gristmill plan` shows what an \
             edited file would change, `gristmill apply` takes it over, `gristmill deploy shutdown \
             {name}` stops it"
        )
    };
    if only.is_empty() {
        return Err(runs_already());
    }
    let (base, dir, there) = deployed::current(deployment)?;
    let running = there.running();
    if only.iter().all(|name| running.contains(name)) {
        return Err(runs_already());
    }
    let runs = |name: &str| running.iter().chain(only).any(|other| other == name);
    let staged = deployment.stage()?;
    let same = Revision::copy(&dir, staged.path(), runs)?;
    let mut new = Revision {
        cwd: same.cwd.clone(),
        listen: same.listen,
        ..new
    };
    new.select(runs);
    let differs = new.modules != same.modules
        || new.set != same.set
        || new.local != same.local
        || new.stages != same.stages
        || text_now(&new)? != Revision::text(&dir)?;
    if differs {
        bail!(
            "{} runs, and its file, its modules or its settings were changed since it was deployed\n  \
             = help: `gristmill plan` shows what is different; `gristmill apply`, then start the \
             stage",
            deployment.name
        );
    }
    let staged = staged.path().to_owned();
    match deployment.ask(&Request::Apply { base, staged })? {
        Reply::Done(lines) => output::line(&lines.join("\n"))?,
        _ => bail!("the supervisor answered something else"),
    }
    Ok(Outcome::Done)
}

fn text_now(revision: &Revision) -> anyhow::Result<Vec<u8>> {
    std::fs::read(&revision.file).with_context(|| revision.file.display().to_string())
}

/// How the stages are once they have all come up, or after a while.
async fn watch(deployment: &Deployment) -> Result<DeploymentStatus, DeployError> {
    let until = Instant::now() + WATCHED;
    loop {
        let status = deployment.status()?;
        let mut stages = status.stages.iter();
        let up = stages.all(|stage| !matches!(stage.status, Status::Starting | Status::Waiting(_)));
        if up || Instant::now() > until {
            return Ok(status);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
