//! `gristmill replay`: an SSE server over a recording or generated events.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::time::Duration;

use gristmill_manifest::printable;
use gristmill_replay::{
    self as replay, GeneratorOptions, ReplayError, Resume, Server, ServerOptions, Source,
};
use serde::de::IgnoredAny;

use crate::args::{AtEnd, ReplayArgs};
use crate::output::many;
use crate::{Outcome, UsageError, output, session::Signals};

/// Out of order by as much as was seen in Wikimedia's stream.
const DISORDER: Duration = Duration::from_secs(15);
/// How often a terminal is told how far clients got.
const TOLD_EVERY: Duration = Duration::from_secs(1);

pub(super) async fn run(args: ReplayArgs) -> anyhow::Result<Outcome> {
    let source = match (&args.path, args.generate) {
        (Some(path), _) => Source::from_path(path).map_err(refused)?,
        (None, events) => Source::Generate {
            options: GeneratorOptions {
                seed: args.seed,
                disorder: if args.inexact {
                    DISORDER
                } else {
                    Duration::ZERO
                },
                canary_every: args.canary_every,
                malformed_every: args.malformed_every,
                ..GeneratorOptions::default()
            },
            events: events.filter(|events| *events > 0),
        },
    };
    let ndjson = match &source {
        Source::Ndjson(path) => Some(path.clone()),
        _ => None,
    };
    let mut options = ServerOptions {
        listen: args.listen,
        rate: (args.rate > 0.0).then_some(args.rate),
        cut_after: args.cut_after,
        resume: if args.inexact {
            Resume::Wikimedia
        } else {
            Resume::Exact
        },
        at_end: match args.at_end {
            AtEnd::Hold => replay::AtEnd::Hold,
            AtEnd::Close => replay::AtEnd::Close,
            AtEnd::NoContent => replay::AtEnd::NoContent,
        },
        require_user_agent: !args.allow_no_user_agent,
        stamp: args.stamp,
        ..ServerOptions::new(source)
    };
    options.faults.seed = args.seed;
    options.faults.cut_mid_event = args.cut_mid_event;
    options.faults.cut_every = args.cut_every;
    options.faults.duplicate_every = args.duplicate_every;
    options.faults.stall_every = args.stall_every;
    options.faults.refuse_every = args.refuse_every;

    let mut signals = Signals::new()?;
    let server = Server::start(options).await.map_err(refused)?;
    // Scripts wait for this line to know the port, so it is a result and flushed.
    output::line(&format!("serving {}", server.url()))?;
    if let Some(path) = ndjson {
        // Beside the serving: a large recording takes a while.
        tokio::task::spawn_blocking(move || {
            if let Some(warning) = not_json(&path) {
                output::note(&warning);
            }
        });
    }

    let mut told = None;
    let mut ticks = tokio::time::interval(TOLD_EVERY);
    let interrupted = loop {
        tokio::select! {
            interrupted = signals.next() => break interrupted,
            _ = ticks.tick() => {
                let stats = server.stats();
                if output::is_live() && told != Some(stats) {
                    output::note(&format!(
                        "{} ({} open), {} sent",
                        many(stats.connections, "connection"), stats.open, many(stats.events, "event")
                    ));
                    told = Some(stats);
                }
            }
        }
    };
    server.stop().await;
    Ok(if interrupted {
        Outcome::Interrupted
    } else {
        Outcome::Done
    })
}

/// A recording that cannot be served is wrong usage; an address that is taken is not.
fn refused(error: ReplayError) -> anyhow::Error {
    match error {
        ReplayError::AddressTaken { .. } | ReplayError::Listen { .. } => error.into(),
        error => UsageError(printable(&error.to_string())).into(),
    }
}

/// What to say of lines that are no JSON: a pipeline will reject them, or whoever looks for its
/// records in vain would like to know. `None` without any.
fn not_json(path: &Path) -> Option<String> {
    // The server has read the file before and says what is wrong with it.
    let file = BufReader::new(File::open(path).ok()?);
    let (mut lines, mut bad, mut first) = (0, 0, None);
    for (number, line) in (1_u64..).zip(file.split(b'\n').map_while(Result::ok)) {
        if line.trim_ascii().is_empty() {
            continue;
        }
        lines += 1;
        if let Err(error) = serde_json::from_slice::<IgnoredAny>(&line) {
            bad += 1;
            first.get_or_insert((number, error.column()));
        }
    }
    let (number, column) = first?;
    let path = printable(&path.display().to_string());
    let events = many(lines, "event");
    let served = if bad == 1 { "it is" } else { "they are" };
    Some(format!(
        "warning: {path}:{number}:{column}: no JSON, as {} of {events}; served as {served}",
        output::thousands(bad)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_that_is_no_json_is_named_and_all_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.ndjson");
        let said = |text: &str| {
            std::fs::write(&path, text).unwrap();
            not_json(&path)
        };
        assert_eq!(said("{\"a\": 1}\r\n\n[]\n7"), None);
        let one = said("{}\n\nx\n").unwrap();
        assert!(
            one.contains("events.ndjson:3:1: no JSON, as 1 of 2 events"),
            "{one}"
        );
        let two = said("{}\n{\"a\n}\n").unwrap();
        assert!(
            two.contains("events.ndjson:2:3: no JSON, as 2 of 3 events"),
            "{two}"
        );
    }
}
