//! `gristmill tap`: look at a stream or a topic, one line an event.

use std::io::IsTerminal;
use std::sync::Arc;

use gristmill_flow::LegStats;
use gristmill_manifest::printable;
use gristmill_record::RecordRef;
use gristmill_sse_source::header;
use serde::Serialize;

use crate::args::TapArgs;
use crate::session::Signals;
use crate::{Outcome, output};

mod stream;
mod topic;

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
    let printer = Printer {
        json: args.json,
        terminal: std::io::stdout().is_terminal(),
        left: args.count,
    };
    let mut signals = Signals::new()?;
    let stats = Arc::<LegStats>::default();
    let is_stream = args.target.contains("://");
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
