//! Processes that outlive us, told from strangers by their start time.

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// A process, named so that no other is ever meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its id, which the system may give to another once it has ended.
    pub pid: i32,
    /// When it started, in clock ticks since boot (`/proc/PID/stat`, field 22): with the pid, a
    /// name that is not given twice.
    pub start_ticks: u64,
}

impl Process {
    /// Start `command` in a process group of its own, so that a Ctrl-C meant for us spares it, with
    /// its output appended to `log`.
    ///
    /// # Errors
    /// When the log cannot be opened or the program cannot be started, or ends at once.
    pub fn spawn(command: &mut Command, log: &Path) -> io::Result<Self> {
        let out = File::options().create(true).append(true).open(log)?;
        let child = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .map_err(|error| {
                let program = command.get_program().display();
                io::Error::new(error.kind(), format!("cannot start {program}: {error}"))
            })?;
        Self::of(child.id())
    }

    /// The process that has the id `pid` now.
    ///
    /// # Errors
    /// When there is none.
    pub fn of(pid: u32) -> io::Result<Self> {
        let none = || io::Error::new(io::ErrorKind::NotFound, format!("no process {pid}"));
        let pid = i32::try_from(pid).map_err(|_| none())?;
        let (_, start_ticks) = stat(pid).ok_or_else(none)?;
        Ok(Self { pid, start_ticks })
    }

    /// This process.
    ///
    /// # Errors
    /// Where there is no `/proc`.
    pub fn current() -> io::Result<Self> {
        Self::of(std::process::id())
    }

    /// Whether this very process still runs.
    pub fn is_alive(&self) -> bool {
        // As our own child it stays a zombie until it is waited for.
        reap(self.pid);
        self.runs()
    }

    fn runs(&self) -> bool {
        stat(self.pid).is_some_and(|(state, start)| start == self.start_ticks && state != 'Z')
    }

    /// SIGKILL, and wait for its end.
    ///
    /// # Errors
    /// When it may not be signalled, or does not end within ten seconds.
    #[allow(clippy::disallowed_methods, reason = "for callers without a runtime")]
    pub fn kill(&self) -> io::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.is_alive() {
            self.signal(libc::SIGKILL)?;
            if Instant::now() > deadline {
                let text = format!("process {} does not end", self.pid);
                return Err(io::Error::new(io::ErrorKind::TimedOut, text));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// SIGSTOP or SIGCONT.
    ///
    /// # Errors
    /// When it has ended or may not be signalled.
    pub fn pause(&self, paused: bool) -> io::Result<()> {
        if !self.is_alive() {
            let text = format!("process {} has ended", self.pid);
            return Err(io::Error::new(io::ErrorKind::NotFound, text));
        }
        self.signal(if paused { libc::SIGSTOP } else { libc::SIGCONT })
    }

    /// Send a signal to this very process; nothing happens if it has ended.
    ///
    /// # Errors
    /// When it may not be signalled.
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        let sent = match pidfd::open(self.pid) {
            // The descriptor means one process, whoever gets its id later: looked at with it in
            // hand, the start time says which.
            Ok(fd) => match self.runs() {
                true => pidfd::send(&fd, signal),
                false => return Ok(()),
            },
            Err(error) => Err(error),
        };
        match sent {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
            Err(error) => {
                let text = format!("cannot signal process {}: {error}", self.pid);
                Err(io::Error::new(error.kind(), text))
            }
            Ok(()) => Ok(()),
        }
    }
}

/// Have the kernel kill this process when `parent`, which started it, ends in whatever way.
///
/// # Errors
/// When the parent has ended already.
#[allow(unsafe_code)]
pub(crate) fn die_with_parent(parent: u32) -> io::Result<()> {
    // SAFETY: both take and give plain numbers.
    let now = unsafe {
        #[cfg(target_os = "linux")]
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        libc::getppid()
    };
    // It may have ended before we asked.
    match u32::try_from(now) == Ok(parent) {
        true => Ok(()),
        false => Err(io::Error::other(format!("process {parent} has ended"))),
    }
}

/// Let `command` run in a session of its own: no terminal's end, and no Ctrl-C, reaches it.
#[allow(unsafe_code)]
pub fn detach(command: &mut Command) -> &mut Command {
    let leave = || {
        // SAFETY: takes nothing; may be called between fork and exec (signal-safety(7)).
        match unsafe { libc::setsid() } {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    };
    // SAFETY: `leave` allocates nothing and takes no lock.
    unsafe { command.pre_exec(leave) }
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
fn reap(pid: i32) {
    // SAFETY: waitpid(2) takes a null status; of a pid that is no child of ours it says ECHILD.
    unsafe { libc::waitpid(pid, std::ptr::null_mut(), libc::WNOHANG) };
}

/// Descriptors of processes.
#[cfg(target_os = "linux")]
mod pidfd {
    use std::io;
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

    #[allow(unsafe_code)]
    pub(super) fn open(pid: i32) -> io::Result<OwnedFd> {
        // SAFETY: pidfd_open(2) takes two numbers; what it gives is a descriptor of our own.
        unsafe {
            match libc::syscall(libc::SYS_pidfd_open, pid, 0) {
                -1 => Err(io::Error::last_os_error()),
                fd => Ok(OwnedFd::from_raw_fd(fd as i32)),
            }
        }
    }

    #[allow(unsafe_code)]
    pub(super) fn send(process: &OwnedFd, signal: i32) -> io::Result<()> {
        let no_info = std::ptr::null_mut::<libc::siginfo_t>();
        // SAFETY: pidfd_send_signal(2) touches no memory of ours where it gets a null siginfo.
        let sent = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                process.as_raw_fd(),
                signal,
                no_info,
                0,
            )
        };
        match sent {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    }
}

/// Without `/proc` no process is known to run, so none is ever signalled.
#[cfg(not(target_os = "linux"))]
mod pidfd {
    use std::io;

    pub(super) fn open(_: i32) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn send((): &(), _: i32) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
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
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let process = Process::spawn(Command::new("sleep").arg("60"), &log).unwrap();
        let stranger = Process {
            start_ticks: process.start_ticks + 1,
            ..process.clone()
        };
        assert!(!stranger.is_alive());
        stranger.kill().unwrap();
        stranger.signal(libc::SIGKILL).unwrap();
        assert!(process.is_alive());
        process.pause(true).unwrap();
        process.kill().unwrap();
        assert!(!process.is_alive());
    }
}
