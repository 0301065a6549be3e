//! The binary and what people and streams do to it: clear errors, the right exit codes, nothing
//! lost, and no terminal driven by data.
#![allow(
    clippy::unwrap_used,
    reason = "a test helper that fails is a test that fails"
)]

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// Counts whole values: no SmartModule has to be built for it.
const PIPELINE: &str = r#"
apiVersion: 0.1.0
meta: {name: bad-input, version: 0.1.0}
topics:
  events: {partitions: 1}
connectors:
  - meta: {name: stream, type: sse-source, version: 0.1.0, topic: events}
    sse:
      url: http://127.0.0.1:1/
      user-agent: gristmill-test/0.1 (https://example.org; you@example.org)
      event-bytes-max: 1000 B
  - meta: {name: counts, type: redis-sink, version: 0.1.0, topic: events}
    redis:
      url: redis://127.0.0.1:1/0
      count: "{value}"
"#;

fn gristmill<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gristmill"));
    command
        .args(args)
        .stdin(Stdio::null())
        .env_remove("GRISTMILL_FILE");
    command
}

fn output<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Output {
    gristmill(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// An empty directory for one test.
fn dir(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

fn pipeline(dir: &Path) -> String {
    let file = dir.join("pipeline.yaml");
    std::fs::write(&file, PIPELINE).unwrap();
    file.to_str().unwrap().to_owned()
}

/// A replay server, and where it is.
struct Replay {
    child: Child,
    url: String,
}

impl Replay {
    fn of(recording: &Path) -> Self {
        let mut command = gristmill(["replay", "--listen", "0"]);
        command.args(["--at-end", "no-content"]).arg(recording);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let url = line
            .trim()
            .strip_prefix("serving ")
            .expect(&line)
            .to_owned();
        Self { child, url }
    }
}

impl Drop for Replay {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
fn a_file_that_is_no_manifest_is_named_with_a_remedy() {
    let dir = dir("no-manifest");
    let bytes = dir.join("bytes.yaml");
    std::fs::write(&bytes, b"a: \xff").unwrap();
    for (file, code, texts) in [
        (dir.as_path(), 2, ["Is a directory", "name the file in it"]),
        (&dir.join("none.yaml"), 2, ["No such file", "--file"]),
        (&bytes, 2, ["bytes.yaml:1:4", "save it as UTF-8"]),
        // Endless: only what is needed to refuse it is read.
        (
            Path::new("/dev/zero"),
            2,
            ["more than 1048576 bytes", "split the pipeline"],
        ),
    ] {
        let output = output([OsStr::new("validate"), OsStr::new("-f"), file.as_os_str()]);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{error}");
        for text in texts {
            assert!(error.contains(text), "`{text}` is not in {error}");
        }
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_number_that_makes_no_sense_is_refused_with_what_does() {
    let rate = "a number from 0 (as fast as they are taken) to 1000000000";
    let some = "a whole number, 1 or more";
    let any = "a whole number, 0 or more";
    let time = "expected 0s to 100y, such as 10s";
    let replay = |flag, value| ["replay", "--generate", "9", flag, value];
    let bench = |flag, value| ["smartmodule", "bench", "x", flag, value];
    let mut cases: Vec<(Vec<&str>, &str)> = Vec::new();
    for value in ["-5", "NaN", "inf", "1e10", "fast"] {
        cases.push((replay("--rate", value).to_vec(), rate));
        cases.push((vec!["demo", "--rate", value], rate));
    }
    for value in ["-5", "0", "1.5", "many"] {
        for flag in [
            "--cut-after",
            "--cut-every",
            "--duplicate-every",
            "--stall-every",
            "--refuse-every",
            "--canary-every",
            "--malformed-every",
        ] {
            cases.push((replay(flag, value).to_vec(), some));
        }
        cases.push((vec!["demo", "--events", value], some));
        cases.push((vec!["tap", "t", "--count", value], some));
        cases.push((bench("--generate", value).to_vec(), some));
        cases.push((bench("--batch", value).to_vec(), "from 1 to 100000"));
    }
    cases.push((vec!["replay", "--generate", "-1"], any));
    cases.push((replay("--seed", "-1").to_vec(), any));
    for value in ["101y", "soon", ""] {
        for verb in ["up", "demo"] {
            cases.push((vec![verb, "--drain", value], time));
            cases.push((vec![verb, "--for", value], time));
        }
        cases.push((vec!["up", "--until-idle", value], time));
        cases.push((vec!["deploy", "log", "x", "--since", value], time));
        cases.push((vec!["deploy", "shutdown", "x", "--drain", value], time));
        cases.push((vec!["tap", "t", "--for", value], time));
        cases.push((bench("--for", value).to_vec(), time));
    }
    for (args, allowed) in cases {
        let result = output(&args);
        let error = text(&result.stderr);
        assert_eq!(result.status.code(), Some(2), "{args:?}: {error}");
        assert!(error.contains(allowed), "{args:?}: {error}");
    }
}

#[test]
fn a_doctor_tells_findings_and_no_log() {
    let dir = dir("doctor");
    let file = pipeline(&dir);
    let local = format!("--local={}", dir.join("data").display());
    let result = output(["doctor", "-f", &file, &local]);
    let (found, said) = (text(&result.stdout), text(&result.stderr));
    assert!(found.contains("FAILED   stream"), "{found}");
    assert_eq!(said, "");
    // They can be had.
    let result = output(["doctor", "-v", "-f", &file, &local]);
    assert!(text(&result.stderr).contains("WARN"), "{result:?}");
}

#[cfg(unix)]
#[test]
fn an_argument_that_is_no_text_is_wrong_usage() {
    use std::os::unix::ffi::OsStrExt;
    let output = output([
        OsStr::new("validate"),
        OsStr::new("--set"),
        OsStr::from_bytes(b"a=\xff"),
    ]);
    assert_eq!(output.status.code(), Some(2));
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_under_the_output_is_an_error_and_no_panic() {
    let full = || {
        std::fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .unwrap()
    };
    let file = pipeline(&dir("full"));
    let result = gristmill(["validate", "-f", &file])
        .stdout(full())
        .output()
        .unwrap();
    assert_eq!(result.status.code(), Some(1));
    assert!(text(&result.stderr).contains("No space left"));
    // Nobody can be told; the exit code still says it.
    let status = gristmill(["validate", "-f", "/none"])
        .stderr(full())
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(2));
}

#[test]
fn looking_for_what_is_not_there_makes_nothing() {
    let dir = dir("looking");
    let file = pipeline(&dir);
    let local = dir.join("none");
    let local_arg = format!("--local={}", local.display());
    for verb in [
        &["counts"][..],
        &["tap", "events"],
        &["dead-letter", "list", "events"],
    ] {
        let output = output(verb.iter().copied().chain(["-f", &file, &local_arg]));
        assert_eq!(output.status.code(), Some(1), "{verb:?}");
        assert!(
            text(&output.stderr).contains("gristmill up --local"),
            "{verb:?}"
        );
        assert!(!local.exists(), "{verb:?}");
    }
    let a_file = format!("--local={file}");
    let output = output(["counts", "-f", &file, &a_file]);
    assert_eq!(output.status.code(), Some(1));
    let error = text(&output.stderr);
    assert_eq!(error.matches("not a directory").count(), 1, "{error}");
}

#[test]
fn hostile_events_are_counted_or_kept_and_drive_no_terminal() {
    let dir = dir("hostile");
    let file = pipeline(&dir);
    let recording = dir.join("events.sse");
    let huge = "x".repeat(2 << 20);
    let key = "\u{1b}]0;pwned\u{7}\0\u{9b}31m";
    let events = format!("id: 1\ndata: {key}\n\nid: 2\ndata: {huge}\n\nid: 3\ndata: good\n\n");
    std::fs::write(&recording, events).unwrap();
    let replay = Replay::of(&recording);
    let url = format!("connectors.stream.sse.url={}", replay.url);
    let local = format!("--local={}", dir.join("data").display());

    let output = output([
        "up",
        "-f",
        &file,
        &local,
        "--set",
        &url,
        "--until-idle",
        "1s",
    ]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let shown = text(&output.stdout) + &text(&output.stderr);
    assert!(shown.contains("␛]0;pwned␇␀"), "{shown}");

    let letters = self::output(["dead-letter", "list", "events", "-f", &file, &local]);
    let shown = shown + &text(&letters.stdout);
    assert!(
        shown.contains("event of 2097152 bytes is larger than"),
        "{shown}"
    );

    let counts = self::output(["counts", "-f", &file, &local]);
    let shown = shown + &text(&counts.stdout);
    let bad = shown
        .chars()
        .find(|c| c.is_control() && !"\n\t".contains(*c));
    assert_eq!(bad, None, "{shown:?}");

    let slip = self::output(["tap", "evnts", "-f", &file, &local]);
    assert_eq!(slip.status.code(), Some(1));
    let said = text(&slip.stderr);
    assert!(said.contains("= help: did you mean `events`?"), "{said}");

    let counts = self::output(["counts", "-f", &file, &local, "--json"]);
    let counts: serde_json::Value = serde_json::from_slice(&counts.stdout).unwrap();
    assert_eq!(counts, serde_json::json!({ key: 1, "good": 1 }));
}
