//! Verbs that look at what runs and at what was written.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::values::{at_least_one, duration};
use super::{FileArgs, LocalArgs};

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// A pipeline's name, or the address or port that it serves its page on [default: all of yours
    /// that run].
    #[arg(value_name = "NAME|ADDR")]
    pub(crate) target: Option<String>,
    /// Print JSON, one line for each pipeline.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct TopArgs {
    /// A pipeline's name, or the address or port that it serves its page on [default: the one of
    /// yours that runs].
    #[arg(value_name = "NAME|ADDR")]
    pub(crate) target: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct CountsArgs {
    #[command(flatten)]
    pub(crate) file: FileArgs,
    #[command(flatten)]
    pub(crate) local: LocalArgs,
    /// The windows of sinks with `redis.window`: start, end, key, count, and whether it is final.
    #[arg(long)]
    pub(crate) window: bool,
    /// Print JSON: one line of key to count; with --window one line for each window.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct TapArgs {
    /// An SSE URL or a topic's name.
    #[arg(value_name = "URL|TOPIC")]
    pub(crate) target: String,
    /// One JSON object a line.
    #[arg(long)]
    pub(crate) json: bool,
    /// End after N events.
    #[arg(long, value_name = "N", value_parser = at_least_one, allow_negative_numbers = true)]
    pub(crate) count: Option<u64>,
    /// End after this long.
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    pub(crate) run_for: Option<Duration>,
    /// Go on after this SSE id.
    #[arg(long, value_name = "ID", help_heading = "For a URL")]
    pub(crate) last_event_id: Option<String>,
    /// Start this far back (epoch milliseconds or ISO 8601); Wikimedia keeps 7 to 31 days.
    #[arg(long, value_name = "TIME", help_heading = "For a URL")]
    pub(crate) since: Option<String>,
    /// What we say we are; some servers refuse clients without a contact address.
    #[arg(long, value_name = "TEXT", help_heading = "For a URL", default_value = concat!("gristmill/", env!("CARGO_PKG_VERSION"), " (https://example.org; you@example.org)"))]
    pub(crate) user_agent: String,
    /// Start at the topic's end and follow it (default: from the beginning to the end).
    #[arg(long, help_heading = "For a topic")]
    pub(crate) follow: bool,
    #[command(flatten, next_help_heading = "For a topic")]
    pub(crate) file: FileArgs,
    #[command(flatten, next_help_heading = "For a topic")]
    pub(crate) local: LocalArgs,
}

/// Where dead letters are.
#[derive(Debug, Args)]
pub(crate) struct DeadLetterArgs {
    /// The topic whose dead letters are meant.
    pub(crate) topic: String,
    /// Print JSON, one object a line.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) file: FileArgs,
    #[command(flatten)]
    pub(crate) local: LocalArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeadLetterVerb {
    /// List a topic's dead letters: where from, which step refused them, why.
    List(DeadLetterArgs),
    /// Write a topic's dead letters into it once more (each at most once).
    Replay(DeadLetterArgs),
}
