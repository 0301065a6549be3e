//! Copies of the two legs: life after life of the product's own loop.

use std::sync::Arc;
use std::time::Duration;

use gristmill_flow::{
    CancellationToken, DeadLetters, Identity, LaneDeadLetters, Leg, LegError, LegStats,
    NoDeadLetters, Sink, Source, Transform,
};
use tokio::time::{sleep, timeout};

use super::broker::{EDITS, LETTERS};
use super::count_sink::{CountSink, LettersAfter};
use super::group_reader::GroupReader;
use super::life::{End, Fate, Mortal};
use super::stream_source::StreamSource;
use super::topic_writer::TopicWriter;
use super::transform::ExtractKind;
use super::world::World;
use super::{Mutant, ms};

/// How long a leg may take from the word to stop to its end, sleep included.
pub(super) const DRAIN_MAX: Duration = ms(3_000);

/// What a supervisor does next.
enum Next {
    Restart,
    GiveUp,
}

/// Run ingest copy `number` until the world is over.
pub(super) async fn ingest(world: World, number: usize) {
    let name = format!("ingest-{number}");
    loop {
        let source = StreamSource::new(&world);
        let sink = TopicWriter::new(&world, "stream".to_owned(), EDITS);
        let result = live(&world, &name, source, Identity, sink, NoDeadLetters).await;
        let next = match result {
            None | Some(Ok(())) => Next::Restart,
            Some(Err(LegError::Fenced(_))) => fenced(&world, number),
            Some(Err(error)) => {
                world.lock().violate(|| format!("{name} gave up: {error}"));
                Next::GiveUp
            }
        };
        if !rest(&world, next).await {
            return;
        }
    }
}

/// A copy that was shut out: right, if there is another one. In calm times the first one stays.
fn fenced(world: &World, number: usize) -> Next {
    let mut state = world.lock();
    if state.profile.ingest_copies < 2 {
        state.violate(|| "the only copy was fenced".to_owned());
    }
    if state.calm && number > 0 {
        Next::GiveUp
    } else {
        Next::Restart
    }
}

/// Run count copy `number` until the world is over.
pub(super) async fn count(world: World, number: usize) {
    let name = format!("count-{number}");
    loop {
        let source = GroupReader::new(&world);
        let sink = CountSink::new(&world);
        let writers = world.clone();
        let letters = LaneDeadLetters::new(move |lane| {
            let writer = TopicWriter::new(&writers, format!("letters {lane}"), LETTERS);
            std::future::ready(Ok(writer))
        });
        let late_letters = world.lock().is(Mutant::LettersAfterPosition);
        let result = if late_letters {
            let sink = LettersAfter(sink, letters);
            live(&world, &name, source, ExtractKind, sink, NoDeadLetters).await
        } else {
            live(&world, &name, source, ExtractKind, sink, letters).await
        };
        let next = match result {
            None | Some(Ok(())) => Next::Restart,
            Some(Err(LegError::Sink(reason))) if reason.contains("times in a row") => Next::Restart,
            Some(Err(error)) => {
                world.lock().violate(|| format!("{name} gave up: {error}"));
                Next::GiveUp
            }
        };
        if !rest(&world, next).await {
            return;
        }
    }
}

/// One life of a leg. `None` if it was killed.
async fn live(
    world: &World,
    name: &str,
    source: impl Source,
    transform: impl Transform,
    sink: impl Sink,
    dead_letters: impl DeadLetters,
) -> Option<Result<(), LegError>> {
    let stop = CancellationToken::new();
    let fate = {
        let mut state = world.lock();
        let fate = Fate::draw(&mut state);
        state.note_life(|| format!("{name} starts; {fate:?}"));
        state.stops.insert(name.to_owned(), stop.clone());
        fate
    };
    let mut leg = Leg {
        name: name.to_owned(),
        source,
        transform,
        sink,
        dead_letters,
        stats: Arc::new(LegStats::default()),
    };
    let run = async { leg.run(&stop).await };
    let life = Mortal::new(run, fate);
    tokio::pin!(life);
    let stopped = async {
        match fate.stop_after {
            Some(after) => tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = sleep(after) => stop.cancel(),
            },
            None => stop.cancelled().await,
        }
    };
    let end = tokio::select! {
        biased;
        end = &mut life => end,
        () = stopped => match timeout(DRAIN_MAX, &mut life).await {
            Ok(end) => end,
            Err(_) => {
                world.lock().violate(|| format!("{name} does not end its drain"));
                return None;
            }
        },
    };
    let mut state = world.lock();
    match end {
        End::ByItself(result) => {
            state.note(|| format!("{name} ends: {result:?}"));
            Some(result)
        }
        End::Killed(polls) => {
            state.note_fault(|| format!("{name} killed at its await point {polls}"));
            None
        }
    }
}

/// Wait before the next life. False if there is none.
async fn rest(world: &World, next: Next) -> bool {
    if matches!(next, Next::GiveUp) {
        return false;
    }
    world.linger(120).await;
    !world.lock().over
}
