//! The redis-server.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::Process;

/// Whether it is installed.
pub(crate) fn check() -> Result<()> {
    Command::new("redis-server")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .map(drop)
        .context("redis-server not found: install it (`apt-get install redis-server`), or use --no-redis")
}

/// Start it with its data in `dir`.
pub(crate) fn spawn(dir: &Path, port: u16) -> Result<Process> {
    let mut command = Command::new("redis-server");
    command
        .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
        // Every write is in the file within a second; no snapshots, which only cost here.
        .args(["--appendonly", "yes", "--save", ""])
        .arg("--dir")
        .arg(dir);
    Ok(Process::spawn(&mut command, &dir.join("redis.log"))?)
}

/// Wait until it answers, its append-only file loaded; false if it ends instead.
#[allow(clippy::disallowed_methods, reason = "no runtime here")]
pub(crate) fn wait(process: &Process, port: u16, dir: &Path) -> Result<bool> {
    let deadline = Instant::now() + Duration::from_secs(60);
    while ping(port).ok() != Some(true) {
        if !process.is_alive() {
            return Ok(false);
        }
        if Instant::now() > deadline {
            bail!(
                "redis-server does not answer on port {port}: {}",
                last_words(dir)
            );
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(true)
}

/// The end of its log.
pub(crate) fn last_words(dir: &Path) -> String {
    let log = dir.join("redis.log");
    let text = std::fs::read_to_string(&log).unwrap_or_default();
    let mut last: Vec<&str> = text.lines().rev().take(3).collect();
    last.reverse();
    format!("{} ends with: {}", log.display(), last.join(" | "))
}

fn ping(port: u16) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    stream.write_all(b"PING\r\n")?;
    let mut answer = [0; 5];
    stream.read_exact(&mut answer)?;
    Ok(&answer == b"+PONG")
}
