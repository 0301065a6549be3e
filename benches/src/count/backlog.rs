//! One topic, filled once, and the runs that count it: each a process of its own, on an empty
//! Redis, its counts checked at the end.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use redis::{Commands, Connection};

use crate::Setup;
use crate::cluster::{Kafka, pause};
use crate::events::{self, Keyed, Records};
use crate::floors::{Outcome, VERB};
use crate::gristmill::{self, EXTRACT_TYPE, PIPELINE};
use crate::peers::Ready;
use crate::process::{self, Process, now_ns};
use crate::rounds::{Sample, Span};

/// A run that takes longer has failed.
const TIMEOUT: Duration = Duration::from_secs(300);

/// What a run counts, and what it must come to.
pub(crate) struct Counts {
    transforms: &'static str,
    /// The sink's template of keys.
    key: &'static str,
    expected: BTreeMap<String, i64>,
}

/// A topic's backlog.
pub(crate) struct Backlog<'a> {
    setup: &'a Setup,
    topic: String,
    partitions: i32,
    records: Records,
    /// The main job's, or by record key where the records have keys in turn.
    pub(crate) counts: Counts,
}

impl Counts {
    /// The main job: by the field `type`.
    fn by_type(events: u64) -> Self {
        Self {
            transforms: EXTRACT_TYPE,
            key: "{value}",
            expected: events::expected(events),
        }
    }

    /// All records, without a SmartModule.
    pub(crate) fn of_topic(backlog: &Backlog<'_>) -> Self {
        Self {
            transforms: "",
            key: "{topic}",
            expected: [(backlog.topic.clone(), backlog.records.events as i64)].into(),
        }
    }

    /// By the record's key, of records that have a type.
    fn by_key(records: &Records) -> Self {
        Self {
            transforms: EXTRACT_TYPE,
            key: "{key}",
            expected: events::expected_by_key(records),
        }
    }
}

impl<'a> Backlog<'a> {
    /// `records` in `partitions` partitions of a topic, unless an earlier run has filled it.
    pub(crate) fn fill(
        setup: &'a Setup,
        kafka: &Kafka,
        records: Records,
        partitions: i32,
    ) -> Result<Self> {
        let topic = records.topic(partitions);
        let counts = match records.distinct_keys {
            Some(_) => Counts::by_key(&records),
            None => Counts::by_type(records.events),
        };
        let backlog = Self {
            setup,
            topic,
            partitions,
            records,
            counts,
        };
        backlog.ensure_filled(kafka)?;
        Ok(backlog)
    }

    /// `gristmill up` with so many copies of the stage.
    pub(crate) fn gristmill(&self, counts: &Counts, copies: usize) -> Result<Sample> {
        let mut redis = self.empty_redis()?;
        let dir = tempfile::tempdir()?;
        let Counts {
            transforms, key, ..
        } = counts;
        let sink = gristmill::sink(self.setup, &self.topic, transforms, key, copies);
        let pipeline =
            gristmill::pipeline(self.setup, PIPELINE, &self.topic, self.partitions, &sink);
        let process = gristmill::up(self.setup, dir.path(), &pipeline, &[])?;
        let offsets = gristmill::offsets_key(PIPELINE, &self.topic);
        let span = self.watch(&process, || {
            let stored = gristmill::offsets(&mut redis, &offsets)?;
            Ok(stored.values().sum::<i64>() as u64)
        })?;
        let peak = process::peak_bytes(process.pid());
        process.terminate();
        let cpu = process.finish(TIMEOUT)?;
        check(&mut redis, &counts.expected)?;
        Ok(Sample::new(&span, cpu, peak))
    }

    /// A floor; those that count are checked.
    pub(crate) fn floor(&self, args: &[&str]) -> Result<Sample> {
        let mut redis = self.empty_redis()?;
        let dir = tempfile::tempdir()?;
        let output = dir.path().join("floor.json");
        let events = self.records.events;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(VERB).args(args);
        command.args(["--brokers", &self.setup.brokers, "--topic", &self.topic]);
        command.args(["--records", &events.to_string()]);
        command.args(["--partitions", &self.partitions.to_string()]);
        if args[0] == "native" {
            command.args(["--redis", &self.setup.redis]);
        }
        let process = Process::start(&mut command, &output)?;
        let started_ns = process.started_ns;
        let cpu = process.finish(TIMEOUT)?;
        let outcome = Outcome::parse(&std::fs::read_to_string(&output)?)?;
        ensure!(outcome.records == events, "{} records", outcome.records);
        if args[0] == "native" {
            check(&mut redis, &self.counts.expected)?;
        }
        Ok(Sample::new(
            &outcome.span(started_ns),
            cpu,
            outcome.peak_bytes,
        ))
    }

    /// A peer, which is followed by the counts that it makes.
    pub(crate) fn peer(&self, peer: &Ready) -> Result<Sample> {
        let mut redis = self.empty_redis()?;
        let dir = tempfile::tempdir()?;
        let mut command = peer.command(dir.path());
        command
            .env("PEER_BROKERS", &self.setup.brokers)
            .env("PEER_TOPIC", &self.topic)
            // A group of its own: it starts at the beginning.
            .env("PEER_GROUP", format!("peer-{}", now_ns()))
            .env("PEER_REDIS", &self.setup.redis);
        let process = Process::start(&mut command, &dir.path().join("peer.txt"))?;
        let expected = &self.counts.expected;
        let keys: Vec<&String> = expected.keys().collect();
        let all = expected.values().sum::<i64>() as u64;
        let span = self.watch(&process, || {
            let counts: Vec<Option<u64>> = redis.mget(&keys)?;
            let counted: u64 = counts.into_iter().flatten().sum();
            // Records without a type were read too, and leave no trace.
            Ok(counted * self.records.events / all)
        })?;
        let peak = process::peak_bytes(process.pid());
        let cpu = process.end(TIMEOUT)?;
        check(&mut redis, expected)?;
        Ok(Sample::new(&span, cpu, peak))
    }

    fn empty_redis(&self) -> Result<Connection> {
        let mut redis = redis::Client::open(self.setup.redis.as_str())?.get_connection()?;
        redis::cmd("FLUSHALL").exec(&mut redis)?;
        Ok(redis)
    }

    /// Follow `done`, the number of records with their effect in Redis, until it is all of them.
    fn watch(&self, process: &Process, mut done: impl FnMut() -> Result<u64>) -> Result<Span> {
        let records = self.records.events;
        let began = Instant::now();
        let mut first = None;
        loop {
            let done = done()?;
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
    fn ensure_filled(&self, kafka: &Kafka) -> Result<()> {
        let Self { topic, records, .. } = self;
        let total = |ends: Vec<i64>| ends.iter().sum::<i64>() as u64;
        match total(kafka.ends(topic)?) {
            there if there == records.events => return Ok(()),
            0 => {}
            _ => {
                kafka.delete(topic)?;
                pause(Duration::from_secs(2));
            }
        }
        kafka.create(topic, self.partitions, &[])?;
        let began = Instant::now();
        self.produce()?;
        let there = total(kafka.ends(topic)?);
        ensure!(there == records.events, "{there} records in `{topic}`");
        println!("filled {topic} in {:.0} s", began.elapsed().as_secs_f64());
        Ok(())
    }

    fn produce(&self) -> Result<()> {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", &self.setup.brokers)
            .set("enable.idempotence", "true")
            .set("compression.type", "lz4")
            .set("partitioner", "murmur2_random")
            .set("linger.ms", "20")
            .create()?;
        let mut keyed = Keyed::new(self.records.clone());
        for _ in 0..self.records.events {
            keyed.advance();
            loop {
                let mut record: BaseRecord<'_, str, str> =
                    BaseRecord::to(&self.topic).payload(&keyed.event.data);
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
        Ok(())
    }
}

/// Redis holds exactly the counts of the generator's own list.
fn check(redis: &mut Connection, expected: &BTreeMap<String, i64>) -> Result<()> {
    let keys: Vec<&String> = expected.keys().collect();
    let counts: Vec<Option<i64>> = redis.mget(&keys)?;
    for ((key, expected), count) in expected.iter().zip(counts) {
        ensure!(
            count == Some(*expected),
            "count of `{key}` is {count:?}, not {expected}"
        );
    }
    let keys: Vec<String> = redis.keys("*")?;
    let own = |key: &&String| !key.starts_with("gristmill:") && !key.starts_with("floor:");
    let counted = keys.iter().filter(own).count();
    ensure!(
        counted == expected.len(),
        "{counted} keys were counted, not {}",
        expected.len()
    );
    Ok(())
}
