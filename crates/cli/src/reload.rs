//! `up --watch`: changes of the file and of SmartModules, taken over while the pipeline runs.
//!
//! ```text
//! names, sizes and times ─ another, and quiet for a poll ─▶ manifest ─▶ plan ─▶ Control::apply
//!                                                             └─ invalid: told, nothing touched
//! ```
//!
//! What is looked at is cheap and says only that something was written; whether anything is
//! different is told by the plan, which compares contents.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gristmill_manifest::{Diagnostic, Manifest};
use gristmill_runner::{Control, Current, Plan, module_sources};
use tokio::sync::watch;

use crate::args::{FileArgs, LocalArgs};
use crate::output;
use crate::project::{self, Project};

/// How often files are looked at: soon enough to feel immediate, and a few dozen `stat`s cost
/// nothing then. A change is taken when two looks in a row see the same: editors write in steps.
const POLL: Duration = Duration::from_millis(200);

/// Watches a pipeline's files.
pub(crate) struct Reload {
    args: FileArgs,
    is_local: bool,
    plan: Plan,
    /// The modules of what runs and of what was last asked for: mending one of the latter must be
    /// noticed too.
    uses: BTreeSet<String>,
    /// What the files were when they were last read; `None` makes the first look a reading one,
    /// for what was written while the pipeline started.
    taken: Option<u64>,
}

/// What came of reading the files.
struct Read {
    project: Option<Project>,
    warnings: Vec<Diagnostic>,
    plan: anyhow::Result<Plan>,
}

impl Reload {
    /// Watch what `plan` was made of.
    pub(crate) fn new(args: &FileArgs, local: &LocalArgs, plan: &Plan) -> Self {
        let uses = uses(&plan.manifest);
        Self {
            args: args.clone(),
            is_local: local.local.is_some(),
            plan: plan.clone(),
            taken: None,
            uses,
        }
    }

    /// Take over every change, until dropped; `current` is told of each.
    pub(crate) async fn run(mut self, control: Control, current: watch::Sender<Current>) {
        let mut last = None;
        loop {
            tokio::time::sleep(POLL).await;
            let (file, uses) = (self.args.file.clone(), self.uses.clone());
            let look = move || fingerprint(&file, &uses);
            // An error is the runtime's end.
            let Ok(now) = tokio::task::spawn_blocking(look).await else {
                return;
            };
            let quiet = last.replace(now) == Some(now);
            if !quiet || self.taken == Some(now) {
                continue;
            }
            self.taken = Some(now);
            match self.take(&control, &current).await {
                Ok(None) => {}
                Ok(Some(text)) => {
                    let file = self.args.file.display();
                    output::note(&format!("{file}: taken over\n{text}"));
                }
                Err(error) => {
                    output::error(&format!("{error:#}"));
                    output::note("The pipeline runs on as it was.");
                }
            }
        }
    }

    async fn take(
        &mut self,
        control: &Control,
        current: &watch::Sender<Current>,
    ) -> anyhow::Result<Option<String>> {
        let (args, plan) = (self.args.clone(), self.plan.clone());
        let read = tokio::task::spawn_blocking(move || read(&args, &plan)).await?;
        if let Some(project) = &read.project {
            self.uses = &uses(&self.plan.manifest) | &uses(&project.manifest);
        }
        let plan = read.plan?;
        let other = !self.is_local && !plan.manifest.is_on_cluster_of(&self.plan.manifest);
        let backend = match (&read.project, other) {
            (Some(project), true) => Some(project.cluster()?),
            _ => None,
        };
        let changes = control.apply(plan.clone(), backend.clone()).await?;
        let manifest = plan.manifest.clone();
        // Where these are others, the next look reads once more: an edit meanwhile is not missed.
        self.uses = uses(&manifest);
        self.plan = plan;
        if changes.is_empty() {
            return Ok(None);
        }
        project::warn(&read.warnings);
        current.send_modify(|current| {
            let backend = backend.unwrap_or_else(|| current.1.clone());
            *current = Arc::new((manifest, backend));
        });
        Ok(Some(changes.to_string()))
    }
}

/// Read the file and make its plan. Building modules may take a minute.
fn read(args: &FileArgs, plan: &Plan) -> Read {
    match project::reload(args) {
        Ok((project, warnings)) => Read {
            plan: project.renewed(plan),
            project: Some(project),
            warnings,
        },
        Err(error) => Read {
            project: None,
            warnings: Vec::new(),
            plan: Err(error),
        },
    }
}

fn uses(manifest: &Manifest) -> BTreeSet<String> {
    let transforms = manifest.connectors.iter().flat_map(|c| &c.transforms);
    transforms.map(|transform| transform.uses.clone()).collect()
}

fn fingerprint(file: &Path, uses: &BTreeSet<String>) -> u64 {
    let mut hasher = DefaultHasher::new();
    let metadata = std::fs::metadata(file).ok();
    metadata
        .as_ref()
        .map(std::fs::Metadata::len)
        .hash(&mut hasher);
    metadata.and_then(|m| m.modified().ok()).hash(&mut hasher);
    let sources = module_sources(file);
    for uses in uses {
        sources.fingerprint(uses).hash(&mut hasher);
    }
    hasher.finish()
}
