//! `cargo xtask bench`: Gristmill beside floors and peers, in turn, on one cluster.
//!
//! ```text
//! rounds: A A' B C … A A' B C …   each run a process of its own, its counts checked at the end
//!         └ the same twice: what the machine's noise alone makes of a ratio
//! ```
//!
//! A run with a wrong count is no result. Ratios are taken within a round and their median is
//! reported, so that a slow minute of the machine slows both sides of a ratio.
#![allow(clippy::print_stdout, reason = "a command line tool")]

mod cluster;
mod cost;
mod count;
mod events;
mod floors;
mod gristmill;
mod growth;
mod ingest;
mod latency;
mod peers;
mod process;
mod rounds;
mod table;

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use crate::events::Records;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Leg {
    /// Backlog of a topic into counts in Redis
    Count,
    /// SSE stream at full speed into a topic
    Ingest,
    /// From an event's sending to its count, at several rates
    Latency,
    /// Processor, memory and requests of `up`, at 50 events/s and idle
    Idle,
    /// Time and memory against the backlog, the number of keys and of partitions
    Growth,
    /// All of them
    All,
}

/// Gristmill beside its floors and its peers, on a real cluster
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench")]
struct Args {
    /// What to measure
    #[arg(value_enum, default_value_t = Leg::Count)]
    leg: Leg,
    #[command(flatten)]
    setup: Setup,
}

/// Where and how much.
#[derive(Debug, Clone, clap::Args)]
struct Setup {
    /// Events in the topic (count; growth: for keys and partitions), or served (ingest)
    #[arg(long, default_value_t = 1_000_000)]
    events: u64,
    /// Times that each variant runs
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Partitions of the topic
    #[arg(long, default_value_t = 3)]
    partitions: i32,
    /// Copies of the sink that share the partitions: a row each (count); latency and idle take the
    /// first
    #[arg(long, value_delimiter = ',', value_name = "N", default_value = "1")]
    copies: Vec<usize>,
    /// Events are padded to so many bytes at least (count, growth)
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    event_bytes: usize,
    /// Backlogs of the growth leg, in events
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "EVENTS",
        default_value = "100000,300000,1000000"
    )]
    backlog: Vec<u64>,
    /// Run peers too (count, ingest): Python's and Bento are set up in target/peers, which takes
    /// minutes the first time
    #[arg(long)]
    peers: bool,
    /// Rates of the latency leg, in events/s
    #[arg(long, value_delimiter = ',', default_value = "50,1000,20000")]
    rates: Vec<u64>,
    /// Seconds that a rate is held (latency, idle)
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Run only variants whose name contains this; repeatable
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,
    /// Brokers of the cluster
    #[arg(long, env = "GRISTMILL_TEST_KAFKA", hide = true)]
    brokers: String,
    /// Its Redis, which is flushed before every run
    #[arg(long, env = "GRISTMILL_TEST_REDIS", hide = true)]
    redis: String,
    /// Where peers are set up
    #[arg(long, env = "GRISTMILL_PEERS", hide = true)]
    peers_dir: PathBuf,
    /// The binary under test
    #[arg(long, env = "GRISTMILL_BIN", hide = true)]
    gristmill: PathBuf,
}

fn main() -> anyhow::Result<()> {
    // A floor is a process of its own: this binary again.
    let mut args = std::env::args();
    if args.by_ref().nth(1).as_deref() == Some(floors::VERB) {
        let floor = floors::Floor::parse_from([floors::VERB.to_owned()].into_iter().chain(args));
        return floor.run();
    }
    let Args { leg, setup } = Args::parse();
    let wants = |one| leg == one || leg == Leg::All;
    if wants(Leg::Count) {
        count::run(&setup)?;
    }
    if wants(Leg::Ingest) {
        ingest::run(&setup)?;
    }
    if wants(Leg::Latency) {
        latency::run(&setup)?;
    }
    if wants(Leg::Idle) {
        cost::run(&setup)?;
    }
    if wants(Leg::Growth) {
        growth::run(&setup)?;
    }
    Ok(())
}

impl Setup {
    /// Whether a variant is to run.
    fn wants(&self, variant: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|text| variant.contains(text))
    }

    /// What the count leg's topic holds.
    fn records(&self) -> Records {
        Records {
            events: self.events,
            event_bytes_min: self.event_bytes,
            distinct_keys: None,
        }
    }
}
