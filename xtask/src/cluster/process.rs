//! Processes that outlive us, told from strangers by their start time.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

/// A process that was started here.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Process {
    /// Its id, which the system may give to another once it has ended.
    pub(crate) pid: i32,
    /// When it started, in clock ticks since boot (`/proc/PID/stat`, field 22): with the pid, a
    /// name that is not given twice.
    pub(crate) start_ticks: u64,
}

impl Process {
    /// Start `command` in a process group of its own, so that a Ctrl-C meant for us spares it, with
    /// its output appended to `log`.
    pub(crate) fn spawn(command: &mut Command, log: &Path) -> Result<Self> {
        let out = File::options().create(true).append(true).open(log)?;
        let child = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .with_context(|| format!("cannot start {:?}", command.get_program()))?;
        let pid = i32::try_from(child.id())?;
        let (_, start_ticks) = stat(pid).with_context(|| format!("process {pid} ended at once"))?;
        Ok(Self { pid, start_ticks })
    }

    /// Whether this very process still runs.
    pub(crate) fn is_alive(&self) -> bool {
        // As our own child it stays a zombie until it is waited for.
        reap(self.pid);
        stat(self.pid).is_some_and(|(state, start)| start == self.start_ticks && state != 'Z')
    }

    /// SIGKILL, and wait for its end.
    #[allow(clippy::disallowed_methods, reason = "no runtime here")]
    pub(crate) fn kill(&self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.is_alive() {
            signal(self.pid, libc::SIGKILL)?;
            if Instant::now() > deadline {
                bail!("process {} does not end", self.pid);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// SIGSTOP or SIGCONT.
    pub(crate) fn pause(&self, paused: bool) -> Result<()> {
        if !self.is_alive() {
            bail!("process {} has ended", self.pid);
        }
        signal(self.pid, if paused { libc::SIGSTOP } else { libc::SIGCONT })
    }
}

/// State and start time of a process, from `/proc/PID/stat`.
fn stat(pid: i32) -> Option<(char, u64)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    parse_stat(&text)
}

fn parse_stat(text: &str) -> Option<(char, u64)> {
    // The name in parentheses may hold anything, spaces and parentheses too: count from its end.
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?.chars().next()?;
    // Fields 1 and 2 are behind us and `next` took field 3.
    let start = fields.nth(22 - 4)?.parse().ok()?;
    Some((state, start))
}

#[allow(unsafe_code)]
fn signal(pid: i32, signal: i32) -> Result<()> {
    // SAFETY: kill(2) touches no memory of ours.
    if unsafe { libc::kill(pid, signal) } == 0 {
        return Ok(());
    }
    let error = std::io::Error::last_os_error();
    if error.raw_os_error() == Some(libc::ESRCH) {
        return Ok(());
    }
    Err(error).with_context(|| format!("cannot signal process {pid}"))
}

#[allow(unsafe_code)]
fn reap(pid: i32) {
    // SAFETY: waitpid(2) takes a null status; of a pid that is no child of ours it says ECHILD.
    unsafe { libc::waitpid(pid, std::ptr::null_mut(), libc::WNOHANG) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_reads_past_a_name_with_parentheses() {
        let tail = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20";
        assert_eq!(parse_stat(&format!("9 (a) b) {tail}")), Some(('S', 4711)));
        assert_eq!(parse_stat("9 (a"), None);
    }

    #[test]
    fn a_recycled_pid_is_not_ours() {
        let dir = std::env::temp_dir();
        let log = dir.join(format!("xtask-process-{}.log", std::process::id()));
        let process = Process::spawn(Command::new("sleep").arg("60"), &log).unwrap();
        let stranger = Process {
            start_ticks: process.start_ticks + 1,
            ..process.clone()
        };
        assert!(!stranger.is_alive());
        stranger.kill().unwrap();
        assert!(process.is_alive());
        process.pause(true).unwrap();
        process.kill().unwrap();
        assert!(!process.is_alive());
        std::fs::remove_file(log).unwrap();
    }
}
