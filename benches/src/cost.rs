//! What `up` costs at the live rate, and while the stream is silent.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::Setup;
use crate::cluster::{Kafka, pause};
use crate::process::{Process, now_ns, peak_bytes, status_bytes};
use crate::table::Spread;
use crate::{gristmill, ingest};

/// Left out at the start.
const WARM_UP: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(60);
/// Wikimedia's live rate.
const LIVE_RATE: &str = "50";

/// One window's measure.
struct Cost {
    /// Part of one core, in percent.
    cpu: f64,
    rss_mib: f64,
    peak_mib: f64,
    redis_per_s: f64,
    /// `None` where there is no `ss`.
    kafka_per_s: Option<f64>,
}

pub(crate) fn run(setup: &Setup) -> Result<()> {
    let kafka = Kafka::new(&setup.brokers)?;
    let cases = [("50 events/s", "0", LIVE_RATE), ("idle", "1", "0")];
    let mut rows: Vec<(&str, Vec<Cost>)> = Vec::new();
    for (name, count, rate) in cases {
        let costs = (0..setup.rounds).map(|_| measure(setup, &kafka, count, rate));
        rows.push((name, costs.collect::<Result<_>>()?));
    }
    println!("\n## Cost of `up`, the whole process\n");
    println!(
        "| stream | CPU, % of a core | resident MiB | peak MiB | Redis commands/s | Kafka requests/s |"
    );
    println!("|---|---|---|---|---|---|");
    for (name, costs) in &rows {
        let of = |pick: fn(&Cost) -> Option<f64>| {
            Spread::of(costs.iter().filter_map(pick)).map_or_else(
                || "?".to_owned(),
                |s| format!("{:.1} ({:.1}–{:.1})", s.median, s.min, s.max),
            )
        };
        println!(
            "| {name} | {} | {} | {} | {} | {} |",
            of(|c| Some(c.cpu)),
            of(|c| Some(c.rss_mib)),
            of(|c| Some(c.peak_mib)),
            of(|c| Some(c.redis_per_s)),
            of(|c| c.kafka_per_s)
        );
    }
    Ok(())
}

fn measure(setup: &Setup, kafka: &Kafka, count: &str, rate: &str) -> Result<Cost> {
    let mut redis = redis::Client::open(setup.redis.as_str())?.get_connection()?;
    redis::cmd("FLUSHALL").exec(&mut redis)?;
    let name = format!("bench-cost-{}", now_ns() / 1_000_000);
    kafka.create(&name, setup.partitions, &[])?;
    let dir = tempfile::tempdir()?;
    let args = ["--generate", count, "--rate", rate];
    let (replay, url) = ingest::replay(setup, dir.path(), &args)?;
    let pipeline = gristmill::whole(setup, &name, &name, &url);
    let process = gristmill::up(setup, dir.path(), &pipeline, &[])?;
    pause(WARM_UP);

    let sample = |process: &Process, redis: &mut redis::Connection| -> Result<_> {
        Ok((
            Instant::now(),
            process.cpu()?,
            commands(redis)?,
            requests(process.pid(), setup),
        ))
    };
    let before = sample(&process, &mut redis)?;
    pause(Duration::from_secs(setup.seconds));
    let after = sample(&process, &mut redis)?;
    let seconds = (after.0 - before.0).as_secs_f64();
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let cost = Cost {
        cpu: (after.1 - before.1).as_secs_f64() / seconds * 100.0,
        rss_mib: mib(status_bytes(process.pid(), "VmRSS:")),
        peak_mib: mib(peak_bytes(process.pid())),
        // Less our own one between the two looks.
        redis_per_s: (after.2 - before.2).saturating_sub(1) as f64 / seconds,
        kafka_per_s: after
            .3
            .zip(before.3)
            .map(|(after, before)| after.saturating_sub(before) as f64 / seconds),
    };
    process.terminate();
    process.finish(TIMEOUT)?;
    replay.terminate();
    replay.finish(TIMEOUT)?;
    for topic in [
        name.clone(),
        format!("gristmill.{name}.checkpoints"),
        format!("{name}.dead-letter"),
    ] {
        kafka.delete(&topic)?;
    }
    Ok(cost)
}

fn commands(redis: &mut redis::Connection) -> Result<u64> {
    let info: String = redis::cmd("INFO").arg("stats").query(redis)?;
    let line = info
        .lines()
        .find_map(|line| line.strip_prefix("total_commands_processed:"));
    Ok(line.context("no such statistic")?.trim().parse()?)
}

/// Segments with data that the process has sent to brokers: a request of a quiet client is one.
fn requests(pid: u32, setup: &Setup) -> Option<u64> {
    let output = Command::new("ss").args(["-tinpHO"]).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (pid, brokers) = (format!("pid={pid},"), setup.brokers.split(','));
    let brokers: Vec<&str> = brokers.collect();
    let ours = text.lines().filter(|line| {
        line.contains(&pid) && line.split_whitespace().any(|word| brokers.contains(&word))
    });
    let segments = ours.filter_map(|line| {
        let count = line
            .split_whitespace()
            .find_map(|word| word.strip_prefix("data_segs_out:"))?;
        count.parse::<u64>().ok()
    });
    Some(segments.sum())
}
