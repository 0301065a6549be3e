//! A stage in several copies and on several machines, and a source of several streams: the real
//! binary on the real cluster. However many share the work, and whoever comes or goes, each event
//! counts once.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::{
    Project, Replay, Running, counts, event_data, pause, record, report, tally, topic_data,
};
use gristmill_replay::{Generator, GeneratorOptions};

/// Long enough that a machine that builds meanwhile does not look idle.
const IDLE: &str = "--until-idle=4s";

/// What `replay --generate` serves.
fn options() -> GeneratorOptions {
    GeneratorOptions {
        seed: 1,
        ..GeneratorOptions::default()
    }
}

/// The shipped file with a topic of `partitions` and `replicas` of the sink.
fn copies(partitions: u32, replicas: u32) -> impl FnOnce(String) -> String {
    move |text| {
        let text = text.replace("partitions: 3", &format!("partitions: {partitions}"));
        text.replace(
            "    transforms:\n",
            &format!("    replicas: {replicas}\n    transforms:\n"),
        )
        // A killed member's partitions come back soon.
        .replace(
            "kafka:\n",
            "kafka:\n  properties: {session.timeout.ms: 6000}\n",
        )
    }
}

#[test]
fn copies_that_come_and_go_under_load_count_each_event_once() {
    const EVENTS: usize = 40_000;
    let Some(project) = Project::cluster() else {
        return;
    };
    project.write(copies(6, 1));
    let events: Vec<_> = Generator::new(options()).take(EVENTS).collect();
    let all = EVENTS.to_string();
    let replay = Replay::start(&["--generate", &all, "--rate", "2000"]);
    let source = Running::start(project.up(&replay.url, &["--only=recentchange"]));

    // One process whose copies are one, four, two, three, while it runs.
    let mut first = Running::start(project.up(&replay.url, &["--only=type-counts", "--watch"]));
    for (replicas, says) in [
        (4, "type-counts: 4 copies instead of 1"),
        (2, "type-counts: 2 copies instead of 4"),
        (3, "type-counts: 3 copies instead of 2"),
    ] {
        pause(Duration::from_secs(2));
        project.write(copies(6, replicas));
        first.wait_for(says);
    }
    // Two more processes of three copies each; one is killed, one leaves in order.
    let second = Running::start(project.up(&replay.url, &["--only=type-counts"]));
    let third = Running::start(project.up(&replay.url, &["--only=type-counts"]));
    pause(Duration::from_secs(4));
    second.signal(libc::SIGKILL);
    third.signal(libc::SIGTERM);
    let third = third.finish();
    assert_eq!(third.status.code(), Some(0), "{third:?}");
    first.signal(libc::SIGTERM);
    assert_eq!(first.finish().status.code(), Some(0));
    source.signal(libc::SIGTERM);
    assert_eq!(source.finish().status.code(), Some(0));
    assert!(second.finish().status.code().is_none(), "it was killed");

    // What is left, in eight copies for six partitions: two have nothing to do, and do no harm.
    project.write(copies(6, 8));
    let last = report(project.up(&replay.url, &[IDLE]));
    assert_eq!(counts(&last), tally(&events), "{last}");
    assert_eq!(last["stages"]["type-counts"]["lag"], 0, "{last}");
    assert_eq!(project.counts(), tally(&events));
    assert!(topic_data(&project, &project.topic) == event_data(&events));
}

#[test]
fn a_sink_of_named_partitions_reads_no_others_and_knows_when_it_is_done() {
    let Some(project) = Project::cluster() else {
        return;
    };
    let only = |partition: &'static str| {
        move |text: String| {
            text.replace(
                "offset: {start: beginning}",
                &format!("offset: {{start: beginning}}, partition: {partition}"),
            )
        }
    };
    let replay = Replay::start(&["--generate", "3000"]);
    project.write(only("[0, 2]"));
    let some = report(project.up(&replay.url, &[IDLE]));
    let read = some["stages"]["type-counts"]["records_in"]
        .as_u64()
        .unwrap();
    assert!((500..2_900).contains(&read), "{some}");
    assert!(
        some["elapsed_s"].as_f64().unwrap() < 15.0,
        "it waits for nobody: {some}"
    );
    // The rest.
    project.write(only("1"));
    let rest = report(project.up(&replay.url, &[IDLE]));
    let more = rest["stages"]["type-counts"]["records_in"]
        .as_u64()
        .unwrap();
    assert_eq!(read + more, 3_000, "{rest}");
    let events: Vec<_> = Generator::new(options()).take(3_000).collect();
    assert_eq!(counts(&rest), tally(&events), "{rest}");
}

/// Two streams into one topic, each at its own position, through a kill.
fn streams_are_resumed_each_by_itself(project: &Project) {
    let streams: Vec<_> = [11, 12]
        .into_iter()
        .map(|seed| {
            let options = GeneratorOptions {
                seed,
                ..GeneratorOptions::default()
            };
            let file = project.dir.path().join(format!("{seed}.sse"));
            let events = record(&file, options, 4_000);
            let replay = Replay::start(&[
                file.to_str().unwrap(),
                "--rate",
                if seed == 11 { "1000" } else { "700" },
            ]);
            (replay, events)
        })
        .collect();
    let urls = format!("{{one: {}, two: {}}}", streams[0].0.url, streams[1].0.url);
    project
        .write(|text| text.replace("https://stream.wikimedia.org/v2/stream/recentchange", &urls));
    let up = |args: &[&str]| {
        let mut command = project.gristmill(&["up", "--json"]);
        command.args(args);
        project.place(&mut command);
        command
    };
    let running = Running::start(up(&[]));
    pause(Duration::from_millis(3_000));
    running.signal(libc::SIGKILL);
    running.finish();
    let last = report(up(&[IDLE]));
    let all: Vec<_> = streams.into_iter().flat_map(|(_, events)| events).collect();
    assert_eq!(counts(&last), tally(&all), "{last}");
    assert!(topic_data(project, &project.topic) == event_data(&all));
    assert!(last["stages"]["recentchange"]["gaps"] == 0, "{last}");
}

#[test]
fn streams_are_resumed_each_by_itself_embedded() {
    streams_are_resumed_each_by_itself(&Project::local());
}

#[test]
fn streams_are_resumed_each_by_itself_on_the_cluster() {
    if let Some(project) = Project::cluster() {
        streams_are_resumed_each_by_itself(&project);
    }
}
