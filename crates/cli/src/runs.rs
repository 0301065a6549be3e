//! Which pipelines of this user run, and where they can be asked.
//!
//! Each `gristmill up` has a file `STATE/run/PIPELINE-PID.json` and a socket beside it for as long
//! as it runs.
//!
//! **Invariant:** whether one runs is told by the lock on its file, which the system lets go of
//! however its holder ends. A file without a lock is a leftover, and whoever looks takes it away.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use gristmill_deploy::StateDir;
use serde::{Deserialize, Serialize};

/// A pipeline that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Run {
    /// `meta.name`.
    pub(crate) pipeline: String,
    /// Its process.
    pub(crate) pid: u32,
    /// When it started (RFC 3339).
    pub(crate) started: String,
    /// Where it serves its page, if it does.
    pub(crate) address: Option<SocketAddr>,
    /// The socket that answers the same questions, for this user alone.
    pub(crate) socket: Option<PathBuf>,
}

/// Our own entry; it goes with the value.
pub(crate) struct Entry {
    path: PathBuf,
    /// The open file is the lock.
    lock: File,
}

/// Where the entries are.
fn run_dir() -> io::Result<PathBuf> {
    let state = StateDir::of_user().map_err(io::Error::other)?;
    Ok(state.runs())
}

/// Every pipeline of this user that runs, by name and age.
///
/// # Errors
/// No state directory, or one that cannot be read.
pub(crate) fn all() -> io::Result<Vec<Run>> {
    in_dir(&run_dir()?)
}

fn in_dir(dir: &Path) -> io::Result<Vec<Run>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut runs = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "json") {
            // One that went meanwhile, or that nobody can read, is none.
            runs.extend(look(&path).ok().flatten());
        }
    }
    runs.sort_by(|a, b| (&a.pipeline, &a.started, a.pid).cmp(&(&b.pipeline, &b.started, b.pid)));
    Ok(runs)
}

/// The run that `path` tells of, if it still goes on.
fn look(path: &Path) -> io::Result<Option<Run>> {
    let file = File::open(path)?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => Ok(serde_json::from_reader(&file).ok()),
        Err(TryLockError::Error(error)) => Err(error),
        Ok(()) => {
            remove(path);
            Ok(None)
        }
    }
}

fn remove(path: &Path) {
    // Both may be gone already.
    let _ = fs::remove_file(path.with_extension("sock"));
    let _ = fs::remove_file(path);
}

impl Entry {
    /// Prepare to tell that `pipeline` runs in this process; nobody sees it yet.
    ///
    /// # Errors
    /// No state directory, or one that cannot be written.
    pub(crate) fn new(pipeline: &str) -> io::Result<Self> {
        Self::in_dir(&run_dir()?, pipeline)
    }

    fn in_dir(dir: &Path, pipeline: &str) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        // It may be there already, for all to read.
        fs::set_permissions(dir, Permissions::from_mode(0o700))?;
        in_dir(dir)?;
        let name = format!("{}-{}.json", file_name(pipeline), std::process::id());
        let path = dir.join(name);
        // Leftovers of a process that had our id.
        remove(&path);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let lock = options.open(path.with_extension("new"))?;
        lock.try_lock().map_err(io::Error::from)?;
        Ok(Self { path, lock })
    }

    /// Where to listen.
    pub(crate) fn socket(&self) -> PathBuf {
        self.path.with_extension("sock")
    }

    /// Tell it, whole and locked from the first moment on.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn publish(&mut self, run: &Run) -> io::Result<()> {
        let text = serde_json::to_string_pretty(run)?;
        self.lock.write_all(text.as_bytes())?;
        fs::rename(self.path.with_extension("new"), &self.path)
    }
}

impl Run {
    /// `pipeline` in this process, from now on.
    pub(crate) fn ours(
        pipeline: &str,
        address: Option<SocketAddr>,
        socket: Option<PathBuf>,
    ) -> Self {
        let now = std::time::SystemTime::now();
        Self {
            pipeline: pipeline.to_owned(),
            pid: std::process::id(),
            started: humantime::format_rfc3339_seconds(now).to_string(),
            address,
            socket,
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.path.with_extension("new"));
        remove(&self.path);
    }
}

/// A pipeline's name as part of a file's: it may be a text of any kind.
fn file_name(pipeline: &str) -> String {
    let plain = |c: char| match c {
        c if c.is_ascii_alphanumeric() || c == '-' || c == '_' => c,
        _ => '_',
    };
    pipeline.chars().map(plain).take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_seen_while_it_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("run");
        assert_eq!(in_dir(&dir).unwrap(), []);
        let mut entry = Entry::in_dir(&dir, "my/pipe line").unwrap();
        assert_eq!(in_dir(&dir).unwrap(), [], "not yet");
        let address = "127.0.0.1:9464".parse().unwrap();
        let run = Run::ours("my/pipe line", Some(address), Some(entry.socket()));
        entry.publish(&run).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&dir), mode(&entry.path)), (0o700, 0o600));
        let name = entry.path.file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with("my_pipe_line-"), "{name}");
        assert_eq!(in_dir(&dir).unwrap(), [run]);
        drop(entry);
        assert_eq!(in_dir(&dir).unwrap(), []);
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
    }

    #[test]
    fn what_a_killed_process_left_is_taken_away() {
        let dir = tempfile::tempdir().unwrap();
        // No lock on it: its process has ended, whoever has its pid now.
        let left = Run::ours("p", None, None);
        let text = serde_json::to_string(&left).unwrap();
        fs::write(dir.path().join("p-1.json"), text).unwrap();
        fs::write(dir.path().join("p-1.sock"), "").unwrap();
        fs::write(dir.path().join("other.txt"), "").unwrap();
        assert_eq!(in_dir(dir.path()).unwrap(), []);
        let rest: Vec<_> = fs::read_dir(dir.path()).unwrap().flatten().collect();
        assert_eq!(rest.len(), 1, "{rest:?}");
    }
}
