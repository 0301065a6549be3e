//! The legs under thousands of fault schedules; `gristmill_flow_testing::sim` tells of the world.
//!
//! `GRISTMILL_SIM_SEEDS=N` runs N schedules of each world, `GRISTMILL_SIM_SEED=N` the one of a
//! failure.
#![allow(clippy::panic, clippy::print_stdout)]

use std::time::Instant;

use gristmill_flow_testing::sim::{Profile, Report, run};

/// Schedules of each world in the ordinary test run; 2,000 in all, in some 10 s on two cores.
const SEEDS: u64 = 400;

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name}={text}: not a number")),
    )
}

fn simulate(profile: &Profile) {
    let seeds = match variable("GRISTMILL_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..variable("GRISTMILL_SIM_SEEDS").unwrap_or(SEEDS),
    };
    let start = Instant::now();
    let mut sum = Report::default();
    for seed in seeds.clone() {
        match run(profile, None, seed) {
            Ok(report) => {
                sum.events += report.events;
                sum.faults += report.faults;
                sum.lives += report.lives;
                sum.calls += report.calls;
            }
            Err(failure) => panic!("{failure}"),
        }
    }
    let schedules = seeds.end - seeds.start;
    let Report {
        events,
        faults,
        lives,
        calls,
        ..
    } = sum;
    println!(
        "{}: {schedules} schedules ({:.0}/s), {events} events, {faults} faults, {lives} lives, \
         {calls} calls",
        profile.name,
        schedules as f64 / start.elapsed().as_secs_f64(),
    );
    // A world without faults would prove nothing.
    assert!(
        profile.lost_per_mille == 0 || faults as u64 >= schedules,
        "{faults} faults"
    );
}

#[test]
fn calm() {
    simulate(&Profile::CALM);
}

#[test]
fn crashes() {
    simulate(&Profile::CRASHES);
}

#[test]
fn inexact() {
    simulate(&Profile::INEXACT);
}

#[test]
fn zombies() {
    simulate(&Profile::ZOMBIES);
}

#[test]
fn store_losses() {
    simulate(&Profile::STORE_LOSSES);
}

#[test]
fn everything() {
    simulate(&Profile::EVERYTHING);
}

#[test]
fn a_seed_leads_to_the_same_schedule_again() {
    let reports = |seed| [(); 2].map(|()| run(&Profile::EVERYTHING, None, seed).ok());
    for seed in 0..20 {
        let [first, second] = reports(seed);
        assert_eq!(first, second, "seed {seed}");
    }
    assert_ne!(reports(0)[0], reports(1)[0]);
}
