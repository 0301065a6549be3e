//! The real binary, as a user starts it, and what its tests share.
#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, Once};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use gristmill_flow_testing::{kafka, redis::RedisServer};
use gristmill_replay::{Event, Generator, GeneratorOptions};
use serde_json::Value;

/// Nothing that a test starts takes this long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(300);

/// The binary with `args`, away from the clone's own `pipeline.yaml`.
pub(crate) fn gristmill<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gristmill"));
    command.args(args).env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

/// The repository that is tested.
pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// What a process has printed on one of its streams so far.
#[derive(Clone, Default)]
struct Printed(Arc<Mutex<Vec<u8>>>);

impl Printed {
    fn collect(mut stream: impl Read + Send + 'static) -> (Self, JoinHandle<()>) {
        let printed = Self::default();
        let all = printed.clone();
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 8192];
            while let Ok(n @ 1..) = stream.read(&mut buffer) {
                all.0.lock().unwrap().extend_from_slice(&buffer[..n]);
            }
        });
        (printed, thread)
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

/// A started process; killed when dropped.
pub(crate) struct Running {
    child: Child,
    stdout: Printed,
    stderr: Printed,
    readers: Vec<JoinHandle<()>>,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        build_module();
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (stdout, out) = Printed::collect(child.stdout.take().unwrap());
        let (stderr, err) = Printed::collect(child.stderr.take().unwrap());
        Self {
            child,
            stdout,
            stderr,
            readers: vec![out, err],
        }
    }

    pub(crate) fn signal(&self, signal: i32) {
        // SAFETY: a child that was not waited for yet keeps its pid.
        #[allow(unsafe_code)]
        let sent = unsafe { libc::kill(self.child.id() as i32, signal) };
        assert_eq!(sent, 0, "the process is gone");
    }

    /// Wait until it has printed `text` on either stream.
    ///
    /// # Panics
    /// If it ends or hangs before.
    pub(crate) fn wait_for(&mut self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let ended = self.child.try_wait().unwrap().is_some();
            let printed = self.stdout.text() + &self.stderr.text();
            if printed.contains(text) {
                return printed;
            }
            assert!(
                !ended && Instant::now() < deadline,
                "it never said `{text}`, but: {printed}"
            );
            pause(Duration::from_millis(20));
        }
    }

    /// The end of the process and all that it printed.
    ///
    /// # Panics
    /// If it hangs.
    pub(crate) fn finish(mut self) -> Output {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > deadline {
                let printed = self.stdout.text() + &self.stderr.text();
                panic!("the process hangs; it said: {printed}");
            }
            pause(Duration::from_millis(20));
        };
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        Output {
            status,
            stdout: self.stdout.0.lock().unwrap().clone(),
            stderr: self.stderr.0.lock().unwrap().clone(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Have the shipped SmartModule built before anything is timed.
pub(crate) fn build_module() {
    static BUILT: Once = Once::new();
    BUILT.call_once(|| {
        let built = gristmill(["smartmodule", "build", "extract-type"])
            .current_dir(repository())
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&built.stderr);
        assert!(built.status.success(), "{errors}");
    });
}

#[allow(clippy::disallowed_methods, reason = "a test's own thread")]
pub(crate) fn pause(duration: Duration) {
    std::thread::sleep(duration);
}

/// Run to the end.
pub(crate) fn run(command: Command) -> Output {
    Running::start(command).finish()
}

/// Run to the end, which must be a good one; what it printed on stdout.
pub(crate) fn succeed(command: Command) -> String {
    let what = format!("{command:?}");
    let output = run(command);
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{what}: {}\n{text}\n{errors}",
        output.status
    );
    text
}

/// Run to the end; its last line on stdout as JSON.
pub(crate) fn report(command: Command) -> Value {
    let text = succeed(command);
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}

/// The counts of a report.
pub(crate) fn counts(report: &Value) -> BTreeMap<String, i64> {
    serde_json::from_value(report["counts"].clone()).unwrap()
}

/// A `gristmill replay` process and where it listens.
pub(crate) struct Replay {
    process: Running,
    pub(crate) url: String,
}

impl Replay {
    pub(crate) fn start(args: &[&str]) -> Self {
        let command = gristmill(["replay", "--listen", "127.0.0.1:0"].iter().chain(args));
        let mut process = Running::start(command);
        let printed = process.wait_for("\n");
        let url = printed
            .lines()
            .find_map(|line| line.strip_prefix("serving "));
        Self {
            url: url
                .unwrap_or_else(|| panic!("no server: {printed}"))
                .to_owned(),
            process,
        }
    }
}

/// The first `events` events of `options`, as a recording in a file, and the events themselves.
pub(crate) fn record(file: &Path, options: GeneratorOptions, events: usize) -> Vec<Event> {
    let events: Vec<Event> = Generator::new(options).take(events).collect();
    let mut text = String::from(":ok\n\n");
    for event in &events {
        text.push_str(&format!(
            "event: {}\nid: {}\ndata: {}\n\n",
            event.event, event.id, event.data
        ));
    }
    std::fs::write(file, text).unwrap();
    events
}

/// What counting `events` by type must come to.
pub(crate) fn tally(events: &[Event]) -> BTreeMap<String, i64> {
    let mut counts = BTreeMap::new();
    for event in events {
        if let Some(kind) = event.event_type {
            *counts.entry(kind.to_owned()).or_default() += 1;
        }
    }
    counts
}

/// The data of all records of `topic`, sorted: partitions have no order between them.
pub(crate) fn topic_data(project: &Project, topic: &str) -> Vec<String> {
    let mut command = project.gristmill(&["tap", topic, "--json"]);
    project.place(&mut command);
    let text = succeed(command);
    let mut data: Vec<String> = text
        .lines()
        .map(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            line["data"].as_str().unwrap().to_owned()
        })
        .collect();
    data.sort();
    data
}

/// The data of `events`, sorted.
pub(crate) fn event_data(events: &[Event]) -> Vec<String> {
    let mut data: Vec<String> = events.iter().map(|event| event.data.clone()).collect();
    data.sort();
    data
}

/// The shipped pipeline in a directory of its own, with a topic and keys that no other test uses.
pub(crate) struct Project {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) topic: String,
    pub(crate) redis: Option<RedisServer>,
    brokers: Option<String>,
}

impl Project {
    /// With embedded topics and counts.
    pub(crate) fn local() -> Self {
        let project = Self {
            dir: tempfile::tempdir().unwrap(),
            topic: "wikipedia-edits".to_owned(),
            redis: None,
            brokers: None,
        };
        project.write(|text| text);
        project
    }

    /// On the real cluster and a Redis of its own; `None` where there is neither.
    pub(crate) fn cluster() -> Option<Self> {
        let brokers = kafka::brokers()?.join(",");
        let redis = RedisServer::start()?;
        let project = Self {
            dir: tempfile::tempdir().unwrap(),
            topic: kafka::unique("wikipedia-edits"),
            redis: Some(redis),
            brokers: Some(brokers),
        };
        project.write(|text| text);
        Some(project)
    }

    /// Write the shipped file, names made unique, changed by `edit`.
    pub(crate) fn write(&self, edit: impl FnOnce(String) -> String) {
        let text = std::fs::read_to_string(repository().join("pipeline.yaml")).unwrap();
        let text = match &self.brokers {
            Some(_) => text
                .replace("{name: wikipedia,", &format!("{{name: {},", self.topic))
                .replace("wikipedia-edits", &self.topic)
                .replace("wikipedia-consumer", &format!("{}-consumer", self.topic)),
            None => text,
        };
        std::fs::write(self.file(), edit(text)).unwrap();
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.dir.path().join("pipeline.yaml")
    }

    /// `args` on this project's file.
    pub(crate) fn gristmill(&self, args: &[&str]) -> Command {
        let mut command = gristmill(args);
        command.arg("--file").arg(self.file());
        command.current_dir(self.dir.path());
        command
    }

    /// Where this project's topics and counts are.
    pub(crate) fn place(&self, command: &mut Command) {
        match (&self.brokers, &self.redis) {
            (Some(brokers), Some(redis)) => {
                command.arg(format!("--set=kafka.brokers={brokers}"));
                command.arg(format!(
                    "--set=connectors.type-counts.redis.url={}",
                    redis.url()
                ));
            }
            _ => {
                command.arg("--local");
            }
        }
    }

    /// `up` on the stream at `url`.
    pub(crate) fn up(&self, url: &str, args: &[&str]) -> Command {
        let mut command = self.gristmill(&["up", "--json"]);
        command.arg(format!("--set=connectors.recentchange.sse.url={url}"));
        command.args(args);
        self.place(&mut command);
        command
    }

    /// What `gristmill counts` says.
    pub(crate) fn counts(&self) -> BTreeMap<String, i64> {
        let mut command = self.gristmill(&["counts", "--json"]);
        self.place(&mut command);
        serde_json::from_str(succeed(command).trim()).unwrap()
    }
}
