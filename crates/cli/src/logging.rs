//! Log lines on standard error, beside the live view and without secrets.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use gristmill_manifest::Redactions;
use indicatif::MultiProgress;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::args::LogFormat;
use crate::output;

/// The live view, if there is one: a log line must appear above it, not through it.
static LIVE: Mutex<Option<MultiProgress>> = Mutex::new(None);
/// Whether log lines are dropped.
static MUTED: AtomicBool = AtomicBool::new(false);
/// The variable with a tracing filter.
const FILTER: &str = "GRISTMILL_LOG";
/// Texts that no log line may hold.
static REDACTIONS: Mutex<Option<Redactions>> = Mutex::new(None);

/// Log at the level that `verbose` asks for; `GRISTMILL_LOG` (a tracing filter) goes before it.
/// Lines for people have a time if they are `timed`.
pub(crate) fn init(verbose: u8, format: LogFormat, timed: bool) {
    let level = match verbose {
        0 => "warn",
        1 => "info,gristmill=info",
        _ => "debug,hyper=info,hyper_util=info,rustls=info,wasmtime=info,cranelift=info",
    };
    let filter = EnvFilter::try_from_env(FILTER).unwrap_or_else(|_| EnvFilter::new(level));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(output::is_live())
        .with_target(verbose > 1)
        .with_writer(Stderr);
    match format {
        LogFormat::Text if timed => builder.init(),
        LogFormat::Text => builder.without_time().init(),
        LogFormat::Json => builder.json().init(),
    }
}

/// From now on no log line holds what `redactions` names, nor what was named before: a pipeline
/// may run on with the old ones.
pub(crate) fn redact(redactions: &Redactions) {
    let mut known = REDACTIONS.lock().unwrap_or_else(PoisonError::into_inner);
    *known = Some(match &*known {
        Some(known) => known.and(redactions),
        None => redactions.clone(),
    });
}

/// Have no log lines unless they were asked for: what they would tell is told as findings.
pub(crate) fn tell_only_findings() {
    let asked = tracing::enabled!(tracing::Level::INFO) || std::env::var_os(FILTER).is_some();
    MUTED.store(!asked, Relaxed);
}

/// Where log lines go while there is a live view.
pub(crate) fn set_live(live: Option<MultiProgress>) {
    *LIVE.lock().unwrap_or_else(PoisonError::into_inner) = live;
}

/// `text` without what [`redact`] named last.
pub(crate) fn redacted(text: &str) -> String {
    match &*REDACTIONS.lock().unwrap_or_else(PoisonError::into_inner) {
        Some(redactions) => redactions.apply(text),
        None => text.to_owned(),
    }
}

/// Write to standard error with the live view, if there is one, out of the way.
pub(crate) fn beside_live(write: impl FnOnce()) {
    match &*LIVE.lock().unwrap_or_else(PoisonError::into_inner) {
        Some(live) => live.suspend(write),
        None => write(),
    }
}

#[derive(Clone, Copy)]
struct Stderr;

/// One log line; written when it is complete.
struct Line(Vec<u8>);

impl<'a> MakeWriter<'a> for Stderr {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line(Vec::new())
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if MUTED.load(Relaxed) {
            return;
        }
        let mut text = String::from_utf8_lossy(&self.0).into_owned();
        if let Some(redactions) = &*REDACTIONS.lock().unwrap_or_else(PoisonError::into_inner) {
            text = redactions.apply(&text);
        }
        let write = || {
            // A log line that cannot be written has nowhere to be reported to.
            let _ = io::stderr().write_all(text.as_bytes());
        };
        beside_live(write);
    }
}
