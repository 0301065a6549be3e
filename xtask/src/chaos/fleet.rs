//! The stages as separate processes, and the supervisor that starts again what died.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::plan::Role;

/// Until a process that ended by itself is started again.
const RESTART_AFTER: Duration = Duration::from_millis(500);
/// What a copy says that was shut out.
const FENCED: &str = "another copy of this connector took over";

/// One process that is to run, and does most of the time.
pub(super) struct Slot {
    pub(super) role: Role,
    /// Such as `source-1`; its log has that name.
    pub(super) name: String,
    /// The supervisor keeps it running.
    pub(super) wanted: bool,
    pub(super) paused: bool,
    /// We have sent it a signal that ends it.
    ending: bool,
    child: Option<Child>,
    start_at: Option<Instant>,
    lives: u32,
}

/// What ended by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Exit {
    pub(super) slot: String,
    pub(super) fenced: bool,
    /// Its last words.
    pub(super) why: String,
}

/// All processes of a run but brokers and Redis.
pub(super) struct Fleet {
    pub(super) slots: Vec<Slot>,
    dir: PathBuf,
    gristmill: PathBuf,
    /// Arguments by role.
    server: Vec<String>,
    stage: Vec<String>,
    pub(super) exits: Vec<Exit>,
    pub(super) starts: u32,
    /// Processes that got a SIGKILL.
    pub(super) kills: u32,
}

impl Fleet {
    /// `server` are the arguments of the SSE server, `stage` those of every stage, to which its own
    /// `--only` is added.
    pub(super) fn new(
        dir: &Path,
        gristmill: &Path,
        server: Vec<String>,
        stage: Vec<String>,
    ) -> Self {
        Self {
            slots: Vec::new(),
            dir: dir.to_owned(),
            gristmill: gristmill.to_owned(),
            server,
            stage,
            exits: Vec::new(),
            starts: 0,
            kills: 0,
        }
    }

    /// Add a process, which starts with the next [`supervise`](Self::supervise) if `wanted`.
    pub(super) fn add(&mut self, role: Role, wanted: bool) -> usize {
        let number = self.slots.iter().filter(|slot| slot.role == role).count() + 1;
        self.slots.push(Slot {
            role,
            name: format!("{role}-{number}"),
            wanted,
            paused: false,
            ending: false,
            child: None,
            start_at: None,
            lives: 0,
        });
        self.slots.len() - 1
    }

    /// The running processes of a role.
    pub(super) fn running(&self, role: Role) -> Vec<usize> {
        let slots = self.slots.iter().enumerate();
        slots
            .filter(|(_, slot)| slot.role == role && slot.child.is_some())
            .map(|(at, _)| at)
            .collect()
    }

    /// A process of a role that is not wanted at present, made if there is none.
    pub(super) fn spare(&mut self, role: Role) -> usize {
        let spare = |slot: &Slot| slot.role == role && !slot.wanted && slot.child.is_none();
        match self.slots.iter().position(spare) {
            Some(at) => at,
            None => self.add(role, false),
        }
    }

    /// Notice what ended, start what is due.
    pub(super) fn supervise(&mut self) -> Result<()> {
        let now = Instant::now();
        for at in 0..self.slots.len() {
            self.notice(at, now)?;
            let slot = &self.slots[at];
            if slot.child.is_none() && slot.wanted && slot.start_at.is_none_or(|start| start <= now)
            {
                self.start(at)?;
            }
        }
        Ok(())
    }

    fn notice(&mut self, at: usize, now: Instant) -> Result<()> {
        let log = self.log(at);
        let slot = &mut self.slots[at];
        let Some(child) = &mut slot.child else {
            return Ok(());
        };
        let Some(status) = child.try_wait()? else {
            return Ok(());
        };
        slot.child = None;
        slot.paused = false;
        if !std::mem::take(&mut slot.ending) {
            slot.start_at = Some(now + RESTART_AFTER);
            let words = last_words(&log);
            self.exits.push(Exit {
                slot: slot.name.clone(),
                fenced: words.contains(FENCED),
                why: format!("{}: {words}", ended(status)),
            });
        }
        Ok(())
    }

    fn start(&mut self, at: usize) -> Result<()> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log(at))?;
        let slot = &mut self.slots[at];
        let only = match slot.role {
            Role::Server => None,
            Role::Source => Some("recentchange"),
            Role::Counter => Some("type-counts"),
        };
        let mut command = Command::new(&self.gristmill);
        match only {
            None => command.args(&self.server),
            Some(only) => command.args(&self.stage).args(["--only", only]),
        };
        command
            // SmartModules are found from here.
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
            // A Ctrl-C is meant for us, and we end them.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        die_with_us(&mut command);
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {}", self.gristmill.display()))?;
        slot.child = Some(child);
        slot.start_at = None;
        slot.lives += 1;
        self.starts += 1;
        Ok(())
    }

    /// SIGKILL; started again after `down` if it is wanted.
    pub(super) fn kill(&mut self, at: usize, down: Duration) -> Result<()> {
        self.slots[at].ending = true;
        self.slots[at].start_at = Some(Instant::now() + down);
        self.kills += u32::from(self.slots[at].child.is_some());
        self.signal(at, libc::SIGKILL)
    }

    /// SIGTERM; started again once it has ended, and not before `away`.
    pub(super) fn terminate(&mut self, at: usize, away: Duration) -> Result<()> {
        self.slots[at].ending = true;
        self.slots[at].start_at = Some(Instant::now() + away);
        self.signal(at, libc::SIGTERM)
    }

    /// SIGSTOP or SIGCONT.
    pub(super) fn pause(&mut self, at: usize, paused: bool) -> Result<()> {
        self.slots[at].paused = paused;
        self.signal(at, if paused { libc::SIGSTOP } else { libc::SIGCONT })
    }

    #[allow(unsafe_code)]
    fn signal(&mut self, at: usize, signal: i32) -> Result<()> {
        let Some(child) = &self.slots[at].child else {
            return Ok(());
        };
        let pid = i32::try_from(child.id())?;
        // SAFETY: kill(2) touches no memory of ours, and the pid is that of a child that was not
        // waited for yet, so nobody else has it.
        unsafe { libc::kill(pid, signal) };
        Ok(())
    }

    /// The log of a process, all lives of it.
    pub(super) fn log(&self, at: usize) -> PathBuf {
        self.dir.join(format!("{}.log", self.slots[at].name))
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for slot in &mut self.slots {
            if let Some(child) = &mut slot.child {
                // Ended already, or ended by this.
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

/// A harness that is itself killed leaves no stage behind.
#[allow(unsafe_code)]
fn die_with_us(command: &mut Command) {
    // SAFETY: prctl(2) is async-signal-safe and touches only the new process.
    unsafe {
        command.pre_exec(|| {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            Ok(())
        });
    }
}

fn ended(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

/// The last line of a log that says something.
fn last_words(log: &Path) -> String {
    const TAIL: u64 = 2_000;
    let read = || -> std::io::Result<String> {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
        let mut tail = Vec::new();
        file.read_to_end(&mut tail)?;
        Ok(String::from_utf8_lossy(&tail).into_owned())
    };
    let tail = read().unwrap_or_default();
    let mut lines = tail.lines().rev().filter(|line| !line.trim().is_empty());
    let told = lines
        .clone()
        .find(|line| line.contains("error") || line.contains("panicked"));
    told.or_else(|| lines.next())
        .unwrap_or("nothing said")
        .trim()
        .to_owned()
}
