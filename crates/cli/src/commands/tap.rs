//! `gristmill tap`: look at a stream or a topic, one line an event.

use std::io::IsTerminal;
use std::sync::Arc;

use clap::CommandFactory;
use clap::parser::ValueSource;
use gristmill_flow::LegStats;
use gristmill_manifest::printable;
use gristmill_record::RecordRef;
use gristmill_sse_source::header;
use serde::Serialize;

use crate::args::{Cli, TapArgs};
use crate::session::Signals;
use crate::{Outcome, UsageError, output};

mod stream;
mod topic;

/// What only a URL or only a topic has: the flag's id, and why the other kind does without it.
type Flag = (&'static str, &'static str);

const URL_FLAGS: [Flag; 3] = [
    (
        "last_event_id",
        "a topic is read from its beginning, or with --follow from its end on",
    ),
    (
        "since",
        "a topic is read from its beginning, or with --follow from its end on",
    ),
    (
        "user_agent",
        "it tells a stream's server who asks, and no broker",
    ),
];
const TOPIC_FLAGS: [Flag; 5] = [
    (
        "follow",
        "a stream is followed anyway; --since says where it starts",
    ),
    ("file", FILE),
    ("set", FILE),
    ("secrets", FILE),
    ("local", "it says where a topic is, and a URL is a place"),
];
const FILE: &str = "the pipeline's file says where a topic is, and a stream is read without one";

/// One event or record as it is printed with `--json`.
#[derive(Serialize)]
struct Line<'a> {
    /// Name of the SSE event; `message` when it has none.
    event: &'a str,
    /// The last event id; empty where there is none.
    id: &'a str,
    /// The event's data, or the record's value.
    data: std::borrow::Cow<'a, str>,
    #[serde(flatten)]
    place: Option<Place<'a>>,
}

/// Where a record is in its topic.
#[derive(Serialize)]
struct Place<'a> {
    partition: i32,
    offset: i64,
    timestamp: i64,
    key: Option<std::borrow::Cow<'a, str>>,
}

/// Prints until enough was printed.
struct Printer {
    json: bool,
    /// Standard output is one.
    terminal: bool,
    left: Option<u64>,
}

impl Printer {
    /// True once enough was printed.
    fn print(&mut self, record: RecordRef<'_>, partition: Option<i32>) -> std::io::Result<bool> {
        if self.left == Some(0) {
            return Ok(true);
        }
        let text = |name| {
            let value: Option<&[u8]> = record.headers.get(name);
            value.and_then(|value| std::str::from_utf8(value).ok())
        };
        let line = Line {
            event: text(header::EVENT).unwrap_or("message"),
            id: text(header::ID).unwrap_or_default(),
            data: String::from_utf8_lossy(record.value),
            place: partition.map(|partition| Place {
                partition,
                offset: record.offset,
                timestamp: record.timestamp_ms,
                key: record.key.map(String::from_utf8_lossy),
            }),
        };
        if self.json {
            output::line(&serde_json::to_string(&line)?)?;
        } else {
            let text = line.text();
            // A pipe gets what was sent; a terminal must not be driven by it.
            output::line(&if self.terminal {
                printable(&text)
            } else {
                text
            })?;
        }
        if let Some(left) = &mut self.left {
            *left -= 1;
        }
        Ok(self.left == Some(0))
    }
}

impl Line<'_> {
    fn text(&self) -> String {
        match &self.place {
            Some(place) => {
                let key = place.key.as_deref().unwrap_or("-");
                format!("{}:{}\t{key}\t{}", place.partition, place.offset, self.data)
            }
            None if self.event == "message" => self.data.to_string(),
            None => format!("{}\t{}", self.event, self.data),
        }
    }
}

pub(super) async fn run(args: TapArgs) -> anyhow::Result<Outcome> {
    let is_stream = is_stream(&args.target)?;
    refuse_flags_of_the_other(is_stream, &args.target)?;
    let printer = Printer {
        json: args.json,
        terminal: std::io::stdout().is_terminal(),
        left: args.count,
    };
    let mut signals = Signals::new()?;
    let stats = Arc::<LegStats>::default();
    let work = async {
        if is_stream {
            stream::tap(&args, printer, Arc::clone(&stats)).await
        } else {
            topic::tap(&args, printer).await
        }
    };
    let limit = async {
        match args.run_for {
            Some(run_for) => tokio::time::sleep(run_for).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        result = work => result.map(|()| Outcome::Done),
        () = limit => {
            if is_stream {
                stream::was_there(&args.target, &stats.status())?;
            }
            Ok(Outcome::Done)
        }
        interrupted = signals.next() =>
            Ok(if interrupted { Outcome::Interrupted } else { Outcome::Done }),
    }
}

/// Whether `target` is a URL; else it is a topic's name. Checked before a cluster is asked: it would
/// be waited for, whatever the name.
fn is_stream(target: &str) -> Result<bool, UsageError> {
    if target.contains("://") {
        return Ok(true);
    }
    let legal = |c: u8| c.is_ascii_alphanumeric() || b"._-".contains(&c);
    if (1..=249).contains(&target.len()) && target.bytes().all(legal) {
        return Ok(false);
    }
    let remedy = if target.contains(['/', ':']) {
        let (scheme, rest) = match target.split_once(':') {
            Some((scheme @ ("http" | "https"), rest)) => (scheme, rest),
            _ => ("http", target),
        };
        let rest = printable(rest.trim_start_matches('/'));
        format!("did you mean `{scheme}://{rest}`?")
    } else {
        "a name has 1 to 249 of A-Z a-z 0-9 . _ -".to_owned()
    };
    Err(UsageError(format!(
        "`{}` is neither a URL nor a topic's name: {remedy}",
        printable(target)
    )))
}

/// A flag that would do nothing is wrong usage, not ignored.
fn refuse_flags_of_the_other(is_stream: bool, target: &str) -> Result<(), UsageError> {
    // Only clap knows which values were typed and which are defaults or the environment's, which
    // holds for every verb.
    let matches = Cli::command().get_matches();
    let Some(matches) = matches.subcommand_matches("tap") else {
        return Ok(());
    };
    let (flags, its, is) = if is_stream {
        (&TOPIC_FLAGS[..], "topic", "URL")
    } else {
        (&URL_FLAGS[..], "URL", "topic")
    };
    for (flag, why) in flags {
        if matches.value_source(flag) == Some(ValueSource::CommandLine) {
            return Err(UsageError(format!(
                "--{} is for a {its}, and `{}` is a {is}: {why}",
                flag.replace('_', "-"),
                printable(target)
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_url_or_a_name_or_refused_with_what_was_meant() {
        for (target, stream) in [("http://h/x", true), ("a.B_c-1", false)] {
            assert_eq!(is_stream(target).ok(), Some(stream), "{target}");
        }
        for (target, remedy) in [
            ("localhost:80/v2", "did you mean `http://localhost:80/v2`?"),
            ("https:/h/v2", "did you mean `https://h/v2`?"),
            ("", "1 to 249"),
            ("a b", "1 to 249"),
            (&"a".repeat(250), "1 to 249"),
        ] {
            let error = is_stream(target).unwrap_err().to_string();
            assert!(error.contains(remedy), "{error}");
        }
    }

    #[test]
    fn flags_of_one_kind_are_flags_of_tap() {
        let command = Cli::command();
        let tap = command.find_subcommand("tap").unwrap();
        for (flag, _) in URL_FLAGS.iter().chain(&TOPIC_FLAGS) {
            assert!(tap.get_arguments().any(|it| it.get_id() == flag), "{flag}");
        }
    }
}
