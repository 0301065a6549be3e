//! `gristmill up --watch`, the real binary: files are edited while events flow.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use gristmill_replay::{GeneratorOptions, Server, ServerOptions, Source};

const EVENTS: u64 = 10_000;
/// Far beyond what any step takes, on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(120);

const PIPELINE: &str = "apiVersion: 0.1.0
meta: {name: wikipedia, version: 0.1.0}
topics:
  edits: {partitions: 3}
connectors:
  - meta: {name: stream, type: sse-source, version: 0.1.0, topic: edits}
    sse: {url: URL, user-agent: test/0.1, key: /id}
  - meta: {name: counts, type: redis-sink, version: 0.1.0, topic: edits}
    transforms:
      - uses: mark
    redis: {url: redis://127.0.0.1:6379/0, count: \"{value}\"}
";

/// The binary at work, and what it says on standard error, line by line.
struct Up {
    child: Child,
    lines: Receiver<String>,
    said: String,
}

impl Up {
    fn start(dir: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_gristmill"))
            .args([
                "up",
                "--local",
                "--watch",
                "--json",
                "--until-idle",
                "3s",
                "-v",
            ])
            .current_dir(dir)
            .env("XDG_CACHE_HOME", dir.join("cache"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in stderr.lines() {
                if sender.send(line.unwrap()).is_err() {
                    return;
                }
            }
        });
        Self {
            child,
            lines,
            said: String::new(),
        }
    }

    /// Read on until a line holds `text`, and give what was said up to there.
    #[track_caller]
    fn says(&mut self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut heard = String::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    heard.push_str(&line);
                    heard.push('\n');
                    self.said.push_str(&line);
                    self.said.push('\n');
                    if line.contains(text) {
                        return heard;
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("`{text}` was not said; this was:\n{}", self.said)
                }
            }
        }
    }

    /// The final report.
    fn ends(mut self) -> serde_json::Value {
        let mut out = String::new();
        let mut stdout = self.child.stdout.take().unwrap();
        stdout.read_to_string(&mut out).unwrap();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}\n{}", self.said);
        serde_json::from_str(&out).unwrap()
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        // Only of a test that has failed already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn put_module(dir: &Path, mark: char) {
    let mark = format!("(i32.const {})", mark as u32);
    let text =
        include_str!("../../smartengine/tests/guests/mark.wat").replace("(i32.const MARK)", &mark);
    let path: PathBuf = dir.join("smartmodules/mark.wasm");
    std::fs::write(path, wat::parse_str(text).unwrap()).unwrap();
}

#[test]
fn edits_are_taken_over_and_mistakes_are_told() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let source = Source::Generate {
        options: GeneratorOptions::default(),
        events: Some(EVENTS),
    };
    let options = ServerOptions {
        rate: Some(1_000.0),
        ..ServerOptions::new(source)
    };
    let server = runtime.block_on(Server::start(options)).unwrap();
    let pipeline = PIPELINE.replace("URL", &server.url());
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("smartmodules")).unwrap();
    put_module(dir.path(), '1');
    let file = dir.path().join("pipeline.yaml");
    let save = |text: &str| std::fs::write(&file, text).unwrap();
    save(&pipeline);
    let mut up = Up::start(dir.path());
    up.says("connector=\"counts\"");
    #[allow(clippy::disallowed_methods, reason = "a test's own thread")]
    std::thread::sleep(Duration::from_millis(700));

    // Another build of the module.
    put_module(dir.path(), '2');
    up.says("counts: other transforms from the next batch on");
    up.says("goes on with its new transforms");

    // A mistake in the file is told with its place and its remedy.
    save(&pipeline.replace("partitions: 3", "partitoins: 3"));
    let said = up.says("runs on as it was");
    assert!(said.contains("pipeline.yaml:4:11"), "{said}");
    assert!(said.contains("did you mean `partitions`?"), "{said}");

    // So is a module that is none, in a file that is right.
    save(&pipeline);
    std::fs::write(dir.path().join("smartmodules/mark.wasm"), b"\0asm nonsense").unwrap();
    let said = up.says("runs on as it was");
    assert!(
        said.contains("pipeline.yaml:10:9: counts: transforms: SmartModule mark"),
        "{said}"
    );

    // And one that the file asks for and that is not there, until it is.
    put_module(dir.path(), '2');
    save(&pipeline.replace("uses: mark", "uses: mork"));
    let said = up.says("runs on as it was");
    assert!(said.contains("did you mean `mark`?"), "{said}");

    // The stage of another key starts anew where it was.
    put_module(dir.path(), '3');
    save(&pipeline.replace("{value}", "x{value}"));
    let said = up.says("`count` is another");
    assert!(
        said.contains("counts: restarts at its stored position (redis changed)"),
        "{said}"
    );

    let report = up.ends();
    let counts = report["counts"].as_object().unwrap();
    let total: i64 = counts.values().map(|n| n.as_i64().unwrap()).sum();
    assert_eq!(total, EVENTS as i64, "{counts:?}");
    for key in ["1", "2", "x3"] {
        assert!(counts[key].as_i64().unwrap() > 0, "{counts:?}");
    }
    assert_eq!(counts.len(), 3, "{counts:?}");
    runtime.block_on(server.stop());
}
