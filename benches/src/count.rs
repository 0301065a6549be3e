//! The count leg: a topic's backlog into counts.

mod backlog;

use anyhow::Result;

pub(crate) use backlog::Backlog;
use backlog::Counts;

use crate::Setup;
use crate::cluster::Kafka;
use crate::events::Records;
use crate::peers::{self, Peers};
use crate::rounds::{self, Variant};
use crate::table::{self, Bar};

const EXACT: &str = "Gristmill, exactly once";
const AGAIN: &str = "the same again (noise)";
const BARE: &str = "Gristmill without SmartModule";
const DRAIN: &str = "librdkafka, bare drain";
const NATIVE: &str = "plain loop, same script";
const NATIVE_ALO: &str = "plain loop, at least once";

/// Events for a peer that takes a millisecond or more for each.
const SAMPLE_EVENTS: u64 = 5_000;

pub(crate) fn run(setup: &Setup) -> Result<()> {
    let kafka = Kafka::new(&setup.brokers)?;
    let fill = |records| Backlog::fill(setup, &kafka, records, setup.partitions);
    let whole = fill(setup.records())?;
    let peers = Peers::set_up(setup, &peers::COUNT);
    let sample = peers.have_sampled().then(|| fill(sample_of(setup)));
    let sample = sample.transpose()?;
    let mut variants = gristmill(setup, &whole);
    variants.extend(floors(&whole));
    variants.extend(peers.ready.iter().map(|ready| {
        let sample = sample.as_ref().filter(|_| ready.peer.sampled);
        let backlog = sample.unwrap_or(&whole);
        Variant::new(ready.peer.name, || backlog.peer(ready))
    }));
    variants.retain(|variant| setup.wants(&variant.name));
    let series = rounds::run(&mut variants, setup.rounds);
    let of = with_copies(setup.copies[0]);
    let of = of.as_str();
    let bar = |to, at_least| Bar { of, to, at_least };
    table::print(
        &format!(
            "Count leg: {}, {} partitions",
            setup.records(),
            setup.partitions
        ),
        &series,
        DRAIN,
        &[
            bar(DRAIN, 0.7),
            bar(NATIVE, 0.9),
            bar(NATIVE_ALO, 0.8),
            bar(peers::BYTEWAX, 5.0),
            bar(peers::BENTO, 5.0),
            bar(peers::CONNECT, 5.0),
            bar(peers::COUNT_CLASS, 200.0),
        ],
    );
    peers.print_notes(sample_of(setup).events);
    Ok(())
}

/// A row for each number of copies; the first one twice.
fn gristmill<'a>(setup: &'a Setup, whole: &'a Backlog<'a>) -> Vec<Variant<'a>> {
    let typed = |name, copies| Variant::new(name, move || whole.gristmill(&whole.counts, copies));
    let first = setup.copies[0];
    let mut variants = vec![
        typed(with_copies(first), first),
        typed(AGAIN.to_owned(), first),
    ];
    let more = setup.copies[1..].iter();
    variants.extend(more.map(|copies| typed(with_copies(*copies), *copies)));
    let of_topic = Counts::of_topic(whole);
    variants.push(Variant::new(BARE, move || {
        whole.gristmill(&of_topic, first)
    }));
    variants
}

fn floors<'a>(whole: &'a Backlog<'a>) -> impl Iterator<Item = Variant<'a>> {
    let floors: [(_, &[&str]); 3] = [
        (DRAIN, &["drain"]),
        (NATIVE, &["native"]),
        (NATIVE_ALO, &["native", "--at-least-once"]),
    ];
    floors
        .into_iter()
        .map(move |(name, args)| Variant::new(name, move || whole.floor(args)))
}

fn sample_of(setup: &Setup) -> Records {
    let whole = setup.records();
    Records {
        events: whole.events.min(SAMPLE_EVENTS),
        ..whole
    }
}

/// What the row with so many copies of the stage is called.
fn with_copies(copies: usize) -> String {
    match copies {
        1 => EXACT.to_owned(),
        copies => format!("{EXACT}, {copies} copies"),
    }
}
