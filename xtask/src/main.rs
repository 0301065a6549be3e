//! Development tasks: `cargo xtask VERB`. Each verb has a module of its own; this file only
//! dispatches.
#![allow(clippy::print_stdout, reason = "a command line tool")]

mod bench;
mod chaos;
mod ci;
mod cluster;
mod fuzz;
mod page;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "xtask", about = "Gristmill's development tasks")]
struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Everything that must hold before a change lands
    Ci(ci::CiArgs),
    /// The real pipeline under real faults, compared with the generator's own list
    Chaos(chaos::ChaosArgs),
    /// Gristmill beside its floors: rates, latency, cost
    Bench(bench::BenchArgs),
    /// A real Kafka cluster and a Redis on loopback, for development and tests
    #[command(subcommand)]
    Cluster(cluster::Verb),
    /// The web page in a headless browser: accessibility, first paint, console, counts
    Page(page::PageArgs),
    /// Look for inputs that break the parsers, or replay one that did
    Fuzz(fuzz::FuzzArgs),
}

fn main() -> anyhow::Result<()> {
    match Args::parse().verb {
        Verb::Chaos(args) => chaos::run(&args),
        Verb::Ci(args) => ci::run(&args),
        Verb::Bench(args) => bench::run(&args),
        Verb::Cluster(verb) => cluster::run(verb),
        Verb::Page(args) => page::run(&args),
        Verb::Fuzz(args) => fuzz::run(&args),
    }
}
