//! Processes under measurement: started, looked at, ended, and what they cost.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};

/// A child that is ended with us.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    reaped: bool,
    pub(crate) started_ns: u64,
}

impl Process {
    /// Start `command` with its standard output in the file `output`.
    pub(crate) fn start(command: &mut Command, output: &Path) -> Result<Self> {
        let file = std::fs::File::create(output)?;
        command.stdin(Stdio::null()).stdout(file);
        let started_ns = now_ns();
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        Ok(Self {
            child,
            reaped: false,
            started_ns,
        })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&self) -> bool {
        // A zombie is still in /proc, in state Z.
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid()));
        stat.map_or(true, |stat| {
            stat.rsplit(')')
                .next()
                .unwrap_or("")
                .trim()
                .starts_with('Z')
        })
    }

    /// User and system time so far.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid()))?;
        // The name, in parentheses, may hold anything; utime and stime are fields 14 and 15.
        let fields = stat.rsplit(')').next().unwrap_or_default();
        let mut ticks = fields.split_whitespace().skip(11).map(str::parse::<u64>);
        let mut next = || {
            ticks
                .next()
                .context("no such field")?
                .map_err(anyhow::Error::from)
        };
        let ticks = next()? + next()?;
        // SAFETY: asks for a constant of the system.
        #[allow(unsafe_code)]
        let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) }.max(1) as u64;
        Ok(Duration::from_millis(ticks * 1000 / per_second))
    }

    /// Ask it to end (SIGTERM).
    pub(crate) fn terminate(&self) {
        // SAFETY: a signal to a child that has not been waited for, so the pid is its own.
        #[allow(unsafe_code)]
        unsafe {
            libc::kill(self.pid() as libc::pid_t, libc::SIGTERM)
        };
    }

    /// Wait for its end; returns the processor time that it used. A failure, or no end within
    /// `timeout`, is an error.
    pub(crate) fn finish(self, timeout: Duration) -> Result<Duration> {
        let pid = self.pid();
        let (status, cpu) = self.reap(timeout)?;
        if status != 0 {
            bail!("process {pid} failed (wait status {status})");
        }
        Ok(cpu)
    }

    /// End one that may answer SIGTERM with any status; returns the processor time that it used.
    /// No end within `timeout` is an error.
    pub(crate) fn end(self, timeout: Duration) -> Result<Duration> {
        self.terminate();
        Ok(self.reap(timeout)?.1)
    }

    /// Wait for its end; returns the wait status and the processor time that it used.
    fn reap(mut self, timeout: Duration) -> Result<(i32, Duration)> {
        let deadline = Instant::now() + timeout;
        while !self.has_ended() {
            if Instant::now() > deadline {
                bail!("process {} did not end within {timeout:?}", self.pid());
            }
            crate::cluster::pause(Duration::from_millis(2));
        }
        let mut status = 0;
        // SAFETY: plain data, for which zeroes are valid.
        #[allow(unsafe_code)]
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: both out-parameters are ours; the child has not been waited for.
        #[allow(unsafe_code)]
        let pid = unsafe { libc::wait4(self.pid() as libc::pid_t, &mut status, 0, &mut usage) };
        self.reaped = true;
        if pid < 0 {
            bail!("process {} cannot be waited for", self.pid());
        }
        let time = |t: libc::timeval| {
            Duration::from_secs(t.tv_sec as u64) + Duration::from_micros(t.tv_usec as u64)
        };
        Ok((status, time(usage.ru_utime) + time(usage.ru_stime)))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.reaped {
            // It may have ended; then there is nothing to end.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Largest resident set of a living process so far, in bytes. (`ru_maxrss` would not do: it begins
/// with what the parent had.)
pub(crate) fn peak_bytes(pid: u32) -> u64 {
    status_bytes(pid, "VmHWM:")
}

/// A size out of `/proc/PID/status`; 0 once the process is gone.
pub(crate) fn status_bytes(pid: u32, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
    kib.unwrap_or(0_u64) * 1024
}

/// Nanoseconds since the epoch: processes of one machine compare theirs.
pub(crate) fn now_ns() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_nanos() as u64)
}
