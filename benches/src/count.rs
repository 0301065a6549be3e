//! The count leg: a topic's backlog into counts.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use redis::{Commands, Connection};

use crate::Setup;
use crate::cluster::{Kafka, pause};
use crate::events::{self, Keyed};
use crate::floors::{Outcome, VERB};
use crate::gristmill::{self, EXTRACT_TYPE, PIPELINE};
use crate::process::{self, Process, now_ns};
use crate::rounds::{self, Sample, Span, Variant};
use crate::table::{self, Bar};

/// A run that takes longer has failed.
const TIMEOUT: Duration = Duration::from_secs(300);

const EXACT: &str = "Gristmill, exactly once";
const AGAIN: &str = "the same again (noise)";
const BARE: &str = "Gristmill without SmartModule";
const DRAIN: &str = "librdkafka, bare drain";
const NATIVE: &str = "plain loop, same script";
const NATIVE_ALO: &str = "plain loop, at least once";

struct Bench<'a> {
    setup: &'a Setup,
    topic: String,
    dir: tempfile::TempDir,
    redis: Connection,
    expected: BTreeMap<String, i64>,
}

pub(crate) fn run(setup: &Setup) -> Result<()> {
    let kafka = Kafka::new(&setup.brokers)?;
    let topic = format!("bench-count-{}-{}", setup.events, setup.partitions);
    fill(setup, &kafka, &topic)?;
    let bench = Bench {
        setup,
        topic,
        dir: tempfile::tempdir()?,
        redis: redis::Client::open(setup.redis.as_str())?.get_connection()?,
        expected: events::expected(setup.events),
    };
    let bench = std::cell::RefCell::new(bench);
    let floor = |name, args: &'static [&'static str]| {
        let bench = &bench;
        Variant::new(name, move || bench.borrow_mut().floor(args))
    };
    let gristmill = |name, typed| {
        let bench = &bench;
        Variant::new(name, move || bench.borrow_mut().gristmill(typed))
    };
    let mut variants = vec![
        gristmill(EXACT, true),
        gristmill(AGAIN, true),
        gristmill(BARE, false),
        floor(DRAIN, &["drain"]),
        floor(NATIVE, &["native"]),
        floor(NATIVE_ALO, &["native", "--at-least-once"]),
    ];
    variants.retain(|variant| setup.wants(variant.name));
    let series = rounds::run(&mut variants, setup.rounds);
    let bar = |of, to, at_least| Bar { of, to, at_least };
    table::print(
        &format!(
            "Count leg: {} events, {} partitions",
            setup.events, setup.partitions
        ),
        &series,
        DRAIN,
        &[
            bar(EXACT, DRAIN, 0.7),
            bar(EXACT, NATIVE, 0.9),
            bar(EXACT, NATIVE_ALO, 0.8),
        ],
    );
    Ok(())
}

impl Bench<'_> {
    fn gristmill(&mut self, typed: bool) -> Result<Sample> {
        redis::cmd("FLUSHALL").exec(&mut self.redis)?;
        let (transforms, count) = if typed {
            (EXTRACT_TYPE, "{value}")
        } else {
            ("", "{topic}")
        };
        let sink = gristmill::sink(self.setup, &self.topic, transforms, count);
        let pipeline = gristmill::pipeline(self.setup, PIPELINE, &self.topic, &sink);
        let process = gristmill::up(self.setup, self.dir.path(), &pipeline, &[])?;
        let offsets = gristmill::offsets_key(PIPELINE, &self.topic);
        let span = watch(&mut self.redis, &offsets, self.setup.events, &process)?;
        let peak = process::peak_bytes(process.pid());
        process.terminate();
        let cpu = process.finish(TIMEOUT)?;
        if typed {
            self.check()?;
        } else {
            let count: u64 = self.redis.get(&self.topic)?;
            ensure!(count == self.setup.events, "counted {count} records");
        }
        Ok(Sample::new(&span, cpu, peak))
    }

    fn floor(&mut self, args: &[&str]) -> Result<Sample> {
        redis::cmd("FLUSHALL").exec(&mut self.redis)?;
        let output = self.dir.path().join("floor.json");
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(VERB).args(args);
        command.args(["--brokers", &self.setup.brokers, "--topic", &self.topic]);
        command.args(["--records", &self.setup.events.to_string()]);
        command.args(["--partitions", &self.setup.partitions.to_string()]);
        if args[0] == "native" {
            command.args(["--redis", &self.setup.redis]);
        }
        let process = Process::start(&mut command, &output)?;
        let started_ns = process.started_ns;
        let cpu = process.finish(TIMEOUT)?;
        let outcome = Outcome::parse(&std::fs::read_to_string(&output)?)?;
        ensure!(
            outcome.records == self.setup.events,
            "{} records",
            outcome.records
        );
        if args[0] == "native" {
            self.check()?;
        }
        let span = Span {
            started_ns,
            first_ns: outcome.first_ns,
            last_ns: outcome.last_ns,
            first_records: 0,
            records: outcome.records,
        };
        Ok(Sample::new(&span, cpu, outcome.peak_bytes))
    }

    /// Redis holds exactly the counts of the generator's own list.
    fn check(&mut self) -> Result<()> {
        for (key, expected) in &self.expected {
            let count: Option<i64> = self.redis.get(key)?;
            ensure!(
                count == Some(*expected),
                "count of `{key}` is {count:?}, not {expected}"
            );
        }
        let keys: Vec<String> = self.redis.keys("*")?;
        let own = |key: &&String| !key.starts_with("gristmill:") && !key.starts_with("floor:");
        let counted = keys.iter().filter(own).count();
        ensure!(
            counted == self.expected.len(),
            "{counted} keys were counted: {keys:?}"
        );
        Ok(())
    }
}

/// Follow the stored offsets until all records are counted.
fn watch(redis: &mut Connection, offsets: &str, records: u64, process: &Process) -> Result<Span> {
    let began = Instant::now();
    let mut first = None;
    loop {
        let stored = gristmill::offsets(redis, offsets)?;
        let done = stored.values().sum::<i64>() as u64;
        let now = now_ns();
        if done > 0 && first.is_none() {
            first = Some((now, done));
        }
        if done >= records {
            let (first_ns, first_records) = first.context("no first record")?;
            return Ok(Span {
                started_ns: process.started_ns,
                first_ns,
                last_ns: now,
                first_records,
                records,
            });
        }
        ensure!(!process.has_ended(), "it ended after {done} records");
        ensure!(
            began.elapsed() < TIMEOUT,
            "{done} of {records} records within {TIMEOUT:?}"
        );
        pause(Duration::from_millis(2));
    }
}

/// Make the topic and fill it, unless an earlier run has.
fn fill(setup: &Setup, kafka: &Kafka, topic: &str) -> Result<()> {
    let total = |ends: Vec<i64>| ends.iter().sum::<i64>() as u64;
    match total(kafka.ends(topic)?) {
        there if there == setup.events => return Ok(()),
        0 => {}
        _ => {
            kafka.delete(topic)?;
            pause(Duration::from_secs(2));
        }
    }
    kafka.create(topic, setup.partitions, &[])?;
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &setup.brokers)
        .set("enable.idempotence", "true")
        .set("compression.type", "lz4")
        .set("partitioner", "murmur2_random")
        .set("linger.ms", "20")
        .create()?;
    let began = Instant::now();
    let mut keyed = Keyed::new();
    for _ in 0..setup.events {
        keyed.advance();
        loop {
            let mut record: BaseRecord<'_, str, str> =
                BaseRecord::to(topic).payload(&keyed.event.data);
            record.key = keyed.key.as_deref();
            record.timestamp = Some(keyed.event.timestamp_ms);
            match producer.send(record) {
                Ok(()) => break,
                Err(_) => {
                    producer.poll(Duration::from_millis(5));
                }
            }
        }
        producer.poll(Duration::ZERO);
    }
    producer.flush(TIMEOUT)?;
    let there = total(kafka.ends(topic)?);
    ensure!(there == setup.events, "{there} records in `{topic}`");
    println!("filled {topic} in {:.0} s", began.elapsed().as_secs_f64());
    Ok(())
}
