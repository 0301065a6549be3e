//! `gristmill deploy`, the real binary: whatever is killed when, nothing runs twice and nothing is
//! left over.
#![allow(clippy::unwrap_used)]

mod common;
mod deploy_site;

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::pause;
use deploy_site::{Site, said};
use gristmill_deploy::Process;
use gristmill_replay::{GeneratorOptions, Server, ServerOptions, Source};

#[test]
fn of_many_starts_at_once_one_starts() {
    let site = Site::new();
    let starts: Vec<_> = (0..6)
        .map(|_| {
            let mut command = site.command(&["deploy", "start", "--local"]);
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            command.spawn().unwrap()
        })
        .collect();
    let ends: Vec<_> = starts
        .into_iter()
        .map(|start| start.wait_with_output().unwrap())
        .collect();
    let started = ends.iter().filter(|end| end.status.success()).count();
    assert_eq!(started, 1, "{ends:?}");
    for end in ends.iter().filter(|end| !end.status.success()) {
        assert_eq!(end.status.code(), Some(1));
        assert!(said(end).contains("runs already"), "{end:?}");
    }
    assert_eq!(site.processes().len(), 2, "{:?}", site.processes());
}

#[test]
fn a_killed_supervisor_leaves_no_orphan_and_can_be_started_again() {
    let site = Site::new();
    for round in 0..4 {
        let start = site.succeed(&["deploy", "start", "--local"]);
        assert_eq!(start.contains("ended without a stop"), round > 0, "{start}");
        let status = site.status();
        let processes = site.processes();
        assert_eq!(processes.len(), 2, "{processes:?}");
        site.supervisor().signal(libc::SIGKILL).unwrap();
        site.until(|site| site.processes().is_empty());
        let list = site.run(&["deploy", "list"]);
        assert_eq!(list.status.code(), Some(1));
        let text = said(&list);
        assert!(
            text.contains("p: its supervisor ended without a stop"),
            "{text}"
        );
        assert!(text.contains("`gristmill deploy start -f"), "{text}");
        assert!(status["revision"].as_u64() > Some(round), "{status}");
    }
    // A shutdown takes note of it.
    let text = site.succeed(&["deploy", "shutdown", "p"]);
    assert!(text.contains("had ended already"), "{text}");
    assert_eq!(site.succeed(&["deploy", "list"]), "nothing is deployed\n");
}

#[test]
fn kills_at_any_moment_of_a_start_leave_at_most_one() {
    let site = Site::new();
    for round in 0..12 {
        let mut command = site.command(&["deploy", "start", "--local"]);
        let mut start = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        pause(Duration::from_millis(round * 25));
        for (pid, verb) in site.processes() {
            if verb == "supervise"
                && let Ok(process) = Process::of(pid)
            {
                process.signal(libc::SIGKILL).unwrap();
            }
        }
        if round % 3 == 0 {
            start.kill().unwrap();
        }
        start.wait().unwrap();
    }
    // One may have come up after its moment had passed.
    if let Some(supervisor) = site.deployment().supervisor() {
        supervisor.signal(libc::SIGKILL).unwrap();
    }
    site.until(|site| site.processes().is_empty());
    site.succeed(&["deploy", "start", "--local"]);
    assert_eq!(site.processes().len(), 2);
}

#[test]
fn what_a_stage_in_the_background_would_find_is_found_before() {
    let site = Site::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let in_use = format!("{address} is in use");
    let kafka = "--set=kafka.brokers=127.0.0.1:1";
    for (args, reason) in [
        (["--local", "--listen", &address], in_use.as_str()),
        ([kafka, "--listen", &address], &in_use),
        (
            ["--local=/proc/none", "--listen", "0"],
            "cannot make /proc/none",
        ),
    ] {
        let output = site.run(&[&["deploy", "start"][..], &args].concat());
        let text = said(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains(reason), "{text}");
        assert_eq!(site.processes(), [], "{text}");
    }
}

#[test]
fn the_port_that_was_found_free_is_told() {
    let site = Site::new();
    let start = site.succeed(&["deploy", "start", "--local", "--listen", "0"]);
    let list = site.succeed(&["deploy", "list"]);
    let status = site.status();
    let address = status["listen"].as_str().unwrap();
    assert!(!address.ends_with(":0"), "{address}");
    for text in [start, list] {
        let page = format!("p: page on http://{address}/, metrics on http://{address}/metrics\n");
        assert!(text.contains(&page), "{text}");
    }
    std::net::TcpStream::connect(address).unwrap();
}

#[test]
fn of_two_that_want_one_address_the_second_is_told_at_once() {
    let site = Site::new();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    let mut starts = Vec::new();
    for name in ["p", "q"] {
        let mut command = site.command(&["deploy", "start", "--listen", &address]);
        command.arg("--set");
        command.arg(format!("meta.name={name}"));
        command.arg(format!("--local={}", site.dir().join(name).display()));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        starts.push(command.spawn().unwrap());
    }
    let ends = starts
        .into_iter()
        .map(|start| start.wait_with_output().unwrap());
    let (well, badly): (Vec<_>, Vec<_>) = ends.partition(|end| end.status.success());
    assert_eq!((well.len(), badly.len()), (1, 1), "{well:?} {badly:?}");
    let text = said(&badly[0]);
    assert!(text.contains(&format!("{address} is in use")), "{text}");
    assert!(text.contains("--listen"), "{text}");
}

#[test]
fn the_page_of_an_embedded_deployment_shows_passing_records() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let source = Source::Generate {
        options: GeneratorOptions::default(),
        events: None,
    };
    let options = ServerOptions {
        rate: Some(100.0),
        ..ServerOptions::new(source)
    };
    let server = runtime.block_on(Server::start(options)).unwrap();
    let site = Site::new();
    site.edit(|text| text.replace("http://127.0.0.1:9/stream", &server.url()));
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    site.succeed(&["deploy", "start", "--local", "--listen", &address]);
    let mut stream = std::net::TcpStream::connect(&address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let request = format!("GET /tap HTTP/1.1\r\nhost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let lines = BufReader::new(stream).lines().map(Result::unwrap);
    let mut records = lines.filter(|line| line.starts_with("data: {\"records\":["));
    let frame = records.next().unwrap();
    assert!(frame.contains("\"topic\":\"edits\""), "{frame}");

    // Its process alone can read the counts, and is asked for them.
    let counts = || {
        let output = site.run(&["counts", "--local", "--json"]);
        serde_json::from_slice::<std::collections::BTreeMap<String, i64>>(&output.stdout).unwrap()
    };
    site.until(|_| counts().values().sum::<i64>() > 100);
    let windows = site.run(&["counts", "--local", "--window"]);
    assert_eq!(windows.status.code(), Some(2));
    assert!(said(&windows).contains("counts in windows"), "{windows:?}");

    // Who cannot ask it is told whom to end.
    let stage = site.status()["stages"][0]["pid"].clone();
    for args in [&["counts", "--local"][..], &["tap", "edits", "--local"]] {
        let mut command = site.command(args);
        command.env("GRISTMILL_STATE_DIR", site.dir().join("elsewhere"));
        let output = command.output().unwrap();
        let text = said(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        let holder = format!("it is in use by the deployment p (process {stage})\n");
        assert!(text.contains(&holder), "{text}");
        assert!(text.contains("`gristmill deploy shutdown p`"), "{text}");
    }
    let doctor = site.run(&["doctor", "--local"]);
    let text = said(&doctor);
    assert!(
        text.contains(&format!(
            ": in use by process {stage}\n           = help: fine if"
        )),
        "{text}"
    );
}

#[test]
fn a_killed_stage_is_started_again_and_given_new_words() {
    let site = Site::new();
    site.succeed(&["deploy", "start", "--local"]);
    let pid = |site: &Site| site.status()["stages"][0]["pid"].as_u64();
    let before = pid(&site).unwrap();
    let process = Process::of(before as u32).unwrap();
    process.signal(libc::SIGKILL).unwrap();
    site.until(|site| pid(site).is_some_and(|pid| pid != before));
    assert_eq!(site.status()["stages"][0]["restarts"], 1);
    let list = site.succeed(&["deploy", "list"]);
    assert!(list.contains("(restarted 1 time)"), "{list}");
    assert_eq!(site.processes().len(), 2);
    let log = site.succeed(&["deploy", "log", "p", "--since", "1h"]);
    assert!(
        log.contains("its process was ended (signal: 9 (SIGKILL)); starts again in"),
        "{log}"
    );
}

#[test]
fn a_full_disk_for_logs_stops_nothing_and_is_told() {
    let site = Site::new();
    let log = site.deployment().log_dir().join("current");
    std::fs::create_dir_all(log.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink("/dev/full", &log).unwrap();
    site.succeed(&["deploy", "start", "--local"]);
    site.until(|site| site.status()["stages"][0]["status"] == "running");
    let list = site.run(&["deploy", "list"]);
    let text = said(&list);
    assert!(list.status.success(), "{text}");
    assert!(
        text.contains("lines of the log could not be written: No space left on device"),
        "{text}"
    );
    // There is room again.
    std::fs::remove_file(&log).unwrap();
    site.succeed(&["deploy", "restart", "p"]);
    let text = site.succeed(&["deploy", "log", "p"]);
    assert!(
        text.contains("lines could not be written: No space left on device"),
        "{text}"
    );
    assert!(text.contains("p: started anew"), "{text}");
    assert!(!said(&site.run(&["deploy", "list"])).contains("No space"));
}

#[test]
fn a_disk_that_is_full_before_anything_starts_is_a_clear_failure() {
    let site = Site::new();
    // Whatever we are allowed to: a file is where the directory should be.
    std::fs::create_dir_all(site.state()).unwrap();
    std::fs::write(site.deployment().dir(), "in the way").unwrap();
    let start = site.run(&["deploy", "start", "--local"]);
    assert_eq!(start.status.code(), Some(1));
    assert!(said(&start).contains("Not a directory"), "{start:?}");
    assert!(site.processes().is_empty());
    std::fs::remove_file(site.deployment().dir()).unwrap();
}

#[test]
fn a_stale_state_and_a_reused_pid_harm_nobody() {
    let site = Site::new();
    site.succeed(&["deploy", "start", "--local"]);
    site.supervisor().signal(libc::SIGKILL).unwrap();
    site.until(|site| site.processes().is_empty());
    // Its pid now is that of another: as if the system had given it away.
    let mut other = Command::new("sleep").arg("600").spawn().unwrap();
    let stranger = Process::of(other.id()).unwrap();
    let write = |process: &Process| {
        let lock = site.deployment().dir().join("lock");
        std::fs::write(lock, serde_json::to_string(process).unwrap()).unwrap();
    };
    write(&stranger);
    assert!(said(&site.run(&["deploy", "list"])).contains("ended without a stop"));
    site.succeed(&["deploy", "shutdown", "p", "--kill"]);
    assert!(stranger.is_alive());

    // A state that is held, by whom it does not say.
    let lock = File::open(site.deployment().dir().join("lock")).unwrap();
    lock.lock().unwrap();
    write(&Process {
        start_ticks: stranger.start_ticks + 1,
        ..stranger.clone()
    });
    let kill = site.run(&["deploy", "shutdown", "p", "--kill"]);
    assert_eq!(kill.status.code(), Some(1));
    assert!(
        said(&kill).contains("is not its supervisor: it is left alone"),
        "{kill:?}"
    );
    assert!(stranger.is_alive());
    drop(lock);

    // Files of ours that hold something else are named.
    std::fs::write(site.deployment().dir().join("state.json"), "{").unwrap();
    let start = site.run(&["deploy", "start", "--local"]);
    assert!(
        said(&start).contains("state.json is not readable"),
        "{start:?}"
    );
    std::fs::remove_file(site.deployment().dir().join("state.json")).unwrap();
    site.succeed(&["deploy", "start", "--local"]);
    other.kill().unwrap();
    other.wait().unwrap();
}

#[test]
fn a_supervisor_that_hangs_is_told_and_killed_on_request() {
    let site = Site::new();
    site.succeed(&["deploy", "start", "--local"]);
    let supervisor = site.supervisor();
    supervisor.pause(true).unwrap();
    let list = said(&site.run(&["deploy", "list"]));
    assert!(
        list.contains("does not answer: `gristmill deploy shutdown p --kill`"),
        "{list}"
    );
    let shutdown = site.run(&["deploy", "shutdown", "p", "--drain", "0s", "--kill"]);
    assert!(shutdown.status.success(), "{shutdown:?}");
    assert!(said(&shutdown).contains("p: killed"), "{shutdown:?}");
    site.until(|site| site.processes().is_empty());
    assert_eq!(site.succeed(&["deploy", "list"]), "nothing is deployed\n");
}

#[test]
fn a_single_connector_config_is_deployed_the_same_way() {
    let site = Site::new();
    let config = "apiVersion: 0.1.0
meta: {name: alone, type: redis-sink, version: 0.1.0, topic: edits}
redis: {url: redis://127.0.0.1:6379/0, count: \"{value}\"}
";
    std::fs::write(site.dir().join("sample-config.yaml"), config).unwrap();
    let text = site.succeed(&["deploy", "start", "--local", "-f", "sample-config.yaml"]);
    assert!(
        text.lines().any(|line| line.starts_with("alone ")),
        "{text}"
    );
    assert!(
        site.succeed(&["deploy", "log", "alone"])
            .contains("alone: started")
    );
    site.succeed(&["deploy", "shutdown", "alone"]);
    assert!(site.processes().is_empty());
}

#[test]
fn a_signal_ends_one_in_the_foreground_with_its_stages() {
    let site = Site::new();
    let mut command = site.command(&["deploy", "start", "--local", "--foreground"]);
    let mut running = command.stderr(Stdio::null()).spawn().unwrap();
    site.until(|site| site.processes().len() == 2);
    site.until(|site| site.run(&["deploy", "list"]).status.success());
    let started = Instant::now();
    Process::of(running.id())
        .unwrap()
        .signal(libc::SIGTERM)
        .unwrap();
    assert!(running.wait().unwrap().success());
    assert!(started.elapsed() < Duration::from_secs(20));
    assert!(site.processes().is_empty());
    assert_eq!(site.succeed(&["deploy", "list"]), "nothing is deployed\n");
}

#[test]
fn secrets_are_in_no_state_log_or_output() {
    const SECRET: &str = "hunter2-and-more";
    let site = Site::new();
    let secrets = site.dir().join("secrets");
    std::fs::write(&secrets, format!("PW={SECRET}\n")).unwrap();
    site.edit(|text| {
        text.replace(
            "version: 0.1.0}\ntopics",
            "version: 0.1.0, secrets: [{name: PW}]}\ntopics",
        )
        .replace("user-agent: test/0.1", "user-agent: \"${{ secrets.PW }}\"")
    });
    let start = site.run(&[
        "deploy",
        "start",
        "--local",
        "-s",
        secrets.to_str().unwrap(),
    ]);
    assert!(start.status.success(), "{start:?}");
    let mut all = said(&start);
    all += &said(&site.run(&["deploy", "list", "--json"]));
    site.edit(|text| text.replace("/id", "/meta/id"));
    all += &said(&site.run(&["plan", "--json"]));
    all += &said(&site.run(&["apply", "--yes"]));
    all += &said(&site.run(&["deploy", "log", "p"]));
    assert!(
        all.contains("restarts at its stored position (sse changed)"),
        "{all}"
    );
    assert!(!all.contains(SECRET), "{all}");
    let grep = Command::new("grep")
        .args(["-r", SECRET])
        .arg(site.state())
        .output()
        .unwrap();
    assert_eq!(grep.status.code(), Some(1), "{grep:?}");
}
