//! A user's state directory of a test's own, with a pipeline to deploy.
#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use gristmill_deploy::{Deployment, Process};
use serde_json::Value;
use tempfile::TempDir;

use crate::common::{gristmill, pause};

/// Far beyond what any step takes, on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(60);

/// Its stream never answers, which is what stages have to live with.
pub(crate) const PIPELINE: &str = "apiVersion: 0.1.0
meta: {name: p, version: 0.1.0}
topics:
  edits: {partitions: 1}
connectors:
  - meta: {name: counts, type: redis-sink, version: 0.1.0, topic: edits}
    redis: {url: redis://127.0.0.1:6379/0, count: \"{value}\"}
  - meta: {name: stream, type: sse-source, version: 0.1.0, topic: edits}
    sse: {url: http://127.0.0.1:9/stream, user-agent: test/0.1, key: /id}
";

/// Everything that it started is gone with it.
pub(crate) struct Site {
    dir: TempDir,
}

/// All that a process has said.
pub(crate) fn said(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8(text).unwrap()
}

impl Site {
    pub(crate) fn new() -> Self {
        // A socket's path is short.
        let dir = tempfile::Builder::new()
            .prefix("gm-")
            .tempdir_in("/tmp")
            .unwrap();
        std::fs::write(dir.path().join("pipeline.yaml"), PIPELINE).unwrap();
        Self { dir }
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn state(&self) -> std::path::PathBuf {
        self.dir().join("state")
    }

    pub(crate) fn deployment(&self) -> Deployment {
        Deployment::at(&self.state().join("p"))
    }

    pub(crate) fn supervisor(&self) -> Process {
        self.deployment().supervisor().unwrap()
    }

    pub(crate) fn edit(&self, edit: impl FnOnce(String) -> String) {
        let file = self.dir().join("pipeline.yaml");
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, edit(text)).unwrap();
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = gristmill(args);
        command
            .current_dir(self.dir())
            .env("GRISTMILL_STATE_DIR", self.state())
            .env_remove("GRISTMILL_FILE")
            .env_remove("RUST_BACKTRACE");
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// What it says, on both streams.
    #[track_caller]
    pub(crate) fn succeed(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(
            output.status.success(),
            "{args:?}: {output:?}\n{}",
            self.log()
        );
        said(&output)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.deployment().log_dir().join("current")).unwrap_or_default()
    }

    /// What `deploy list --json` says of the one deployment.
    #[track_caller]
    pub(crate) fn status(&self) -> Value {
        let output = self.run(&["deploy", "list", "--json"]);
        let all: Value = serde_json::from_slice(&output.stdout).unwrap();
        all[0].clone()
    }

    /// Every process that works on this state directory but for users' commands: id and verb.
    pub(crate) fn processes(&self) -> Vec<(u32, String)> {
        let state = self.state();
        let state = state.to_str().unwrap();
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok())
            else {
                continue;
            };
            let Ok(line) = std::fs::read(entry.path().join("cmdline")) else {
                continue;
            };
            let line = String::from_utf8_lossy(&line).into_owned();
            let mut words = line.split('\0').skip(1);
            let verb = words.next().unwrap_or_default();
            // In the foreground it names no directory: its environment does.
            let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
            let ours = String::from_utf8_lossy(&environment).contains(state);
            if ours && (matches!(verb, "supervise" | "stage") || line.contains("--foreground")) {
                found.push((pid, verb.to_owned()));
            }
        }
        found
    }

    #[track_caller]
    pub(crate) fn until(&self, what: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !what(self) {
            let now = Instant::now();
            assert!(now < deadline, "{:?}\n{}", self.processes(), self.log());
            pause(Duration::from_millis(20));
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = self.run(&["deploy", "shutdown", "--all", "--drain", "0s"]);
        for (pid, _) in self.processes() {
            if let Ok(process) = Process::of(pid) {
                let _ = process.signal(libc::SIGKILL);
            }
        }
    }
}
