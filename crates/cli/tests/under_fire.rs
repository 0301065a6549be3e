//! Dead letters and shutdown on the real cluster: the real binary is stopped in every way, and what
//! it leaves behind is compared with what was sent.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use common::{
    Project, Replay, Running, counts, event_data, pause, report, succeed, tally, topic_data,
};
use gristmill_replay::{Event, Generator, GeneratorOptions};
use serde_json::Value;

/// Long enough that a machine that builds meanwhile does not look idle.
const IDLE: &str = "--until-idle=4s";
const EVENTS: usize = 5_000;
const MALFORMED_EVERY: u64 = 50;

/// What `replay --generate 5000 --malformed-every 50` serves.
fn generated() -> Vec<Event> {
    let options = GeneratorOptions {
        seed: 1,
        malformed_every: Some(MALFORMED_EVERY),
        ..GeneratorOptions::default()
    };
    Generator::new(options).take(EVENTS).collect()
}

fn serve(rate: &str) -> Replay {
    let events = EVENTS.to_string();
    let every = MALFORMED_EVERY.to_string();
    Replay::start(&[
        "--generate",
        &events,
        "--malformed-every",
        &every,
        "--rate",
        rate,
    ])
}

fn letters(project: &Project) -> Vec<Value> {
    let mut list = project.gristmill(&["dead-letter", "list", &project.topic, "--json"]);
    project.place(&mut list);
    let lines = succeed(list);
    lines
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect()
}

/// Topic, partition and offset of the records that letters are of.
fn origins(letters: &[Value]) -> BTreeSet<String> {
    let origin = |letter: &Value| {
        format!(
            "{}[{}]@{}",
            letter["topic"], letter["partition"], letter["offset"]
        )
    };
    letters.iter().map(origin).collect()
}

fn values(letters: &[Value]) -> Vec<String> {
    let mut values: Vec<_> = letters
        .iter()
        .map(|l| l["value"].as_str().unwrap().to_owned())
        .collect();
    values.sort();
    values
}

fn put_back(project: &Project) -> Value {
    let mut replay = project.gristmill(&["dead-letter", "replay", &project.topic, "--json"]);
    project.place(&mut replay);
    serde_json::from_str(succeed(replay).trim()).unwrap()
}

#[test]
fn letters_are_written_once_over_crashes_and_put_back_once() {
    let Some(project) = Project::cluster() else {
        return;
    };
    let events = generated();
    let mut malformed: Vec<String> = events
        .iter()
        .filter(|e| e.malformed)
        .map(|e| e.data.clone())
        .collect();
    malformed.sort();
    assert_eq!(malformed.len(), 100);

    let replay = serve("1200");
    for running_for in [2_000, 2_400, 1_700] {
        let running = Running::start(project.up(&replay.url, &[]));
        pause(Duration::from_millis(running_for));
        running.signal(libc::SIGKILL);
        assert_eq!(running.finish().status.code(), None);
    }
    let last = report(project.up(&replay.url, &[IDLE]));
    assert_eq!(counts(&last), tally(&events), "{last}");
    let first = letters(&project);
    assert_eq!(values(&first), malformed);
    assert_eq!(
        origins(&first).len(),
        malformed.len(),
        "one for each origin"
    );

    // Put back, each once, however often it is asked for.
    assert_eq!(put_back(&project)["replayed"], 100);
    assert_eq!(put_back(&project)["replayed"], 0);
    let mut twice = event_data(&events);
    twice.extend(malformed.iter().cloned());
    twice.sort();
    assert!(topic_data(&project, &project.topic) == twice);

    // They are what they were: refused again, as records of their own, and nothing else is counted.
    let again = report(project.up(&replay.url, &[IDLE]));
    assert_eq!(counts(&again), tally(&events), "{again}");
    let all = letters(&project);
    assert_eq!(all.len(), 200);
    assert_eq!(origins(&all).len(), 200);
}

#[test]
fn sigterm_drains_what_was_taken() {
    let Some(project) = Project::cluster() else {
        return;
    };
    let replay = Replay::start(&["--generate", "1000000", "--rate", "1500"]);
    let running = Running::start(project.up(&replay.url, &[]));
    pause(Duration::from_secs(4));
    running.signal(libc::SIGTERM);
    let output = running.finish();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}");
    // All that is in the topic was counted before the end, and the end says so.
    let taken = topic_data(&project, &project.topic).len();
    assert!(taken > 0, "{errors}");
    let options = GeneratorOptions {
        seed: 1,
        ..GeneratorOptions::default()
    };
    let sent: Vec<_> = Generator::new(options).take(taken).collect();
    assert_eq!(project.counts(), tally(&sent));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(counts(&report), tally(&sent), "{report}");
}

/// Redis answers nothing, so the drain cannot end: the second signal does not wait for it.
#[test]
fn a_second_signal_leaves_at_once_and_loses_nothing() {
    let Some(project) = Project::cluster() else {
        return;
    };
    let redis = project.redis.as_ref().unwrap();
    let events = generated();
    let replay = serve("1500");
    let running = Running::start(project.up(&replay.url, &["--drain", "10m"]));
    pause(Duration::from_secs(3));
    redis.pause();
    pause(Duration::from_millis(500));
    running.signal(libc::SIGTERM);
    pause(Duration::from_secs(2));
    let asked = Instant::now();
    running.signal(libc::SIGTERM);
    let output = running.finish();
    let took = asked.elapsed();
    redis.resume();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(took < Duration::from_secs(2), "{took:?}: {errors}");
    assert_eq!(output.status.code(), Some(130), "{errors}");

    let last = report(project.up(&replay.url, &[IDLE]));
    assert_eq!(counts(&last), tally(&events), "{last}");
    assert!(topic_data(&project, &project.topic) == event_data(&events));
}
