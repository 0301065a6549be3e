//! What a record costs, and whether that is within the bars. `cargo bench -p gristmill-smartengine`.
//!
//! Generated recentchange events (1.06 kB on average) go through
//!
//! - modules that do nothing, on our SDK and on Fluvio's: what engine and ABI cost,
//! - `extract-type` on both, and native `serde_json` that takes the same field out,
//! - `extract-type` in batches of 1 to 512.
//!
//! All contestants take turns in every round, so that what the machine does meanwhile meets all of
//! them; a figure is the median over the rounds, a ratio the median of the rounds' own ratios. Time
//! is the thread's CPU time. `ROUNDS=…` (25) makes it longer.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod contest;
mod contestants;
mod start;

use contest::{Bar, Contest};

fn main() {
    if start::is_child() {
        return start::child();
    }
    let rounds = std::env::var("ROUNDS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(25);
    let events = contestants::events(4096);
    let bytes: usize = events.iter().map(String::len).sum();
    println!(
        "{} generated events, {} bytes on average; {rounds} rounds, medians (quartiles)\n",
        events.len(),
        bytes / events.len()
    );

    let mut contest = Contest::new(rounds);
    contestants::enter(&mut contest, &events);
    contest.run();
    contest.print();
    println!();
    let verdicts = [
        contest.at_most("do nothing (filter)", "sdk filter", Bar::Micros(0.25)),
        contest.at_most("do nothing (map)", "sdk map", Bar::Micros(0.25)),
        contest.at_most(
            "do nothing (filter)",
            "sdk filter",
            Bar::Ratio("stock filter", 0.3),
        ),
        contest.at_most("do nothing (map)", "sdk map", Bar::Ratio("stock map", 0.3)),
        contest.at_most(
            "extract-type",
            "extract-type, by 512",
            Bar::Ratio("native serde_json", 1.3),
        ),
        contest.at_most(
            "stretch: as fast as native",
            "extract-type, by 512",
            Bar::Ratio("native serde_json", 1.0),
        ),
        contest.even("1 to 512 records a batch", contestants::SIZES, 1.5),
        start::verdict(),
    ];
    verdicts.iter().for_each(|verdict| println!("{verdict}"));
}
