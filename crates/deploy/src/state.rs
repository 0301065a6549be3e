//! Where deployments are on disk, and who holds them.
//!
//! ```text
//! STATE/PIPELINE/lock            flock of the supervisor, and who that is
//!                workers.lock    shared flock of every stage's process
//!                socket          where the supervisor listens
//!                state.json      the revision that is deployed; gone after a shutdown
//!                revisions/N/    pipeline.yaml, revision.json, modules/
//!                log/            current, 1, 2, …
//! ```
//!
//! **Invariant:** whether something runs is told by a flock, never by a file or a pid: the system
//! lets go of it however its holder ends. Pids are only for people and for `--kill`.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{DeployError, Process};

/// A killed supervisor's stages are gone within milliseconds; far beyond that.
const LEFTOVER_MAX: Duration = Duration::from_secs(10);
/// Who looks whether a lock is held holds it for a moment.
const LOOK_MAX: Duration = Duration::from_millis(300);
/// `sockaddr_un` has room for so many bytes and a zero.
const SOCKET_PATH_MAX: usize = 107;

/// Where all deployments of a user are.
#[derive(Debug, Clone)]
pub struct StateDir(PathBuf);

/// One pipeline's place in it.
#[derive(Debug, Clone)]
pub struct Deployment {
    /// `meta.name`.
    pub name: String,
    dir: PathBuf,
}

/// What is deployed, as it is on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployed {
    /// Counts changes of the deployment, from 1.
    pub revision: u64,
}

/// The right to run a pipeline, as long as it lives.
#[derive(Debug)]
pub struct Lock(#[allow(dead_code, reason = "the open file is the lock")] File);

impl StateDir {
    /// `$GRISTMILL_STATE_DIR`, else `$XDG_STATE_HOME/gristmill`, else `~/.local/state/gristmill`.
    ///
    /// # Errors
    /// When none of them is set to an absolute path.
    pub fn of_user() -> Result<Self, DeployError> {
        let path = |name: &str| {
            let path = std::env::var_os(name).map(PathBuf::from);
            path.filter(|path| path.is_absolute())
        };
        path("GRISTMILL_STATE_DIR")
            .or_else(|| path("XDG_STATE_HOME").map(|dir| dir.join("gristmill")))
            .or_else(|| path("HOME").map(|dir| dir.join(".local/state/gristmill")))
            .map(Self)
            .ok_or(DeployError::NoStateDir)
    }

    /// Where pipelines that run in the foreground have their entries; no pipeline can have this name.
    pub fn runs(&self) -> PathBuf {
        self.0.join(".run")
    }

    /// The place of a pipeline, whether there is anything or not.
    pub fn deployment(&self, name: &str) -> Deployment {
        Deployment {
            name: name.to_owned(),
            dir: self.0.join(name),
        }
    }

    /// Every pipeline that was ever deployed here, sorted.
    ///
    /// # Errors
    /// A directory that cannot be read.
    pub fn deployments(&self) -> Result<Vec<Deployment>, DeployError> {
        let entries = match fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(DeployError::io(&self.0)(error)),
        };
        let mut names: Vec<String> = entries
            .flatten()
            .filter(|entry| entry.path().join("lock").is_file())
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        names.sort();
        Ok(names.iter().map(|name| self.deployment(name)).collect())
    }
}

impl Deployment {
    /// The deployment whose directory this is.
    pub fn at(dir: &Path) -> Self {
        let name = dir.file_name().unwrap_or_default().to_string_lossy();
        Self {
            name: name.into_owned(),
            dir: dir.to_owned(),
        }
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where its log is.
    pub fn log_dir(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// Where revision `number` is.
    pub fn revision_dir(&self, number: u64) -> PathBuf {
        self.dir.join("revisions").join(number.to_string())
    }

    /// Make its directory, for the user alone.
    ///
    /// # Errors
    /// What the system says; a path that is too long for the socket.
    pub fn create(&self) -> Result<(), DeployError> {
        let socket = self.socket();
        if socket.as_os_str().len() > SOCKET_PATH_MAX {
            return Err(DeployError::LongPath { path: socket });
        }
        for dir in [self.dir.join("revisions"), self.log_dir()] {
            let mut builder = DirBuilder::new();
            let made = builder.recursive(true).mode(0o700).create(&dir);
            made.map_err(DeployError::io(&dir))?;
        }
        Ok(())
    }

    /// Become its supervisor.
    ///
    /// # Errors
    /// [`DeployError::Running`].
    pub fn lock(&self) -> Result<Lock, DeployError> {
        let path = self.dir.join("lock");
        let fail = |error| DeployError::io(&path)(error);
        let mut file = open(&path).map_err(fail)?;
        match try_lock_for(&file, LOOK_MAX) {
            Ok(()) => {
                let me = Process::current().map_err(fail)?;
                let text = serde_json::json!(me).to_string();
                file.set_len(0)
                    .and_then(|()| file.write_all(text.as_bytes()))
                    .map_err(fail)?;
                Ok(Lock(file))
            }
            Err(TryLockError::WouldBlock) => Err(DeployError::Running {
                name: self.name.clone(),
                pid: self.pid(),
            }),
            Err(TryLockError::Error(error)) => Err(fail(error)),
        }
    }

    /// Whether a supervisor has it.
    pub fn is_locked(&self) -> bool {
        let Ok(file) = File::open(self.dir.join("lock")) else {
            return false;
        };
        // Shared: two that look do not see each other.
        matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
    }

    /// Who holds the lock, or held it last.
    pub fn supervisor(&self) -> Option<Process> {
        let mut text = String::new();
        let mut file = File::open(self.dir.join("lock")).ok()?;
        file.read_to_string(&mut text).ok()?;
        serde_json::from_str(&text).ok()
    }

    pub(crate) fn pid(&self) -> String {
        let supervisor = self.supervisor();
        supervisor.map_or_else(|| "?".to_owned(), |process| process.pid.to_string())
    }

    /// Wait until no stage of an earlier supervisor is there.
    ///
    /// # Errors
    /// [`DeployError::Leftover`].
    pub(crate) fn wait_for_workers(&self) -> Result<(), DeployError> {
        let path = self.dir.join("workers.lock");
        let file = open(&path).map_err(DeployError::io(&path))?;
        match try_lock_for(&file, LEFTOVER_MAX) {
            Ok(()) => Ok(()),
            Err(TryLockError::WouldBlock) => {
                let name = self.name.clone();
                Err(DeployError::Leftover { name })
            }
            Err(TryLockError::Error(error)) => Err(DeployError::io(&path)(error)),
        }
    }

    /// As a stage's process: be seen by [`wait_for_workers`](Self::wait_for_workers).
    pub(crate) fn enter(&self) -> Result<Lock, DeployError> {
        let path = self.dir.join("workers.lock");
        let file = open(&path).map_err(DeployError::io(&path))?;
        file.lock_shared().map_err(DeployError::io(&path))?;
        Ok(Lock(file))
    }

    /// What is deployed; `None` after a shutdown or before the first start.
    ///
    /// # Errors
    /// A damaged file.
    pub fn deployed(&self) -> Result<Option<Deployed>, DeployError> {
        let path = self.dir.join("state.json");
        match path.exists() {
            true => read_json(&path).map(Some),
            false => Ok(None),
        }
    }

    /// Forget what a supervisor that ended without a stop has left: it is as after a shutdown.
    ///
    /// # Errors
    /// [`DeployError::Running`]; stages that still end.
    pub fn clear(&self) -> Result<(), DeployError> {
        let _lock = self.lock()?;
        self.wait_for_workers()?;
        self.set_deployed(None)
    }

    /// The directory of the newest revision, also of one that no longer runs.
    pub fn newest(&self) -> Option<PathBuf> {
        match self.last_revision() {
            0 => None,
            number => Some(self.revision_dir(number)),
        }
    }

    pub(crate) fn set_deployed(&self, deployed: Option<&Deployed>) -> Result<(), DeployError> {
        let path = self.dir.join("state.json");
        match deployed {
            Some(deployed) => write_json(&path, deployed),
            None => match fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    Err(DeployError::io(&path)(error))
                }
                _ => Ok(()),
            },
        }
    }

    fn revisions(&self) -> impl Iterator<Item = u64> {
        let entries = fs::read_dir(self.dir.join("revisions"))
            .into_iter()
            .flatten();
        entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
    }

    /// The highest number that a revision on disk has; 0 without one.
    pub(crate) fn last_revision(&self) -> u64 {
        self.revisions().max().unwrap_or(0)
    }

    /// Remove every revision but `number`.
    pub(crate) fn forget_revisions(&self, number: u64) {
        for other in self.revisions().filter(|other| *other != number) {
            // What is left is taken away next time.
            let _ = fs::remove_dir_all(self.revision_dir(other));
        }
    }

    /// A new directory for a revision that is to be deployed; it goes with the value unless it is.
    ///
    /// # Errors
    /// What the system says.
    pub fn stage(&self) -> Result<tempfile::TempDir, DeployError> {
        self.create()?;
        let dir = self.dir.join("revisions");
        tempfile::Builder::new()
            .prefix("staged-")
            .tempdir_in(&dir)
            .map_err(DeployError::io(&dir))
    }

    /// Where the supervisor listens.
    pub fn socket(&self) -> PathBuf {
        self.dir.join("socket")
    }
}

/// Lock it alone, waiting for others to let go of it for at most `patience`.
#[allow(clippy::disallowed_methods, reason = "before anything runs")]
fn try_lock_for(file: &File, patience: Duration) -> Result<(), TryLockError> {
    let deadline = Instant::now() + patience;
    loop {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(10));
            }
            result => return result,
        }
    }
}

fn open(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options.mode(0o600).open(path)
}

pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, DeployError> {
    let text = fs::read_to_string(path).map_err(DeployError::io(path))?;
    serde_json::from_str(&text).map_err(|error| DeployError::Damaged {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

/// Whole or not at all, also when the machine stops.
pub(crate) fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), DeployError> {
    let fail = |error| DeployError::io(path)(error);
    let fresh = path.with_extension("new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(&fresh).map_err(fail)?;
    let text = serde_json::to_string_pretty(value).map_err(std::io::Error::from);
    let text = text.map_err(fail)?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&fresh, path))
        .map_err(fail)
}
