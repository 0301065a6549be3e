//! What users see on standard output and standard error.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is where printing happens"
)]

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use gristmill_manifest::{plural, printable};
use gristmill_runner::Report;

use crate::logging;

/// Characters of a key that a table shows: keys are made from data, and `--json` has all of it.
const KEY_SHOWN: usize = 60;

/// `1 topic`, `2,000 topics`.
pub(crate) fn many(n: u64, what: &str) -> String {
    format!("{} {}", thousands(n as i64), plural(n, what))
}

/// An error, with the one prefix that every error has. Its text may quote what a server or a
/// record said.
pub(crate) fn error(text: &str) {
    let lines: Vec<String> = text.lines().map(printable).collect();
    invalid(&lines.join("\n"));
}

/// An error that is rendered already: printable, and in colour where that makes sense.
pub(crate) fn invalid(text: &str) {
    say(&format!("{}: {text}", paint("31;1", "error")));
}

/// An error with its causes, each said once: many texts quote their cause already.
pub(crate) fn chain(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// Something worth knowing that is not an error.
pub(crate) fn note(text: &str) {
    say(text);
}

/// A line on standard error, without secrets. One that cannot be written (a full disk, a closed
/// pipe) is no reason to end the run.
fn say(text: &str) {
    let text = logging::redacted(text);
    logging::beside_live(|| {
        let _ = writeln!(io::stderr().lock(), "{text}");
    });
}

/// A line of the result. Flushed, so that a pipe's reader sees it at once.
///
/// # Errors
/// When standard output is gone.
pub(crate) fn line(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.write_all(b"\n")?;
    out.flush()
}

/// Whether `error` only says that the reader of our output went away (`| head`).
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

/// Whether colours and moving lines make sense on standard error.
pub(crate) fn is_live() -> bool {
    io::stderr().is_terminal()
        && std::env::var_os("NO_COLOR").is_none()
        && std::env::var("TERM").map_or(true, |term| term != "dumb")
}

/// `text` in the SGR colour `code`, where the terminal shows colours.
pub(crate) fn paint(code: &str, text: &str) -> String {
    if is_live() {
        format!("\x1b[{code}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}

/// `1234567` as `1,234,567`.
pub(crate) fn thousands(n: i64) -> String {
    let digits = n.unsigned_abs().to_string();
    let mut text = String::from(if n < 0 { "-" } else { "" });
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Milliseconds as people read them: `0.3 ms`, `25 ms`, `1.25 s`, `2m 13s`.
pub(crate) fn millis(ms: f64) -> String {
    let trim = |number: f64, digits: usize| {
        let text = format!("{number:.digits$}");
        match text.contains('.') {
            true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
            false => text,
        }
    };
    match ms {
        ms if ms < 100.0 => format!("{} ms", trim(ms, 1)),
        ms if ms < 1_000.0 => format!("{} ms", trim(ms, 0)),
        ms if ms < 60_000.0 => format!("{} s", trim(ms / 1e3, 2)),
        ms => humantime::format_duration(Duration::from_secs((ms / 1e3) as u64)).to_string(),
    }
}

/// Where a stage's records go, in one line.
pub(crate) fn way(connector: &str, topic: &str, is_source: bool) -> String {
    match is_source {
        true => format!("{connector} ▶ {topic}"),
        false => format!("{topic} ▶ {connector}"),
    }
}

/// The counts, largest first.
pub(crate) fn counts_table(counts: &BTreeMap<String, i64>) -> String {
    if counts.is_empty() {
        return "no counts yet".to_owned();
    }
    let mut rows: Vec<(&String, &i64)> = counts.iter().collect();
    rows.sort_by_key(|(key, count)| (std::cmp::Reverse(**count), *key));
    let rows: Vec<(String, i64)> = rows
        .into_iter()
        .map(|(key, count)| (shown(key), *count))
        .collect();
    let width = rows
        .iter()
        .map(|(key, _)| key.chars().count())
        .max()
        .unwrap_or(0)
        .max(5);
    let mut text = format!("{:<width$}  {:>14}", "KEY", "COUNT");
    for (key, count) in rows {
        text.push_str(&format!("\n{key:<width$}  {:>14}", thousands(count)));
    }
    let total: i64 = counts.values().sum();
    text.push_str(&format!("\n{:<width$}  {:>14}", "total", thousands(total)));
    text
}

/// A key as a table shows it.
pub(crate) fn shown(key: &str) -> String {
    match key.char_indices().nth(KEY_SHOWN) {
        Some((end, _)) => format!("{}…", printable(&key[..end])),
        None => printable(key),
    }
}

/// The end of a run, for people: the counts, then what happened in one line.
pub(crate) fn report_text(report: &Report) -> String {
    let mut text = counts_table(&report.counts);
    let events = many(report.events, "event");
    let mut facts = vec![format!("{events} in {:.1} s", report.elapsed_s)];
    let also = |n: u64, what: &str| (n > 0).then(|| format!("{} {what}", thousands(n as i64)));
    let gaps: u64 = report.stages.values().map(|stage| stage.gaps).sum();
    facts.extend(also(
        report.rejected,
        "rejected (see `gristmill dead-letter list`)",
    ));
    facts.extend(also(report.duplicates, "known already and dropped"));
    let late: u64 = report.stages.values().map(|stage| stage.late).sum();
    facts.extend(also(late, "too late for their window"));
    facts.extend(also(gaps, "skipped by the stream itself"));
    text.push_str(&format!("\n\n{}", facts.join(", ")));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_grouped() {
        let cases = [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (-1_234_567, "-1,234,567"),
            (12, "12"),
        ];
        for (n, expect) in cases {
            assert_eq!(thousands(n), expect);
        }
    }

    #[test]
    fn of_one_there_is_no_plural() {
        for (n, what, expect) in [
            (0, "event", "0 events"),
            (1, "event", "1 event"),
            (2_000, "event", "2,000 events"),
            (2, "copy", "2 copies"),
            (1, "copy", "1 copy"),
            (2, "key", "2 keys"),
        ] {
            assert_eq!(many(n, what), expect);
        }
    }

    #[test]
    fn times_are_as_long_as_they_are_exact() {
        for (ms, expect) in [
            (0.0, "0 ms"),
            (0.25, "0.2 ms"),
            (25.0, "25 ms"),
            (250.4, "250 ms"),
            (1_250.0, "1.25 s"),
            (30_000.0, "30 s"),
            (133_000.0, "2m 13s"),
        ] {
            assert_eq!(millis(ms), expect);
        }
    }

    #[test]
    fn keys_drive_no_terminal_and_break_no_table() {
        let long = "é".repeat(100_000);
        let counts = [("a\u{1b}]0;x\u{7}\nb", 3), (long.as_str(), 2), ("\0", 1)]
            .map(|(key, n)| (key.to_owned(), n))
            .into();
        let table = counts_table(&counts);
        assert_eq!(table.lines().count(), 5, "{table}");
        assert!(table.contains("\na␛]0;x␇␊b "), "{table}");
        assert!(table.contains("\n␀ "), "{table}");
        assert!(
            table.lines().all(|line| line.chars().count() < 80),
            "{table}"
        );
        assert!(
            table.chars().all(|c| c == '\n' || !c.is_control()),
            "{table}"
        );
    }

    #[test]
    fn a_cause_that_is_quoted_already_is_not_said_again() {
        let cause = io::Error::other("disk full");
        let error = anyhow::Error::new(cause)
            .context("cannot write: disk full")
            .context("sink");
        assert_eq!(chain(&error), "sink: cannot write: disk full");
    }

    #[test]
    fn counts_are_sorted_by_count_then_key() {
        let counts = [("b", 2), ("a", 2), ("c", 10)]
            .map(|(key, n)| (key.to_owned(), n))
            .into();
        let table = counts_table(&counts);
        let keys: Vec<&str> = table
            .lines()
            .filter_map(|line| line.split_whitespace().next())
            .collect();
        assert_eq!(keys, ["KEY", "c", "a", "b", "total"]);
    }
}
