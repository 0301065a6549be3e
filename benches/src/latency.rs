//! From the sending of an event to its count in Redis.
//!
//! ```text
//! schedule ─▶ replay --stamp (meta.dt) ─▶ up ─▶ topic ─▶ up ─▶ Redis: counts and next offset
//!    │                                            └ partition and offset of each event    │
//!    └──────────────── latency of each event ─────────────────────────────── polled ◀─────┘
//! ```
//!
//! Counts and offset move in one step, so an event is counted once the stored offset is past its
//! own. Latency counts from when the schedule says that the event was due, not from when a server
//! that was held up got round to sending it: a stall is seen by every event that it delayed
//! (coordinated omission).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rdkafka::message::Message;

use crate::Setup;
use crate::cluster::{Kafka, pause};
use crate::floors::{Topic, consumer};
use crate::process::{Process, now_ns};
use crate::{gristmill, ingest};

/// Events of the first seconds are not measured: stages are starting then.
const WARM_UP: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(60);
/// `meta.offset` of the generator's first event.
const OFFSET_FIRST: u64 = 4_000_000_000;

/// What p99 is to stay below, in milliseconds, by rate.
fn bar_ms(rate: u64) -> f64 {
    if rate > 1_000 { 250.0 } else { 100.0 }
}

/// One rate's result, in milliseconds.
struct Percentiles {
    p50: f64,
    p99: f64,
    p999: f64,
    max: f64,
    events: usize,
    /// Events a second that were counted in fact.
    rate: f64,
}

pub(crate) fn run(setup: &Setup) -> Result<()> {
    let kafka = Kafka::new(&setup.brokers)?;
    let mut rows = Vec::new();
    for rate in &setup.rates {
        for round in 1..=setup.rounds {
            let result = measure(setup, &kafka, *rate)?;
            println!(
                "round {round} {rate:>6}/s  p50 {:.0} ms  p99 {:.0} ms  p99.9 {:.0} ms  max {:.0} ms",
                result.p50, result.p99, result.p999, result.max
            );
            rows.push((*rate, result));
        }
    }
    println!(
        "\n## Latency, sent to counted (median of {} rounds)\n",
        setup.rounds
    );
    println!(
        "| events/s | p50, ms | p99, ms | p99.9, ms | max, ms | counted/s | events | p99 bar |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for rate in &setup.rates {
        let of = |pick: fn(&Percentiles) -> f64| {
            let values = rows.iter().filter(|(r, _)| r == rate).map(|(_, p)| pick(p));
            crate::table::Spread::of(values).map_or(f64::NAN, |spread| spread.median)
        };
        let p99 = of(|p| p.p99);
        println!(
            "| {rate} | {:.0} | {p99:.0} | {:.0} | {:.0} | {:.0} | {:.0} | {} {:.0} |",
            of(|p| p.p50),
            of(|p| p.p999),
            of(|p| p.max),
            of(|p| p.rate),
            of(|p| p.events as f64),
            if p99 < bar_ms(*rate) {
                "met:"
            } else {
                "MISSED:"
            },
            bar_ms(*rate),
        );
    }
    Ok(())
}

fn measure(setup: &Setup, kafka: &Kafka, rate: u64) -> Result<Percentiles> {
    let mut redis = redis::Client::open(setup.redis.as_str())?.get_connection()?;
    redis::cmd("FLUSHALL").exec(&mut redis)?;
    let name = format!("bench-latency-{}", now_ns() / 1_000_000);
    kafka.create(&name, setup.partitions, &[])?;
    let events = rate * (setup.seconds + WARM_UP.as_secs());
    let dir = tempfile::tempdir()?;
    let (count, pace) = (events.to_string(), rate.to_string());
    let args = ["--generate", &count, "--rate", &pace, "--stamp"];
    let (replay, url) = ingest::replay(setup, dir.path(), &args)?;
    let pipeline = gristmill::whole(setup, &name, &name, &url);
    let process = gristmill::up(setup, dir.path(), &pipeline, &[])?;
    let key = gristmill::offsets_key(&name, &name);
    let moves = follow(
        kafka,
        &mut redis,
        &key,
        &name,
        &process,
        events,
        setup.seconds,
    )?;
    process.terminate();
    process.finish(TIMEOUT)?;
    replay.terminate();
    replay.finish(TIMEOUT)?;
    let result = percentiles(setup, &name, rate, events, &moves);
    kafka.delete(&name)?;
    kafka.delete(&format!("gristmill.{name}.checkpoints"))?;
    kafka.delete(&format!("{name}.dead-letter"))?;
    result
}

/// By partition: when (nanoseconds since the epoch) the next offset was seen to be what.
type Moves = BTreeMap<i32, Vec<(u64, i64)>>;

/// Poll the stored offsets until every event is counted.
fn follow(
    kafka: &Kafka,
    redis: &mut redis::Connection,
    key: &str,
    topic: &str,
    process: &Process,
    events: u64,
    seconds: u64,
) -> Result<Moves> {
    let mut moves = Moves::new();
    let began = Instant::now();
    let due = Duration::from_secs(seconds) + WARM_UP;
    loop {
        let stored = gristmill::offsets(redis, key)?;
        let now = now_ns();
        for (partition, next) in &stored {
            let moves = moves.entry(*partition).or_default();
            if moves.last().is_none_or(|(_, last)| last < next) {
                moves.push((now, *next));
            }
        }
        // Offsets count transaction markers too: the end is where the topic's is.
        if began.elapsed() > due {
            let ends: i64 = kafka.ends(topic)?.iter().sum();
            let done: i64 = stored.values().sum();
            if ends >= events as i64 && done >= ends {
                return Ok(moves);
            }
            ensure!(
                began.elapsed() < due + TIMEOUT,
                "{done} of {ends} offsets, {events} events"
            );
        }
        ensure!(!process.has_ended(), "it ended");
        pause(Duration::from_millis(1));
    }
}

fn percentiles(
    setup: &Setup,
    topic: &str,
    rate: u64,
    events: u64,
    moves: &Moves,
) -> Result<Percentiles> {
    #[derive(serde::Deserialize)]
    struct Event<'a> {
        #[serde(borrow)]
        meta: Meta<'a>,
    }
    #[derive(serde::Deserialize)]
    struct Meta<'a> {
        offset: u64,
        dt: &'a str,
    }
    let consumer = consumer(&Topic {
        brokers: setup.brokers.clone(),
        topic: topic.to_owned(),
        records: events,
        partitions: setup.partitions,
    })?;
    // Index in the schedule, time of sending, time of counting: all in milliseconds.
    let mut seen: Vec<(u64, f64, f64)> = Vec::new();
    while (seen.len() as u64) < events {
        let message = consumer.poll(Duration::from_secs(10));
        let message = message.with_context(|| format!("only {} events", seen.len()))??;
        let payload = message.payload().unwrap_or_default();
        let event: Event<'_> = serde_json::from_slice(payload)?;
        let sent_ms = message.timestamp().to_millis().context("no timestamp")?;
        ensure!(event.meta.dt.ends_with('Z'), "dt is {}", event.meta.dt);
        let moves = moves.get(&message.partition()).context("no such lane")?;
        let at = moves.partition_point(|(_, next)| *next <= message.offset());
        let (counted_ns, _) = moves.get(at).context("an event was not counted")?;
        let index = event.meta.offset - OFFSET_FIRST;
        seen.push((index, sent_ms as f64, *counted_ns as f64 / 1e6));
    }
    std::mem::forget(consumer);
    let step_ms = 1e3 / rate as f64;
    // When the schedule began: no event is sent before it is due.
    let began_ms = seen
        .iter()
        .map(|(index, sent_ms, _)| sent_ms - *index as f64 * step_ms)
        .fold(f64::INFINITY, f64::min);
    let skipped = WARM_UP.as_secs() * rate;
    let measured = seen.iter().filter(|(index, ..)| *index >= skipped);
    let last_ms = seen.iter().map(|(.., at)| *at).fold(0.0, f64::max);
    let mut latencies: Vec<f64> = measured
        .map(|(index, _, counted_ms)| counted_ms - (began_ms + *index as f64 * step_ms))
        .collect();
    latencies.sort_by(f64::total_cmp);
    let at = |part: f64| {
        let last = latencies.len().saturating_sub(1);
        latencies[((latencies.len() as f64 * part).ceil() as usize).clamp(1, last + 1) - 1]
    };
    let span_s = (last_ms - began_ms) / 1e3;
    ensure!(!latencies.is_empty(), "no event after the warm-up");
    Ok(Percentiles {
        p50: at(0.5),
        p99: at(0.99),
        p999: at(0.999),
        max: at(1.0),
        events: latencies.len(),
        rate: events as f64 / span_s,
    })
}
