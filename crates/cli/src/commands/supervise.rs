//! `gristmill supervise`: the supervisor of one deployment, in the background or, for
//! `deploy start --foreground`, here.

use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use gristmill_deploy::{Deployment, Host, Restarts, Revision, Spawn, StageView, Supervisor};
use gristmill_runner::{Backend, Bound, Current, LegView, Legs, registry};
use tokio::sync::watch;

use crate::args::SuperviseArgs;
use crate::served::{Listen, Served};
use crate::{Outcome, deployed, output};

/// What this program is, also after its file was replaced by a newer one: a supervisor and its
/// stages speak the same protocol because they are the same.
pub(super) fn this_program() -> Command {
    if cfg!(target_os = "linux") {
        let mut command = Command::new("/proc/self/exe");
        command.arg0("gristmill");
        return command;
    }
    Command::new(std::env::current_exe().unwrap_or_else(|_| "gristmill".into()))
}

pub(super) async fn run(args: SuperviseArgs) -> anyhow::Result<Outcome> {
    let deployment = Deployment::at(&args.dir);
    let supervisor = match start(deployment, &args.staged).await {
        Ok(supervisor) => supervisor,
        Err(error) => {
            output::line(&output::chain(&error))?;
            return Ok(Outcome::Failed);
        }
    };
    // Whoever started us waits for this line.
    output::line(STARTED)?;
    supervisor.run().await;
    Ok(Outcome::Done)
}

/// What a supervisor says once its stages are ready; anything else is why it ends.
pub(super) const STARTED: &str = "started";

/// A supervisor at work on the revision in `staged`.
pub(super) async fn start(
    deployment: Deployment,
    staged: &Path,
) -> anyhow::Result<Supervisor<Stages>> {
    let mut supervisor = Supervisor::new(deployment, Stages::default(), Restarts::default())?;
    supervisor.start(staged).await?;
    Ok(supervisor)
}

/// Our stages: processes of this program, told of over HTTP by this one.
#[derive(Default)]
pub(super) struct Stages {
    legs: Legs,
    /// The address that the deployed revision asks for.
    listen: Option<SocketAddr>,
    told: Option<Told>,
}

/// What is told of them, and where.
struct Told {
    /// The revision's.
    dir: PathBuf,
    changes: watch::Sender<Current>,
    served: Served,
}

impl Host for Stages {
    /// An address that was not asked for before.
    type Prepared = Option<Bound>;

    async fn prepare(&mut self, revision: &Revision) -> Result<Option<Bound>, String> {
        // One that is deployed already is held by us, or by the process that serves embedded counts.
        let new = revision.listen.filter(|addr| self.listen != Some(*addr));
        let Some(addr) = new else {
            return Ok(None);
        };
        let bound = Bound::to(addr).await;
        bound.map(Some).map_err(|error| error.to_string())
    }

    fn command(&self, spawn: &Spawn<'_>) -> Command {
        let mut command = this_program();
        command
            .args(["stage", "-v", "--dir"])
            .arg(spawn.deployment.dir());
        command.arg("--revision").arg(spawn.revision);
        command.arg(format!("--supervisor={}", std::process::id()));
        for stage in spawn.stages {
            command.arg(format!("--only={stage}"));
        }
        // What relative paths in the file count from.
        if let Ok(revision) = Revision::load(spawn.revision) {
            command.current_dir(revision.cwd);
        }
        command
    }

    async fn changed(
        &mut self,
        revision: &Revision,
        dir: &Path,
        stages: &[StageView],
        prepared: Option<Bound>,
    ) -> Result<Option<String>, String> {
        let legs = stages.iter().filter_map(|stage| leg(revision, stage));
        self.legs.set(legs.collect());
        let same = self.listen == revision.listen;
        self.listen = revision.listen;
        if revision.local.is_some() {
            // It is free; the process that has the counts takes it from here, and says so.
            drop(prepared);
            return Ok(None);
        }
        if self.told.as_ref().is_none_or(|told| told.dir != dir) {
            let listen = prepared.map_or(Listen::AsFile, Listen::On);
            if let Err(error) = self.tell(revision, dir, same, listen).await {
                // The next revision begins anew, address and all.
                (self.listen, self.told) = (None, None);
                return Err(output::chain(&error));
            }
        }
        let address = self.told.as_ref().and_then(|told| told.served.address());
        Ok(address.map(|addr| addr.to_string()))
    }
}

impl Stages {
    /// Tell of the revision in `dir`: where the one before it was told of if that is the `same`,
    /// else at `listen`.
    async fn tell(
        &mut self,
        revision: &Revision,
        dir: &Path,
        same: bool,
        listen: Listen,
    ) -> anyhow::Result<()> {
        // Read here for the counts, and for what is taken out of texts.
        let manifest = deployed::load(revision, dir, &revision.running())?.manifest;
        let backend = Backend::cluster(&manifest)?;
        let current = Arc::new((manifest, backend));
        match &mut self.told {
            Some(told) if same => {
                told.changes.send_replace(current);
                told.dir = dir.to_owned();
            }
            _ => {
                self.told = None;
                let (changes, seen) = watch::channel(current);
                let served = Served::start(&revision.pipeline, &self.legs, seen, listen).await?;
                self.told = Some(Told {
                    dir: dir.to_owned(),
                    changes,
                    served,
                });
            }
        }
        Ok(())
    }
}

fn leg(revision: &Revision, stage: &StageView) -> Option<LegView> {
    let mut entries = revision.stages.iter();
    let entry = entries.find(|entry| entry.name == stage.name)?;
    Some(LegView {
        name: stage.name.clone(),
        kind: registry::kind(&entry.kind)?,
        is_source: entry.is_source,
        topic: entry.topic.clone(),
        transforms: entry.transforms.clone(),
        stats: stage.stats.clone(),
    })
}
