//! The process that keeps a pipeline's stages running, and changes them.
//!
//! One task does everything, in turn; what happens outside of it (lines, reports, ends, requests)
//! comes as events. It runs on the thread that calls [`Supervisor::run`], which must be the main
//! one: the kernel kills stages' processes when the thread that started them ends.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gristmill_flow::{LegStats, Snapshot, Status};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::logs::{Log, lines};
use crate::state::Lock;
use crate::{
    DeployError, Deployment, DeploymentStatus, Reply, Report, Request, Revision, SUPERVISOR,
    StageStatus,
};

mod change;
mod child;
mod restarts;
mod server;

pub(crate) use change::longest;
use child::Child;
pub use restarts::Restarts;

/// How long sinks may take to catch up when a signal ends it.
const DRAIN_MS: u64 = 10_000;
/// Events that wait to be handled; who has more to say waits.
const EVENTS_MAX: usize = 1_024;

/// What a stage's process is to run.
#[derive(Debug)]
pub struct Spawn<'a> {
    /// Of which deployment.
    pub deployment: &'a Deployment,
    /// Where the revision is.
    pub revision: &'a Path,
    /// Which stages of it.
    pub stages: &'a [String],
}

/// A stage as the outside sees it.
#[derive(Debug, Clone)]
pub struct StageView {
    /// `meta.name`.
    pub name: String,
    /// Its counters and state, as its process last reported them.
    pub stats: Arc<LegStats>,
}

/// What a supervisor leaves to others: what a stage is, and who is told of it.
pub trait Host {
    /// What [`prepare`](Self::prepare) makes; dropped if the change is refused.
    type Prepared;

    /// The command that runs stages.
    fn command(&self, spawn: &Spawn<'_>) -> Command;

    /// Make what can fail of telling of `revision`, before anything that runs is touched.
    fn prepare(
        &mut self,
        revision: &Revision,
    ) -> impl Future<Output = Result<Self::Prepared, String>>;

    /// Something else is deployed now: the revision, where it is, and its stages. Gives where
    /// their metrics are served, if that is not said by their process ([`Report::Serves`]).
    fn changed(
        &mut self,
        revision: &Revision,
        dir: &Path,
        stages: &[StageView],
        prepared: Self::Prepared,
    ) -> impl Future<Output = Result<Option<String>, String>>;
}

/// Keeps the stages of one deployment.
pub struct Supervisor<H> {
    deployment: Deployment,
    host: H,
    restarts: Restarts,
    log: Log,
    /// What is deployed, and its number; none before the first change.
    deployed: Option<(Revision, u64)>,
    groups: BTreeMap<String, Group>,
    stats: BTreeMap<String, Arc<LegStats>>,
    listen: Option<String>,
    sender: mpsc::Sender<Event>,
    events: mpsc::Receiver<Event>,
    spawned: u64,
    listener: server::Listener,
    signals: u32,
    /// Nothing is started again.
    ending: bool,
    since: SystemTime,
    _lock: Lock,
}

/// Stages that share a process: one each, or all of them where topics and counts are embedded,
/// which one process can open.
#[derive(Default)]
struct Group {
    stages: Vec<String>,
    sources_only: bool,
    /// The process that was told to go.
    worker: Option<Child>,
    /// One that waits to be told to go.
    candidate: Option<Child>,
    tries: restarts::Tries,
}

/// What happens outside.
enum Event {
    Line(u64, String),
    Report(u64, Report),
    Exited(u64, String),
    Request(Request, oneshot::Sender<Reply>),
    Signal,
}

impl<H: Host> Supervisor<H> {
    /// Become the supervisor of `deployment`, whatever an earlier one has left behind.
    ///
    /// # Errors
    /// Another one runs; a directory or socket that cannot be used.
    pub fn new(deployment: Deployment, host: H, restarts: Restarts) -> Result<Self, DeployError> {
        deployment.create()?;
        let lock = deployment.lock()?;
        deployment.wait_for_workers()?;
        let mut log = Log::open(&deployment.log_dir());
        if deployment
            .deployed()
            .is_ok_and(|deployed| deployed.is_some())
        {
            log.line(
                SUPERVISOR,
                "the supervisor before this one ended without a stop; its stages ended with it",
            );
        }
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        let listener = server::listen(&deployment.socket(), sender.clone())?;
        server::signals(sender.clone()).map_err(DeployError::io(deployment.dir()))?;
        Ok(Self {
            deployment,
            host,
            restarts,
            log,
            deployed: None,
            groups: BTreeMap::new(),
            stats: BTreeMap::new(),
            listen: None,
            sender,
            events,
            spawned: 0,
            listener,
            signals: 0,
            ending: false,
            since: SystemTime::now(),
            _lock: lock,
        })
    }

    /// Start the revision in `staged`, a directory of the deployment.
    ///
    /// # Errors
    /// Why nothing runs.
    pub async fn start(&mut self, staged: &Path) -> Result<(), DeployError> {
        let started = self.change(staged).await;
        if started.is_err() {
            self.close();
        }
        started.map(drop).map_err(DeployError::Refused)
    }

    /// Keep the stages until a signal or a request ends it.
    pub async fn run(mut self) {
        loop {
            if self.signals > 0 && !self.ending {
                self.stop(DRAIN_MS).await;
            }
            if self.ending {
                break;
            }
            let due = self.groups.values().filter_map(|group| group.tries.due());
            let due = due.min();
            tokio::select! {
                // Never closed: a sender is ours.
                Some(event) = self.events.recv() => match event {
                    Event::Request(Request::Status, reply) => self.handle(Event::Request(Request::Status, reply)),
                    Event::Request(request, reply) => {
                        let answer = self.request(request).await;
                        // Whoever asked may have gone.
                        let _ = reply.send(answer);
                    }
                    event => self.handle(event),
                },
                () = sleep_until(due) => self.start_due(),
            }
        }
        self.log.line(SUPERVISOR, "ended");
        self.close();
        // Whoever still asks is told nothing; the answer to a stop must arrive.
        self.events.close();
        while self.events.try_recv().is_ok() {}
        self.listener.close().await;
    }

    /// Nothing is deployed any more.
    fn close(&mut self) {
        if let Err(error) = self.deployment.set_deployed(None) {
            self.log.line(SUPERVISOR, &error.to_string());
        }
        // Before the lock goes: a socket that is there is that of whoever has the lock.
        let _ = std::fs::remove_file(self.deployment.socket());
    }

    async fn request(&mut self, request: Request) -> Reply {
        let done = match request {
            Request::Status => return Reply::Status(self.status()),
            Request::Apply { base, staged } => match &self.deployed {
                Some((_, number)) if *number == base => self.change(&staged).await,
                _ => Err(format!(
                    "something else was deployed meanwhile (revision {}, this was made for \
                     revision {base}): plan anew",
                    self.number()
                )),
            },
            Request::Restart { stages } => self.restart(&stages).await,
            Request::Stop { drain_ms } => {
                self.stop(drain_ms).await;
                Ok(Vec::new())
            }
        };
        match done {
            Ok(lines) => Reply::Done(lines),
            Err(reason) => Reply::Refused(reason),
        }
    }

    /// Handle events until `done`; false if that is not so at `deadline`, or a second signal comes.
    async fn until(&mut self, deadline: Instant, done: impl Fn(&Self) -> bool) -> bool {
        loop {
            if done(self) {
                return true;
            }
            tokio::select! {
                Some(event) = self.events.recv() => self.handle(event),
                () = tokio::time::sleep_until(deadline) => return done(self),
            }
            if self.signals > 1 {
                return done(self);
            }
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Line(id, text) => {
                let name = self.name_of(id);
                self.log.line(&name, &text);
            }
            Event::Report(id, report) => self.reported(id, report),
            Event::Exited(id, status) => self.exited(id, &status),
            Event::Request(request, reply) => {
                let answer = match request {
                    Request::Status => Reply::Status(self.status()),
                    _ => Reply::Refused("another change is under way: try again".to_owned()),
                };
                let _ = reply.send(answer);
            }
            Event::Signal => self.signals += 1,
        }
    }

    /// The group whose process has this number: of processes that are gone, nothing more comes.
    fn group_of(&mut self, id: u64) -> Option<(&String, &mut Group)> {
        self.groups.iter_mut().find(|(_, group)| {
            let mut children = group.worker.iter().chain(&group.candidate);
            children.any(|child| child.id == id)
        })
    }

    fn name_of(&mut self, id: u64) -> String {
        let group = self.group_of(id);
        group.map_or_else(|| SUPERVISOR.to_owned(), |(name, _)| name.clone())
    }

    fn reported(&mut self, id: u64, report: Report) {
        match report {
            Report::Stages(stages) => self.told(id, &stages),
            Report::Tapped(tapped) => {
                for (name, records) in tapped {
                    if let Some(stats) = self.stats.get(&name) {
                        stats.tap.arrived(records);
                    }
                }
            }
            report => {
                let Some((_, group)) = self.group_of(id) else {
                    return;
                };
                let mut children = group.worker.iter_mut().chain(&mut group.candidate);
                if let Some(child) = children.find(|child| child.id == id) {
                    child.reported(report);
                }
            }
        }
    }

    /// Where the stages of a process are; of one that only waits nobody is told.
    fn told(&mut self, id: u64, stages: &BTreeMap<String, Snapshot>) {
        let mut workers = { self.groups.values_mut() }.filter_map(|group| group.worker.as_mut());
        let Some(worker) = workers.find(|child| child.id == id) else {
            return;
        };
        let mut wanted = BTreeMap::new();
        for (name, snapshot) in stages {
            if let Some(stats) = self.stats.get(name) {
                stats.become_as(snapshot);
                let records = stats.tap.wanted();
                if records > 0 {
                    wanted.insert(name.clone(), records);
                }
            }
        }
        if !wanted.is_empty() {
            worker.look(wanted);
        }
    }

    fn exited(&mut self, id: u64, status: &str) {
        let (ending, restarts) = (self.ending, self.restarts);
        let Some((name, group)) = self.group_of(id) else {
            return;
        };
        let name = name.clone();
        if let Some(candidate) = group.candidate.as_mut().filter(|child| child.id == id) {
            candidate.exited(status);
            return;
        }
        let Some(mut child) = group.worker.take() else {
            return;
        };
        child.exited(status);
        let stages = group.stages.clone();
        let (text, status) = match child.reason() {
            _ if child.stopping || ending => ("stopped".to_owned(), Status::Ended),
            None => ("ended: its stream is over".to_owned(), Status::Ended),
            Some(reason) => {
                let next = group
                    .tries
                    .failed(&restarts, child.is_final(), Instant::now());
                let text = format!("ended: {reason}; {next}");
                (text, Status::Failed(reason))
            }
        };
        self.log.line(&name, &text);
        for stage in stages {
            if let Some(stats) = self.stats.get(&stage) {
                stats.set_status(status.clone());
            }
        }
    }

    /// Start again what is due.
    fn start_due(&mut self) {
        let now = Instant::now();
        let Some((_, number)) = &self.deployed else {
            return;
        };
        let dir = self.deployment.revision_dir(*number);
        let due: Vec<String> = self
            .groups
            .iter()
            .filter(|(_, group)| group.tries.due().is_some_and(|due| due <= now))
            .map(|(name, _)| name.clone())
            .collect();
        for name in due {
            let started = self.spawn(&name, &dir);
            let restarts = self.restarts;
            let Some(group) = self.groups.get_mut(&name) else {
                continue;
            };
            match started {
                Ok(mut child) => {
                    group.tries.started(now);
                    child.go();
                    group.worker = Some(child);
                }
                Err(error) => {
                    let next = group.tries.failed(&restarts, false, now);
                    self.log.line(&name, &format!("{error}; {next}"));
                }
            }
        }
    }

    fn spawn(&mut self, name: &str, revision: &Path) -> Result<Child, String> {
        let stages = self.groups.get(name).map_or(&[][..], |group| &group.stages);
        let command = self.host.command(&Spawn {
            deployment: &self.deployment,
            revision,
            stages,
        });
        self.spawned += 1;
        Child::start(command, self.spawned, self.sender.clone())
            .map_err(|error| format!("cannot be started: {error}"))
    }

    /// End every stage: sources first, then sinks once they have caught up.
    async fn stop(&mut self, drain_ms: u64) {
        self.ending = true;
        self.log.line(SUPERVISOR, "stopping");
        let (sources, others): (Vec<_>, Vec<_>) = self.groups.keys().cloned().partition(|name| {
            self.groups
                .get(name)
                .is_some_and(|group| group.sources_only)
        });
        self.stop_groups(&sources, 0).await;
        self.stop_groups(&others, drain_ms).await;
    }

    fn number(&self) -> u64 {
        self.deployed.as_ref().map_or(0, |(_, number)| *number)
    }

    fn status(&self) -> DeploymentStatus {
        let millis = |time: SystemTime| {
            let since = time.duration_since(UNIX_EPOCH);
            since.map_or(0, |since| since.as_millis() as u64)
        };
        let revision = self.deployed.as_ref().map(|(revision, _)| revision);
        let entries = revision.map_or(&[][..], |revision| &revision.stages);
        DeploymentStatus {
            pipeline: self.deployment.name.clone(),
            revision: self.number(),
            pid: std::process::id(),
            file: revision.map_or_else(PathBuf::new, |revision| revision.file.clone()),
            since_ms: millis(self.since),
            listen: self.served_at(),
            log_error: self.log.lost().map(|(lost, why)| {
                format!("{} of the log could not be written: {why}", lines(lost))
            }),
            stages: entries
                .iter()
                .filter(|entry| entry.runs)
                .filter_map(|entry| self.stage_status(entry))
                .collect(),
        }
    }

    fn served_at(&self) -> Option<String> {
        let workers = self
            .groups
            .values()
            .filter_map(|group| group.worker.as_ref());
        let by_workers = workers.filter_map(|child| child.serves);
        let by_workers = by_workers.map(|address| address.to_string());
        self.listen.clone().or_else(|| by_workers.min())
    }

    fn stage_status(&self, entry: &crate::StageEntry) -> Option<StageStatus> {
        let mut groups = self.groups.values();
        let group = groups.find(|group| group.stages.contains(&entry.name))?;
        let stats = self.stats.get(&entry.name)?;
        Some(StageStatus {
            name: entry.name.clone(),
            kind: entry.kind.clone(),
            topic: entry.topic.clone(),
            pid: group.worker.as_ref().map(|child| child.pid),
            status: stats.status(),
            restarts: group.tries.restarts(),
            given_up: group.tries.has_given_up(),
            records_in: LegStats::get(&stats.records_in),
            records_out: LegStats::get(&stats.records_out),
            rejected: LegStats::get(&stats.rejected),
            lag: (!entry.is_source).then(|| stats.lag().values().sum()),
        })
    }
}

/// For ever, if there is no such time.
async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// How long a process may take to end on its own once its drain is over.
const END_MAX: Duration = Duration::from_secs(20);
