//! A stage's process, as its supervisor has it.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};

use tokio::sync::mpsc::Sender;

use super::Event;
use crate::{Order, Process, Report};

/// Bytes of a log line, and of a report: what is longer comes in pieces, or is no report.
const LINE_BYTES_MAX: u64 = 64 << 10;
const REPORT_BYTES_MAX: u64 = 16 << 20;

pub(super) struct Child {
    /// Tells its events from those of every other one.
    pub(super) id: u64,
    pub(super) pid: u32,
    /// It was told to stop.
    pub(super) stopping: bool,
    /// Where it serves its page and metrics, if it is the one that does.
    pub(super) serves: Option<SocketAddr>,
    process: Option<Process>,
    orders: ChildStdin,
    is_ready: bool,
    /// How often it was asked to take a revision.
    takes: u64,
    /// Its answer to the last of them.
    took: Option<Result<Vec<String>, String>>,
    ended: Option<(Option<String>, bool)>,
    exit: Option<String>,
}

impl Child {
    /// Start `command`; what it says and its end become `events`.
    pub(super) fn start(mut command: Command, id: u64, events: Sender<Event>) -> io::Result<Self> {
        let mut child = command
            // A Ctrl-C on the supervisor's terminal is for the supervisor.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let pid = child.id();
        let (orders, out, err) =
            match (child.stdin.take(), child.stdout.take(), child.stderr.take()) {
                (Some(orders), Some(out), Some(err)) => (orders, out, err),
                _ => return Err(io::Error::other("no pipes")),
            };
        // A process that has ended already is still there: nobody has waited for it.
        let process = Process::of(pid).ok();
        let said = events.clone();
        let lines = std::thread::spawn(move || {
            each_line(err, LINE_BYTES_MAX, |text| {
                let text = String::from_utf8_lossy(text).into_owned();
                said.blocking_send(Event::Line(id, text)).is_ok()
            });
        });
        std::thread::spawn(move || {
            each_line(out, REPORT_BYTES_MAX, |text| {
                match serde_json::from_slice(text) {
                    Ok(report) => events.blocking_send(Event::Report(id, report)).is_ok(),
                    Err(_) => true,
                }
            });
            // Everything that it said is told before its end is.
            let _ = lines.join();
            let status = match child.wait() {
                Ok(status) => status.to_string(),
                Err(error) => error.to_string(),
            };
            let _ = events.blocking_send(Event::Exited(id, status));
        });
        Ok(Self {
            id,
            pid,
            stopping: false,
            serves: None,
            process,
            orders,
            is_ready: false,
            takes: 0,
            took: None,
            ended: None,
            exit: None,
        })
    }

    pub(super) fn go(&mut self) {
        self.order(&Order::Go);
    }

    /// Ask it to go over to the revision in `dir`.
    pub(super) fn take(&mut self, dir: &Path) {
        self.took = None;
        self.takes += 1;
        self.order(&Order::Take {
            number: self.takes,
            dir: dir.to_owned(),
        });
    }

    pub(super) fn stop(&mut self, drain_ms: u64) {
        self.stopping = true;
        self.order(&Order::Stop { drain_ms });
    }

    /// Have it tell of passing records: how many of each stage.
    pub(super) fn look(&mut self, wanted: BTreeMap<String, usize>) {
        self.order(&Order::Look(wanted));
    }

    fn order(&mut self, order: &Order) {
        if let Ok(mut text) = serde_json::to_vec(order) {
            text.push(b'\n');
            // One that has ended tells so by itself.
            let _ = self.orders.write_all(&text);
        }
    }

    pub(super) fn kill(&self) {
        if let Some(process) = &self.process {
            let _ = process.signal(libc::SIGKILL);
        }
    }

    pub(super) fn reported(&mut self, report: Report) {
        match report {
            Report::Ready => self.is_ready = true,
            Report::Serves(address) => self.serves = Some(address),
            Report::Took { number, result } if number == self.takes => self.took = Some(result),
            // It comes too late: what was asked since is answered after it.
            Report::Took { .. } => {}
            Report::Ended { error, is_final } => self.ended = Some((error, is_final)),
            Report::Stages(_) | Report::Tapped(_) => {}
        }
    }

    pub(super) fn exited(&mut self, status: &str) {
        self.exit = Some(status.to_owned());
    }

    pub(super) fn is_ready(&self) -> bool {
        self.is_ready
    }

    pub(super) fn has_exited(&self) -> bool {
        self.exit.is_some()
    }

    pub(super) fn took(&self) -> Option<&Result<Vec<String>, String>> {
        self.took.as_ref()
    }

    /// Why it ended; `None` if it had done all that it had to.
    pub(super) fn reason(&self) -> Option<String> {
        match &self.ended {
            Some((error, _)) => error.clone(),
            None => Some(format!(
                "its process was ended ({})",
                self.exit.as_deref().unwrap_or("?")
            )),
        }
    }

    /// Whether starting it again would not help.
    pub(super) fn is_final(&self) -> bool {
        matches!(self.ended, Some((_, true)))
    }
}

/// A process that nobody has is not to run.
impl Drop for Child {
    fn drop(&mut self) {
        if !self.has_exited() {
            self.kill();
        }
    }
}

fn each_line(stream: impl Read, max: u64, mut take: impl FnMut(&[u8]) -> bool) {
    let mut stream = BufReader::new(stream);
    let mut line = Vec::new();
    loop {
        line.clear();
        match stream.by_ref().take(max).read_until(b'\n', &mut line) {
            Ok(1..) if take(line.strip_suffix(b"\n").unwrap_or(&line)) => {}
            _ => return,
        }
    }
}
