//! `gristmill replay`: an SSE server over a recording or generated events.

use std::time::Duration;

use gristmill_replay::{self as replay, GeneratorOptions, Resume, Server, ServerOptions, Source};

use crate::args::{AtEnd, ReplayArgs};
use crate::output::thousands;
use crate::{Outcome, UsageError, output, session::Signals};

/// Out of order by as much as was seen in Wikimedia's stream.
const DISORDER: Duration = Duration::from_secs(15);
/// How often a terminal is told how far clients got.
const TOLD_EVERY: Duration = Duration::from_secs(1);

pub(super) async fn run(args: ReplayArgs) -> anyhow::Result<Outcome> {
    let source = match (&args.path, args.generate) {
        (Some(path), _) => {
            Source::from_path(path).map_err(|error| UsageError(error.to_string()))?
        }
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
    let server = Server::start(options).await?;
    // Scripts wait for this line to know the port, so it is a result and flushed.
    output::line(&format!("serving {}", server.url()))?;

    let mut told = None;
    let mut ticks = tokio::time::interval(TOLD_EVERY);
    let interrupted = loop {
        tokio::select! {
            interrupted = signals.next() => break interrupted,
            _ = ticks.tick() => {
                let stats = server.stats();
                if output::is_live() && told != Some(stats) {
                    output::note(&format!(
                        "{} connections ({} open), {} events sent",
                        stats.connections, stats.open, thousands(stats.events as i64)
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
