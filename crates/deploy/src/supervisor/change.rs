//! From one revision to the next.
//!
//! ```text
//! processes of new stages start and get ready ─▶ those that run on take the revision
//!    └─ one fails: they are dropped          └─ one refuses: the others take the old one back
//! ─▶ the revision is on disk ─▶ stages that are gone stop ─▶ new ones go
//! ```

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gristmill_flow::{LegStats, Status};
use tokio::time::Instant;

use super::child::Child;
use super::{END_MAX, Group, Host, StageView, Supervisor};
use crate::{Deployed, Request, Revision, SUPERVISOR};

/// A process reads the file and loads modules until it is ready.
const READY_MAX: Duration = Duration::from_secs(60);
/// A running one also has brokers make topics.
const TAKE_MAX: Duration = Duration::from_secs(60);
/// What has no limit of its own: files, and what the host does.
const BESIDE_MAX: Duration = Duration::from_secs(60);

/// The longest that a supervisor of `stages` may take for `request`; one that takes longer hangs.
pub(crate) fn longest(request: &Request, stages: usize) -> Duration {
    // Told to end, then killed.
    let end = END_MAX * 2;
    let steps = match request {
        Request::Status => Duration::ZERO,
        // They take it one after the other, and take it back so.
        Request::Apply { .. } => {
            let stages = u32::try_from(stages).unwrap_or(u32::MAX);
            READY_MAX + TAKE_MAX.saturating_mul(stages).saturating_mul(2) + end
        }
        Request::Restart { .. } => READY_MAX + end,
        // Sources, then sinks.
        Request::Stop { drain_ms } => Duration::from_millis(*drain_ms) + end * 2,
    };
    steps + BESIDE_MAX
}

impl<H: Host> Supervisor<H> {
    /// Go over to the revision in `staged`.
    pub(super) async fn change(&mut self, staged: &Path) -> Result<Vec<String>, String> {
        let revision = Revision::load(staged).map_err(|error| error.to_string())?;
        self.check(&revision)?;
        let prepared = match self.host.prepare(&revision).await {
            Ok(prepared) => prepared,
            Err(reason) => return Err(self.refused(reason)),
        };
        let wanted = groups(&revision);
        let mut fresh = Vec::new();
        let mut kept = Vec::new();
        for (name, group) in &wanted {
            match self.groups.get(name) {
                Some(there) if there.worker.is_some() => kept.push(name.clone()),
                Some(_) => fresh.push(name.clone()),
                None => {
                    let group = Group {
                        stages: group.stages.clone(),
                        sources_only: group.sources_only,
                        ..Group::default()
                    };
                    self.groups.insert(name.clone(), group);
                    fresh.push(name.clone());
                }
            }
        }
        let mut lines = Vec::new();
        let made = match self.get_ready(&fresh, staged).await {
            Ok(()) => match self.take(&kept, staged, &mut lines).await {
                Ok(()) => self.commit(staged, &revision),
                Err(reason) => Err(reason),
            },
            Err(reason) => Err(reason),
        };
        if let Err(reason) = made {
            self.take_back(&kept).await;
            return Err(self.refused(reason));
        }
        let is_wanted = |name: &String| wanted.iter().any(|(wanted, _)| wanted == name);
        let gone: Vec<String> = self
            .groups
            .keys()
            .filter(|name| !is_wanted(name))
            .cloned()
            .collect();
        self.stop_groups(&gone, 0).await;
        for name in &gone {
            self.groups.remove(name);
            lines.push(format!("{name}: stopped"));
        }
        for (name, group) in wanted {
            if let Some(there) = self.groups.get_mut(&name) {
                there.stages = group.stages;
                there.sources_only = group.sources_only;
            }
        }
        self.follow(&revision, prepared).await;
        for name in &fresh {
            self.go(name);
            lines.push(format!("{name}: started"));
        }
        for line in &lines {
            self.log.line(SUPERVISOR, line);
        }
        Ok(lines)
    }

    /// Nothing was changed, and the log says why.
    fn refused(&mut self, reason: String) -> String {
        self.log.line(SUPERVISOR, &format!("not changed: {reason}"));
        reason
    }

    fn check(&self, new: &Revision) -> Result<(), String> {
        if new.pipeline != self.deployment.name {
            return Err(format!(
                "this is the supervisor of {}, not of {}",
                self.deployment.name, new.pipeline
            ));
        }
        if new.running().is_empty() {
            return Err("no stage is left to run".to_owned());
        }
        match &self.deployed {
            Some((old, _)) if old.local != new.local => Err(format!(
                "topics and counts are to be elsewhere: that is another pipeline; `gristmill deploy \
                 shutdown {}`, then start it there",
                self.deployment.name
            )),
            _ => Ok(()),
        }
    }

    /// Have a process for each of `names` that waits to be told to go.
    async fn get_ready(&mut self, names: &[String], revision: &Path) -> Result<(), String> {
        for name in names {
            let child = self.spawn(name, revision);
            let child = child.map_err(|error| format!("{name}: {error}"))?;
            if let Some(group) = self.groups.get_mut(name) {
                group.candidate = Some(child);
            }
        }
        let deadline = Instant::now() + READY_MAX;
        for name in names {
            let settled = |this: &Self| {
                let candidate = this.candidate(name);
                candidate.is_none_or(|child| child.is_ready() || child.has_exited())
            };
            self.until(deadline, settled).await;
            match self.candidate(name) {
                Some(child) if child.has_exited() => {
                    let reason = child.reason().unwrap_or_else(|| "it ended".to_owned());
                    return Err(format!("{name}: {reason}"));
                }
                Some(child) if child.is_ready() => {}
                _ => return Err(format!("{name}: its process does not get ready")),
            }
        }
        Ok(())
    }

    /// Have those that run take the revision, one after the other.
    async fn take(
        &mut self,
        names: &[String],
        revision: &Path,
        lines: &mut Vec<String>,
    ) -> Result<(), String> {
        for name in names {
            lines.extend(self.take_one(name, revision).await?);
        }
        Ok(())
    }

    async fn take_one(&mut self, name: &str, revision: &Path) -> Result<Vec<String>, String> {
        if let Some(worker) = self.worker_mut(name) {
            worker.take(revision);
        }
        let deadline = Instant::now() + TAKE_MAX;
        let settled = |this: &Self| this.worker(name).is_none_or(|child| child.took().is_some());
        self.until(deadline, settled).await;
        match self.worker(name) {
            // It starts again with whatever is deployed then.
            None => Err(format!("{name}: its process ended meanwhile: try again")),
            Some(child) => match child.took() {
                Some(Ok(lines)) => Ok(lines.clone()),
                Some(Err(reason)) => Err(reason.clone()),
                None => Err(format!("{name}: its process does not answer")),
            },
        }
    }

    /// Everything as it was: `kept` take the deployed revision again, and nobody waits to go.
    async fn take_back(&mut self, kept: &[String]) {
        let fresh = |group: &Group| group.worker.is_none() && group.tries.is_new();
        self.groups.retain(|_, group| !fresh(group));
        for group in self.groups.values_mut() {
            group.candidate = None;
        }
        let Some((_, number)) = &self.deployed else {
            return;
        };
        let dir = self.deployment.revision_dir(*number);
        for name in kept {
            // Those that had not taken the new one see no difference.
            if let Err(error) = self.take_one(name, &dir).await
                && let Some(worker) = self.worker(name)
            {
                // What it runs now is not known: it starts anew with what is deployed.
                worker.kill();
                self.log.line(name, &format!("is started anew: {error}"));
            }
        }
    }

    /// From here on it is what is deployed, also for a supervisor that comes after us.
    fn commit(&mut self, staged: &Path, revision: &Revision) -> Result<(), String> {
        let last = self.deployment.last_revision();
        let number = last.max(self.number()) + 1;
        let dir = self.deployment.revision_dir(number);
        std::fs::rename(staged, &dir)
            .map_err(|error| format!("{}: {error}", dir.display()))
            .and_then(|()| {
                let deployed = Deployed { revision: number };
                let set = self.deployment.set_deployed(Some(&deployed));
                set.map_err(|error| error.to_string())
            })?;
        self.deployed = Some((revision.clone(), number));
        self.deployment.forget_revisions(number);
        Ok(())
    }

    /// Have statistics for every stage, and tell of them.
    async fn follow(&mut self, revision: &Revision, prepared: H::Prepared) {
        let names = revision.running();
        self.stats.retain(|name, _| names.contains(name));
        let mut views = Vec::new();
        for name in names {
            let stats = self.stats.entry(name.clone());
            let stats = stats
                .or_insert_with(|| Arc::new(LegStats::default()))
                .clone();
            views.push(StageView { name, stats });
        }
        let dir = self.deployment.revision_dir(self.number());
        match self.host.changed(revision, &dir, &views, prepared).await {
            Ok(listen) => self.listen = listen,
            Err(reason) => {
                self.log.line(SUPERVISOR, &reason);
                self.listen = None;
            }
        }
    }

    fn go(&mut self, name: &str) {
        let Some(group) = self.groups.get_mut(name) else {
            return;
        };
        for stage in &group.stages {
            if let Some(stats) = self.stats.get(stage) {
                stats.set_status(Status::Starting);
            }
        }
        group.tries.begin(Instant::now());
        if let Some(mut child) = group.candidate.take() {
            let exit = child.has_exited().then_some(child.id);
            child.go();
            group.worker = Some(child);
            if let Some(id) = exit {
                // It ended while it waited; its end was told to a candidate.
                self.exited(id, "it ended before it was told to go");
            }
        }
    }

    /// Start the stages' processes anew.
    pub(super) async fn restart(&mut self, stages: &[String]) -> Result<Vec<String>, String> {
        let names: Vec<String> = self
            .groups
            .iter()
            .filter(|(_, group)| group.stages.iter().any(|stage| stages.contains(stage)))
            .map(|(name, _)| name.clone())
            .collect();
        let dir = self.deployment.revision_dir(self.number());
        if let Err(reason) = self.get_ready(&names, &dir).await {
            for group in self.groups.values_mut() {
                group.candidate = None;
            }
            return Err(reason);
        }
        self.stop_groups(&names, 0).await;
        let mut lines = Vec::new();
        for name in &names {
            self.go(name);
            lines.push(format!("{name}: started anew"));
        }
        for line in &lines {
            self.log.line(SUPERVISOR, line);
        }
        Ok(lines)
    }

    /// End the processes of `names`, and wait for that.
    pub(super) async fn stop_groups(&mut self, names: &[String], drain_ms: u64) {
        for name in names {
            if let Some(group) = self.groups.get_mut(name) {
                group.tries.cancel();
                if let Some(child) = &mut group.worker {
                    child.stop(drain_ms);
                }
            }
        }
        let stopped = |this: &Self| {
            let mut groups = names.iter().filter_map(|name| this.groups.get(name));
            groups.all(|group| group.worker.is_none())
        };
        let deadline = Instant::now() + Duration::from_millis(drain_ms) + END_MAX;
        if self.until(deadline, stopped).await {
            return;
        }
        for name in names {
            if let Some(worker) = self.worker(name) {
                worker.kill();
                self.log.line(name, "killed: it did not end");
            }
        }
        self.signals = self.signals.min(1);
        self.until(Instant::now() + END_MAX, stopped).await;
    }

    fn candidate(&self, name: &str) -> Option<&Child> {
        self.groups.get(name)?.candidate.as_ref()
    }

    fn worker(&self, name: &str) -> Option<&Child> {
        self.groups.get(name)?.worker.as_ref()
    }

    fn worker_mut(&mut self, name: &str) -> Option<&mut Child> {
        self.groups.get_mut(name)?.worker.as_mut()
    }
}

/// Which stages share a process.
fn groups(revision: &Revision) -> Vec<(String, Group)> {
    let running = || revision.stages.iter().filter(|stage| stage.runs);
    if revision.local.is_some() {
        let group = Group {
            stages: running().map(|stage| stage.name.clone()).collect(),
            ..Group::default()
        };
        return vec![(revision.pipeline.clone(), group)];
    }
    running()
        .map(|stage| {
            let group = Group {
                stages: vec![stage.name.clone()],
                sources_only: stage.is_source,
                ..Group::default()
            };
            (stage.name.clone(), group)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_waits_for_longer_than_every_step_may_take() {
        let minutes = |n: u64| Duration::from_secs(60 * n);
        let drain_ms = 600_000;
        let stop = longest(&Request::Stop { drain_ms }, 3);
        // Sources are told, killed, then sinks drain, are told, killed.
        assert!(stop > minutes(10) + END_MAX * 4, "{stop:?}");
        let apply = |stages| {
            let (base, staged) = (1, "/staged".into());
            longest(&Request::Apply { base, staged }, stages)
        };
        for stages in [0, 1, 2, 20] {
            let each = (TAKE_MAX * 2) * stages;
            let least = READY_MAX + each + END_MAX * 2;
            assert!(apply(stages as usize) > least, "{stages}");
        }
        // Whatever was asked for, it is a time.
        let _ = longest(&Request::Stop { drain_ms: u64::MAX }, usize::MAX);
        let _ = apply(usize::MAX);
    }
}
