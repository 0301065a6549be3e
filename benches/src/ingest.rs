//! The ingest leg: an SSE stream at full speed into a topic.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rdkafka::message::Message;

use crate::Setup;
use crate::cluster::{Kafka, pause};
use crate::events;
use crate::floors::{Outcome, Topic, VERB, consumer, kind_of};
use crate::gristmill;
use crate::peers::{self, Peers, Ready};
use crate::process::{self, Process, now_ns};
use crate::rounds::{self, Sample, Span, Variant};
use crate::table::{self, Bar};

const TIMEOUT: Duration = Duration::from_secs(300);
/// A topic that has not grown for this long, and has enough, is complete.
const SETTLED: Duration = Duration::from_secs(2);

const EXACT: &str = "Gristmill, exactly once";
const AGAIN: &str = "the same again (noise)";
const ALO: &str = "Gristmill, at least once";
const TXN: &str = "librdkafka from memory, transactions";
const PLAIN: &str = "librdkafka from memory, idempotent";

/// Events for a peer that takes many milliseconds for each.
const SAMPLE_EVENTS: u64 = 40;

struct Bench<'a> {
    setup: &'a Setup,
    kafka: Kafka,
    dir: tempfile::TempDir,
    runs: usize,
}

pub(crate) fn run(setup: &Setup) -> Result<()> {
    let bench = std::cell::RefCell::new(Bench {
        setup,
        kafka: Kafka::new(&setup.brokers)?,
        dir: tempfile::tempdir()?,
        runs: 0,
    });
    let gristmill = |name, delivery: &'static str| {
        let bench = &bench;
        Variant::new(name, move || bench.borrow_mut().gristmill(delivery))
    };
    let floor = |name, transactional| {
        let bench = &bench;
        Variant::new(name, move || bench.borrow_mut().floor(transactional))
    };
    let peers = Peers::set_up(setup, &peers::INGEST);
    let mut variants = vec![
        gristmill(EXACT, "exactly-once"),
        gristmill(AGAIN, "exactly-once"),
        gristmill(ALO, "at-least-once"),
        floor(TXN, true),
        floor(PLAIN, false),
    ];
    let sample_events = setup.events.min(SAMPLE_EVENTS);
    variants.extend(peers.ready.iter().map(|ready| {
        let events = if ready.peer.sampled {
            sample_events
        } else {
            setup.events
        };
        let bench = &bench;
        Variant::new(ready.peer.name, move || {
            bench.borrow_mut().peer(ready, events)
        })
    }));
    variants.retain(|variant| setup.wants(&variant.name));
    let series = rounds::run(&mut variants, setup.rounds);
    let bar = |to, at_least| Bar {
        of: EXACT,
        to,
        at_least,
    };
    table::print(
        &format!(
            "Ingest leg: {} events over SSE, {} partitions",
            setup.events, setup.partitions
        ),
        &series,
        TXN,
        &[
            bar(TXN, 0.6),
            bar(ALO, 0.7),
            bar(peers::BENTO, 5.0),
            bar(peers::CONNECT, 5.0),
        ],
    );
    peers.print_notes(sample_events);
    Ok(())
}

impl Bench<'_> {
    /// A topic that no run has written to.
    fn topic(&mut self) -> Result<String> {
        self.runs += 1;
        let topic = format!("bench-ingest-{}-{}", now_ns() / 1_000_000, self.runs);
        self.kafka.create(&topic, self.setup.partitions, &[])?;
        Ok(topic)
    }

    fn gristmill(&mut self, delivery: &str) -> Result<Sample> {
        let topic = self.topic()?;
        let replay_dir = tempfile::tempdir()?;
        let count = self.setup.events.to_string();
        let (replay, url) = replay(self.setup, replay_dir.path(), &["--generate", &count])?;
        let source = gristmill::source(&topic, &url, delivery);
        // A name of its own: the position of an earlier run is another stream's.
        let pipeline =
            gristmill::pipeline(self.setup, &topic, &topic, self.setup.partitions, &source);
        let process = gristmill::up(self.setup, self.dir.path(), &pipeline, &[])?;
        let span = self.watch(&topic, &process, self.setup.events)?;
        let peak = process::peak_bytes(process.pid());
        process.terminate();
        let cpu = process.finish(TIMEOUT)?;
        replay.terminate();
        replay.finish(TIMEOUT)?;
        self.verify(&topic, self.setup.events)?;
        self.kafka.delete(&topic)?;
        self.kafka
            .delete(&format!("gristmill.{topic}.checkpoints"))?;
        self.kafka.delete(&format!("{topic}.dead-letter"))?;
        Ok(Sample::new(&span, cpu, peak))
    }

    fn peer(&mut self, peer: &Ready, events: u64) -> Result<Sample> {
        let topic = self.topic()?;
        let dir = tempfile::tempdir()?;
        let count = events.to_string();
        let (replay, url) = replay(self.setup, dir.path(), &["--generate", &count])?;
        let mut command = peer.command(dir.path());
        command
            .env("PEER_BROKERS", &self.setup.brokers)
            .env("PEER_TOPIC", &topic)
            .env("PEER_URL", &url);
        let process = Process::start(&mut command, &dir.path().join("peer.txt"))?;
        let span = self.watch(&topic, &process, events)?;
        let peak = process::peak_bytes(process.pid());
        let cpu = process.end(TIMEOUT)?;
        replay.terminate();
        replay.finish(TIMEOUT)?;
        self.verify(&topic, events)?;
        self.kafka.delete(&topic)?;
        Ok(Sample::new(&span, cpu, peak))
    }

    /// Follow the topic's length until it stands still. Offsets count transactions' markers too, so
    /// the length alone does not tell; whether nothing is missing is checked afterwards.
    fn watch(&self, topic: &str, process: &Process, events: u64) -> Result<Span> {
        let began = Instant::now();
        let mut first = None;
        let mut last = (Instant::now(), 0, 0);
        loop {
            let there = self.kafka.ends(topic)?.iter().sum::<i64>() as u64;
            if there > last.2 {
                last = (Instant::now(), now_ns(), there);
                first.get_or_insert((last.1, there));
            }
            if last.2 >= events && last.0.elapsed() > SETTLED {
                break;
            }
            ensure!(!process.has_ended(), "it ended after {there} offsets");
            ensure!(
                began.elapsed() < TIMEOUT,
                "{there} offsets within {TIMEOUT:?}"
            );
            pause(Duration::from_millis(5));
        }
        let (first_ns, first_records) = first.context("no record came")?;
        Ok(Span {
            started_ns: process.started_ns,
            first_ns,
            last_ns: last.1,
            first_records,
            records: events,
        })
    }

    fn floor(&mut self, transactional: bool) -> Result<Sample> {
        let topic = self.topic()?;
        let output = self.dir.path().join("floor.json");
        let mut command = Command::new(std::env::current_exe()?);
        command.args([VERB, "produce", "--brokers", &self.setup.brokers]);
        command.args(["--topic", &topic]);
        command.args(["--records", &self.setup.events.to_string()]);
        if transactional {
            command.arg("--transactional");
        }
        let process = Process::start(&mut command, &output)?;
        let started_ns = process.started_ns;
        let cpu = process.finish(TIMEOUT)?;
        let outcome = Outcome::parse(&std::fs::read_to_string(&output)?)?;
        self.verify(&topic, self.setup.events)?;
        self.kafka.delete(&topic)?;
        Ok(Sample::new(
            &outcome.span(started_ns),
            cpu,
            outcome.peak_bytes,
        ))
    }

    /// The topic holds exactly the generator's first `events`, by type.
    fn verify(&self, topic: &str, events: u64) -> Result<()> {
        let consumer = consumer(&Topic {
            brokers: self.setup.brokers.clone(),
            topic: topic.to_owned(),
            records: events,
            partitions: self.setup.partitions,
        })?;
        let mut counts: BTreeMap<String, i64> = BTreeMap::new();
        let mut records = 0;
        let mut quiet = Duration::from_secs(10);
        while let Some(message) = consumer.poll(quiet) {
            let message = message?;
            records += 1;
            if let Some(kind) = kind_of(message.payload().unwrap_or_default())? {
                *counts.entry(kind.into_owned()).or_default() += 1;
            }
            // One more would be one too many.
            if records >= events {
                quiet = Duration::from_millis(500);
            }
        }
        std::mem::forget(consumer);
        ensure!(records == events, "{records} records in the topic");
        ensure!(
            counts == events::expected(events),
            "the topic's types: {counts:?}"
        );
        Ok(())
    }
}

/// Start the replay server with `args`; returns the stream's URL.
pub(crate) fn replay(setup: &Setup, dir: &Path, args: &[&str]) -> Result<(Process, String)> {
    let output = dir.join("replay.txt");
    let mut command = Command::new(&setup.gristmill);
    command
        .args(["replay", "--listen", "127.0.0.1:0"])
        .args(args);
    let process = Process::start(&mut command, &output)?;
    let began = Instant::now();
    loop {
        let text = std::fs::read_to_string(&output)?;
        if let Some(url) = text.strip_prefix("serving ")
            && let Some(url) = url.lines().next().filter(|_| text.ends_with('\n'))
        {
            return Ok((process, url.to_owned()));
        }
        ensure!(
            !process.has_ended() && began.elapsed() < Duration::from_secs(20),
            "the replay server did not start"
        );
        pause(Duration::from_millis(5));
    }
}
