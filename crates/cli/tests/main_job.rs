//! The main job by its real parts: the binary, SSE over sockets, Kafka or embedded topics, Redis or
//! embedded counts. What arrived is compared byte for byte with what was sent.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use common::{
    Project, Replay, Running, counts, event_data, gristmill, pause, record, report, run, tally,
    topic_data,
};
use gristmill_flow_testing::kafka;
use gristmill_replay::GeneratorOptions;
use serde_json::Value;

/// Long enough that a machine that builds meanwhile does not look idle.
const IDLE: &str = "--until-idle=4s";

#[test]
fn the_demo_counts_exactly_what_was_generated() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = gristmill(["demo", "--events", "20000", "--json", "--dir"]);
    command.arg(dir.path());
    let report = report(command);
    assert_eq!(report["events"], 20_000);
    assert_eq!(report["rejected"], 0);
    assert_eq!(report["counts"], report["generated"]["counts"]);

    // The topic holds the very bytes that the generator makes.
    let mut tap = gristmill(["tap", "wikipedia-edits", "--json"]);
    tap.arg(format!("--local={}", dir.path().display()));
    tap.arg("--file")
        .arg(common::repository().join("pipeline.yaml"));
    let text = common::succeed(tap);
    let mut data: Vec<String> = text
        .lines()
        .map(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            line["data"].as_str().unwrap().to_owned()
        })
        .collect();
    data.sort();
    let options = GeneratorOptions {
        seed: 1,
        ..GeneratorOptions::default()
    };
    let events: Vec<_> = gristmill_replay::Generator::new(options)
        .take(20_000)
        .collect();
    assert!(data == event_data(&events), "the topic's bytes differ");
}

#[test]
fn a_demo_ends_on_ctrl_c_with_a_table() {
    let mut running = Running::start(gristmill(["demo", "--rate", "2000"]));
    running.wait_for("Ctrl-C ends it");
    pause(Duration::from_secs(3));
    running.signal(libc::SIGINT);
    let output = running.finish();
    assert_eq!(output.status.code(), Some(130));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("edit") && text.contains("total"), "{text}");
}

#[test]
fn a_demo_that_is_cut_short_says_so_and_blames_no_counts() {
    let args = ["demo", "--events", "18446744073709551615", "--rate", "200"];
    let mut command = gristmill(args);
    command.args(["--for", "2s"]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("Ended after "), "{text}");
    assert!(!text.contains("differ"), "{text}");
}

#[test]
fn a_closed_terminal_ends_a_demo_in_order() {
    // A test that runs under `nohup` passes on that the signal is ignored.
    let demo = gristmill(["demo", "--rate", "2000"]);
    let mut command = std::process::Command::new("env");
    command
        .arg("--default-signal=HUP")
        .arg(demo.get_program())
        .args(demo.get_args())
        .envs(
            demo.get_envs()
                .filter_map(|(key, value)| Some((key, value?))),
        );
    let mut running = Running::start(command);
    running.wait_for("Ctrl-C ends it");
    pause(Duration::from_secs(1));
    running.signal(libc::SIGHUP);
    let output = running.finish();
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("total"), "{text}");
}

fn a_recorded_stream_arrives_once(project: &Project) {
    let file = project.dir.path().join("recorded.sse");
    let options = GeneratorOptions {
        seed: 7,
        disorder: Duration::from_secs(15),
        ..GeneratorOptions::default()
    };
    let events = record(&file, options, 6_000);
    // More than the minute that each resumption goes back, which is 2,400 events.
    let replay = Replay::start(&[file.to_str().unwrap(), "--cut-after", "3500"]);

    let first = report(project.up(&replay.url, &[IDLE]));
    assert_eq!(first["events"], 6_000, "{first}");
    assert_eq!(first["rejected"], 0, "{first}");
    assert_eq!(counts(&first), tally(&events), "{first}");
    assert!(topic_data(project, &project.topic) == event_data(&events));

    // Once more: the stream rewinds, and what the topic holds is dropped.
    let second = report(project.up(&replay.url, &[IDLE]));
    assert_eq!(second["events"], 0, "{second}");
    assert_eq!(counts(&second), tally(&events), "{second}");
    assert!(topic_data(project, &project.topic) == event_data(&events));
    assert_eq!(project.counts(), tally(&events));
}

#[test]
fn a_recorded_stream_arrives_once_embedded() {
    a_recorded_stream_arrives_once(&Project::local());
}

#[test]
fn a_recorded_stream_arrives_once_on_the_cluster() {
    if let Some(project) = Project::cluster() {
        a_recorded_stream_arrives_once(&project);
    }
}

/// Edit the file between two runs: another key goes on where the counts stopped, a new topic gets
/// the stream from where the source stands.
#[test]
fn an_edited_pipeline_goes_on_where_it_stopped() {
    let project = Project::local();
    let file = project.dir.path().join("recorded.sse");
    let events = record(&file, GeneratorOptions::default(), 2_000);
    let half = project.dir.path().join("half.sse");
    record(&half, GeneratorOptions::default(), 1_000);
    let replay = Replay::start(&[half.to_str().unwrap()]);
    report(project.up(&replay.url, &[IDLE]));
    assert_eq!(project.counts(), tally(&events[..1_000]));

    project.write(|text| text.replace(r#"count: "{value}""#, r#"count: "wiki:{value}""#));
    let replay = Replay::start(&[file.to_str().unwrap()]);
    report(project.up(&replay.url, &[IDLE]));
    let mut expect = tally(&events[..1_000]);
    for (key, count) in tally(&events[1_000..]) {
        expect.insert(format!("wiki:{key}"), count);
    }
    assert_eq!(project.counts(), expect);
    assert!(topic_data(&project, &project.topic) == event_data(&events));
}

/// Stop in the middle by every polite way, start again: nothing lost, nothing doubled.
fn stopped_runs_add_up(project: &Project) {
    const EVENTS: usize = 6_000;
    let options = GeneratorOptions {
        seed: 1,
        ..GeneratorOptions::default()
    };
    let events: Vec<_> = gristmill_replay::Generator::new(options)
        .take(EVENTS)
        .collect();
    let replay = Replay::start(&["--generate", "6000", "--rate", "1500"]);
    for (signals, code) in [
        (&[libc::SIGINT][..], Some(130)),
        (&[libc::SIGTERM][..], Some(0)),
        // The second one leaves at once.
        (&[libc::SIGINT, libc::SIGINT][..], Some(130)),
        // No chance to say anything.
        (&[libc::SIGKILL][..], None),
    ] {
        let running = Running::start(project.up(&replay.url, &[]));
        pause(Duration::from_millis(2_500));
        for signal in signals {
            running.signal(*signal);
            pause(Duration::from_millis(10));
        }
        let output = running.finish();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), code, "after {signals:?}: {text}");
    }
    let last = report(project.up(&replay.url, &[IDLE]));
    assert_eq!(counts(&last), tally(&events), "{last}");
    assert!(topic_data(project, &project.topic) == event_data(&events));
}

#[test]
fn stopped_runs_add_up_embedded() {
    stopped_runs_add_up(&Project::local());
}

#[test]
fn stopped_runs_add_up_on_the_cluster() {
    if let Some(project) = Project::cluster() {
        stopped_runs_add_up(&project);
    }
}

/// Malformed events go to the dead-letter topic with the reason; the rest is counted.
fn malformed_events_are_dead_letters(project: &Project) {
    let file = project.dir.path().join("recorded.sse");
    let options = GeneratorOptions {
        malformed_every: Some(100),
        canary_every: Some(77),
        ..GeneratorOptions::default()
    };
    let events = record(&file, options, 1_000);
    let replay = Replay::start(&[file.to_str().unwrap()]);
    let report = report(project.up(&replay.url, &[IDLE]));
    let malformed = events.iter().filter(|event| event.malformed);
    let mut malformed: Vec<&str> = malformed.map(|event| event.data.as_str()).collect();
    assert_eq!(malformed.len(), 10);
    assert_eq!(report["rejected"], 10, "{report}");
    assert_eq!(counts(&report), tally(&events), "{report}");

    let mut list = project.gristmill(&["dead-letter", "list", &project.topic, "--json"]);
    project.place(&mut list);
    let letters: Vec<Value> = common::succeed(list)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let mut values: Vec<&str> = letters
        .iter()
        .map(|l| l["value"].as_str().unwrap())
        .collect();
    values.sort_unstable();
    malformed.sort_unstable();
    assert_eq!(values, malformed);
    for letter in &letters {
        assert_eq!(letter["stage"], "extract-type");
        let reason = letter["reason"].as_str().unwrap();
        assert!(reason.contains("malformed JSON at byte"), "{reason}");
    }
}

#[test]
fn malformed_events_are_dead_letters_embedded() {
    malformed_events_are_dead_letters(&Project::local());
}

#[test]
fn malformed_events_are_dead_letters_on_the_cluster() {
    if let Some(project) = Project::cluster() {
        malformed_events_are_dead_letters(&project);
    }
}

/// A broker that is down at the start is waited for: said, and gone on with when it is there.
#[test]
fn a_broker_that_is_down_at_start_is_waited_for() {
    let (Some(project), Some(brokers)) = (Project::cluster(), kafka::brokers()) else {
        return;
    };
    let replay = Replay::start(&["--generate", "500"]);
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let bootstrap = free.local_addr().unwrap();
    drop(free);
    let mut command = project.up(&replay.url, &[IDLE]);
    command.arg(format!("--set=kafka.brokers={bootstrap}"));
    let mut running = Running::start(command);
    running.wait_for("waiting");
    // Now somebody answers: the way to a real broker.
    let listener = TcpListener::bind(bootstrap).unwrap();
    let broker = brokers[0].clone();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let server = TcpStream::connect(&broker).unwrap();
            for (mut from, mut to) in [
                (client.try_clone().unwrap(), server.try_clone().unwrap()),
                (server, client),
            ] {
                std::thread::spawn(move || io::copy(&mut from, &mut to));
            }
        }
    });
    let output = running.finish();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{errors}");
    assert!(errors.contains("waiting"), "{errors}");
    assert!(errors.contains(&bootstrap.to_string()), "{errors}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["events"], 500);
}

/// The final report is one line with what scripts rely on.
#[test]
fn the_json_report_is_one_line() {
    let project = Project::local();
    let replay = Replay::start(&["--generate", "50"]);
    let output = run(project.up(&replay.url, &[IDLE]));
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    let report: BTreeMap<String, Value> = serde_json::from_str(&text).unwrap();
    assert_eq!(report["events"], 50);
    assert_eq!(report["rejected"], 0);
    assert!(
        report["counts"]
            .as_object()
            .unwrap()
            .values()
            .all(Value::is_i64)
    );
}
