//! `gristmill status` and `top` beside a pipeline that runs, with the real binary.
#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

fn gristmill(state: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gristmill"));
    command
        .env("GRISTMILL_STATE_DIR", state)
        .env_remove("NO_COLOR");
    command.env("TERM", "xterm-256color");
    command
}

fn ask(state: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = gristmill(state).args(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

/// Ends with the value, whatever the test does.
struct Demo {
    child: Child,
    address: String,
}

impl Demo {
    fn start(state: &Path) -> Self {
        let mut child = gristmill(state)
            .args(["demo", "--rate", "200", "--listen", "127.0.0.1:0"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = lines.map_while(Result::ok).find_map(|line| {
            let (_, rest) = line.split_once("page on http://")?;
            Some(rest.split('/').next()?.to_owned())
        });
        let address = address.unwrap();
        Self { child, address }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A terminal of its own, of 120 columns and 30 rows: our end and the program's.
fn terminal() -> (File, File) {
    let size = libc::winsize {
        ws_row: 30,
        ws_col: 120,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let (mut ours, mut theirs) = (0, 0);
    // SAFETY: two numbers to write to, no name, no settings, a size to read; the descriptors are
    // new and nobody else's.
    #[allow(unsafe_code)]
    unsafe {
        let none = std::ptr::null_mut();
        let made = libc::openpty(&mut ours, &mut theirs, none, std::ptr::null_mut(), &size);
        assert_eq!(made, 0);
        (File::from_raw_fd(ours), File::from_raw_fd(theirs))
    }
}

/// What the program shows until `text` is part of it.
fn shows(screen: &mut File, text: &str) -> String {
    let deadline = Instant::now() + PATIENCE;
    let mut shown = String::new();
    while !shown.contains(text) {
        assert!(Instant::now() < deadline, "no `{text}` in {shown:?}");
        let mut bytes = [0; 4096];
        let n = screen.read(&mut bytes).unwrap();
        shown.push_str(&String::from_utf8_lossy(&bytes[..n]));
    }
    shown
}

#[test]
fn a_running_pipeline_is_found_and_shown() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path();
    let (code, _, said) = ask(state, &["status"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("no pipeline of yours runs here"), "{said}");

    let demo = Demo::start(state);
    let (code, text, said) = ask(state, &["status"]);
    assert_eq!(code, Some(0), "{said}");
    for expect in [
        "wikipedia ",
        "sse-source ▶ wikipedia-edits",
        "wikipedia-edits ▶ redis-sink",
    ] {
        assert!(text.contains(expect), "{expect}\n{text}");
    }
    for target in [
        "wikipedia",
        &demo.address,
        &format!("http://{}/", demo.address),
    ] {
        let (code, text, said) = ask(state, &["status", target, "--json"]);
        assert_eq!(code, Some(0), "{said}");
        let status: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(status["pipeline"], "wikipedia");
        assert_eq!(status["pid"], demo.child.id());
    }
    let (code, _, said) = ask(state, &["status", "other"]);
    assert_eq!(code, Some(1));
    assert!(
        said.contains("no pipeline `other`") && said.contains("there are: wikipedia"),
        "{said}"
    );
    let (code, _, said) = ask(state, &["status", "example.org:80"]);
    assert_eq!(code, Some(2), "{said}");

    let (code, _, said) = ask(state, &["top"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("needs a terminal"), "{said}");

    // Killed, it lets go of its lock and leaves its files, which nobody takes for a pipeline.
    drop(demo);
    let run = state.join(".run");
    assert!(std::fs::read_dir(&run).unwrap().count() > 0);
    assert_eq!(ask(state, &["status"]).0, Some(1));
    assert_eq!(std::fs::read_dir(&run).unwrap().count(), 0);
}

#[test]
fn top_draws_follows_the_size_and_gives_the_terminal_back() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path();
    let demo = Demo::start(state);
    for (key, code) in [("q", 0), ("\u{3}", 130)] {
        let (mut ours, theirs) = terminal();
        let end = || Stdio::from(theirs.try_clone().unwrap());
        let mut top = gristmill(state)
            .arg("top")
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .unwrap();
        let shown = shows(&mut ours, "q quits");
        assert!(shown.contains("\u{1b}[?1049h"), "{shown:?}");
        assert!(
            shown.contains("recentchange") && shown.contains("type-counts"),
            "{shown:?}"
        );
        let narrow = libc::winsize {
            ws_row: 12,
            ws_col: 50,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        // SAFETY: the descriptor is open, and the size is read before this returns.
        #[allow(unsafe_code)]
        unsafe {
            assert_eq!(libc::ioctl(ours.as_raw_fd(), libc::TIOCSWINSZ, &narrow), 0);
            libc::kill(top.id() as i32, libc::SIGWINCH);
        }
        // All of it is drawn anew, and the last row is another one now.
        shows(&mut ours, "\u{1b}[12;");
        ours.write_all(key.as_bytes()).unwrap();
        shows(&mut ours, "\u{1b}[?1049l");
        assert_eq!(top.wait().unwrap().code(), Some(code));
    }
    drop(demo);
}
