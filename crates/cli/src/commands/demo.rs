//! `gristmill demo`: the main job with nothing installed.
//!
//! A generator serves recentchange events over real SSE on loopback; `pipeline.yaml` runs against
//! embedded topics and counts. Only the stream's address differs from the real thing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use anyhow::Context;
use gristmill_flow::LegStats;
use gristmill_replay::{GeneratorOptions, Server, ServerOptions, Source, Tally};
use gristmill_runner::{LegView, Report, Stage, StageConfig};

use crate::args::DemoArgs;
use crate::project::Project;
use crate::served::Listen;
use crate::session::{self, Ends};
use crate::{Outcome, UsageError, output, project};

/// The shipped pipeline, for a demo that runs outside a clone.
const SHIPPED: &str = include_str!("../../../../pipeline.yaml");
/// Fast enough to see counts move, slow enough to follow.
const RATE: f64 = 500.0;

/// What the demo prints with `--json`: the report of `up`, and what was generated.
#[derive(serde::Serialize)]
struct DemoReport<'a> {
    #[serde(flatten)]
    report: &'a Report,
    /// What the generator says it made; absent when it has no end.
    #[serde(skip_serializing_if = "Option::is_none")]
    generated: Option<Generated>,
}

#[derive(serde::Serialize)]
struct Generated {
    events: u64,
    counts: BTreeMap<String, i64>,
}

impl Generated {
    fn of(options: &GeneratorOptions, events: u64) -> Self {
        let tally = Tally::of(options, events);
        let counts = tally
            .by_type
            .into_iter()
            .map(|(key, n)| (key, n as i64))
            .collect();
        Self {
            events: tally.events,
            counts,
        }
    }
}

pub(super) async fn run(args: DemoArgs) -> anyhow::Result<Outcome> {
    let generator = GeneratorOptions {
        seed: args.seed,
        ..GeneratorOptions::default()
    };
    let rate = args
        .rate
        .unwrap_or(if args.events.is_some() { 0.0 } else { RATE });
    let source = Source::Generate {
        options: generator.clone(),
        events: args.events,
    };
    let server = Server::start(ServerOptions {
        rate: (rate > 0.0).then_some(rate),
        ..ServerOptions::new(source)
    })
    .await?;
    let project = project(&args, &server.url())?;
    let plan = project.plan(&[])?;

    let temporary = tempfile::Builder::new().prefix("gristmill-demo-").tempdir();
    let dir = match &args.dir {
        Some(dir) => dir.clone(),
        None => temporary
            .as_ref()
            .map_err(|e| anyhow::anyhow!("{e}"))
            .context("temporary directory")?
            .path()
            .to_owned(),
    };
    let backend = project::open_local(&dir)?;
    if !args.end.json {
        let ends = match (args.events, args.end.run_for) {
            (None, None) => "; Ctrl-C ends it",
            _ => "",
        };
        output::note(&format!(
            "generated recentchange events on {} into embedded topics in {}{ends}",
            server.url(),
            dir.display()
        ));
    }
    let complete = Arc::new(AtomicBool::new(false));
    let ends = Ends {
        run_for: args.end.run_for,
        until_idle: None,
        when: args.events.map(|events| {
            let complete = Arc::clone(&complete);
            let when = move |legs: &[LegView]| {
                complete.fetch_or(all_the_way(legs, events), Relaxed);
                complete.load(Relaxed)
            };
            Box::new(when) as session::When
        }),
        drain: args.end.drain,
    };
    // Only of plain totals does the generator know what they are to be.
    let counts_all = |stage: &Stage| !matches!(&stage.config, StageConfig::Redis(redis) if redis.window.is_some());
    let compares = plan.stages.iter().all(counts_all);
    let show = session::Show {
        listen: args.watch.listen.map_or(Listen::Free, Listen::At),
        json: args.end.json,
    };
    let outcome = session::run(plan, backend, ends, None, show, |report| {
        // After a run that came to its end only: how many there are is the user's to say.
        let made = args.events.filter(|_| complete.load(Relaxed));
        let generated = made.map(|events| Generated::of(&generator, events));
        let text = if args.end.json {
            serde_json::to_string(&DemoReport { report, generated })?
        } else {
            let mut text = output::report_text(report);
            match (&generated, args.events) {
                (Some(generated), _) if generated.counts == report.counts => {
                    text.push_str("\nThe counts are exactly what the generator made.");
                }
                (Some(_), _) if compares => {
                    text.push_str("\nThe counts differ from what the generator made");
                    text.push_str(match &args.dir {
                        Some(_) => " (earlier runs in this directory?).",
                        None => ".",
                    });
                }
                (None, Some(events)) => {
                    let events = output::many(events, "event");
                    let seen = output::thousands(report.events as i64);
                    let ended = format!("\nEnded after {seen} of {events}.");
                    text.push_str(&ended);
                }
                _ => {}
            }
            text
        };
        Ok(output::line(&text)?)
    })
    .await;
    server.stop().await;
    outcome
}

/// Every generated event is in its topic or was dropped by rule, and every sink has read them.
fn all_the_way(legs: &[LegView], events: u64) -> bool {
    let sources = legs.iter().filter(|leg| leg.is_source);
    let mut written = 0;
    for leg in sources {
        let stats = &leg.stats;
        let out = LegStats::get(&stats.records_out);
        written += out;
        let seen: u64 = [&stats.rejected, &stats.duplicates, &stats.dropped]
            .into_iter()
            .map(LegStats::get)
            .sum::<u64>()
            + out;
        if seen < events {
            return false;
        }
    }
    legs.iter().filter(|leg| !leg.is_source).all(|leg| {
        let lag = leg.stats.lag();
        LegStats::get(&leg.stats.records_in) >= written
            && !lag.is_empty()
            && lag.values().all(|records| *records == 0)
    })
}

/// The pipeline with every SSE source of it pointed at `url`.
fn project(args: &DemoArgs, url: &str) -> anyhow::Result<Project> {
    let file = args.file.clone().unwrap_or_else(|| "pipeline.yaml".into());
    let text = match std::fs::read_to_string(&file) {
        Ok(text) => text,
        Err(_) if args.file.is_none() => SHIPPED.to_owned(),
        Err(error) => {
            return Err(UsageError(format!("cannot read {}: {error}", file.display())).into());
        }
    };
    let mut set = args.set.clone();
    for connector in project::parse(&file, &text, &set)?.connectors {
        if connector.kind == "sse-source" {
            set.push(format!("connectors.{}.sse.url={url}", connector.name));
        }
    }
    if set.len() == args.set.len() {
        let name = file.display();
        return Err(UsageError(format!("{name} has no sse-source for the demo to feed")).into());
    }
    Ok(Project::new(&file, project::parse(&file, &text, &set)?))
}
