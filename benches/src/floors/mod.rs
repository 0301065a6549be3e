//! What Gristmill is held against: the least that could be done, by hand.

mod drain;
mod native;
mod produce;

use std::borrow::Cow;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

pub(crate) use drain::consumer;

use crate::rounds::Span;

/// First argument that makes this binary a floor.
pub(crate) const VERB: &str = "floor";

/// A floor and its arguments.
#[derive(Debug, clap::Parser)]
pub(crate) enum Floor {
    /// librdkafka merely takes every record of the topic
    Drain(Topic),
    /// One plain loop: librdkafka, serde_json, counts in Redis
    Native {
        #[command(flatten)]
        topic: Topic,
        #[arg(long)]
        redis: String,
        /// Plain INCRBYs and the group's offset, instead of the script with the position
        #[arg(long)]
        at_least_once: bool,
    },
    /// librdkafka writes the records out of memory
    Produce(Produce),
}

/// What is written.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Produce {
    #[arg(long)]
    brokers: String,
    #[arg(long)]
    topic: String,
    #[arg(long)]
    records: u64,
    #[arg(long)]
    transactional: bool,
}

/// What is read.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Topic {
    #[arg(long)]
    pub(crate) brokers: String,
    #[arg(long)]
    pub(crate) topic: String,
    /// Ends once so many records were read
    #[arg(long)]
    pub(crate) records: u64,
    #[arg(long)]
    pub(crate) partitions: i32,
}

/// What a floor prints, on one line.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// When the first record had its effect, and the last one, in nanoseconds since the epoch.
    pub(crate) first_ns: u64,
    pub(crate) last_ns: u64,
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    /// Its largest resident set.
    pub(crate) peak_bytes: u64,
}

impl Floor {
    pub(crate) fn run(&self) -> Result<()> {
        let outcome = match self {
            Self::Drain(topic) => drain::run(topic)?,
            Self::Native {
                topic,
                redis,
                at_least_once,
            } => native::run(topic, redis, *at_least_once)?,
            Self::Produce(args) => produce::run(args)?,
        };
        println!("{}", serde_json::to_string(&outcome)?);
        Ok(())
    }
}

impl Outcome {
    pub(crate) fn parse(text: &str) -> Result<Self> {
        serde_json::from_str(text.trim()).with_context(|| format!("a floor printed `{text}`"))
    }

    /// Its effects' span, of a process that was started at `started_ns`.
    pub(crate) fn span(&self, started_ns: u64) -> Span {
        Span {
            started_ns,
            first_ns: self.first_ns,
            last_ns: self.last_ns,
            first_records: 0,
            records: self.records,
        }
    }
}

/// An event's `type`, taken out by serde_json.
pub(crate) fn kind_of(event: &[u8]) -> Result<Option<Cow<'_, str>>> {
    #[derive(Deserialize)]
    struct Event<'a> {
        #[serde(borrow, rename = "type")]
        kind: Option<Cow<'a, str>>,
    }
    Ok(serde_json::from_slice::<Event<'_>>(event)?.kind)
}
