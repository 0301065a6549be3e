//! What a real pipeline tells over HTTP, against what it did.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests, which clippy takes for other code"
)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use gristmill_flow::{LegStats, Status};
use gristmill_manifest::{Manifest, NoVariables};
use gristmill_replay::{GeneratorOptions, Server, ServerOptions, Source};
use gristmill_runner::{
    Backend, LegView, Legs, Pipeline, PipelineStatus, Plan, WatchServer, Watched, module_sources,
    registry,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The longest of them are refused by `event-bytes-max`.
const EVENTS: u64 = 3000;

async fn get(addr: SocketAddr, path: &str, host: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let code = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    (code, body.to_owned())
}

/// Every line as Prometheus reads it: name with labels → value; panics at what it would refuse.
fn parse(page: &str) -> BTreeMap<String, f64> {
    let mut families = BTreeMap::new();
    let mut samples = BTreeMap::new();
    for line in page.lines() {
        if let Some(family) = line.strip_prefix("# TYPE ") {
            let (name, kind) = family.split_once(' ').unwrap();
            assert!(families.insert(name, kind).is_none(), "{name} twice");
            continue;
        }
        if line.starts_with("# HELP ") {
            continue;
        }
        let (sample, value) = line.rsplit_once(' ').unwrap();
        let name = sample.split('{').next().unwrap();
        let histogram = ["_bucket", "_sum", "_count"].iter().find_map(|end| {
            let family = name.strip_suffix(end)?;
            (families.get(family) == Some(&"histogram")).then_some(family)
        });
        let family = histogram.unwrap_or(name);
        assert!(families.contains_key(family), "{line} has no family");
        let number: f64 = value.parse().unwrap_or_else(|_| panic!("{line}"));
        let before = samples.insert(sample.to_owned(), number);
        assert!(before.is_none(), "{sample} twice");
    }
    samples
}

/// Of the samples of `name` that hold `part`.
fn sum(samples: &BTreeMap<String, f64>, name: &str, part: &str) -> f64 {
    let of = |sample: &str| sample.split('{').next() == Some(name) && sample.contains(part);
    let matching = samples.iter().filter(|(sample, _)| of(sample));
    matching.map(|(_, value)| value).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_say_what_happened() {
    let source = Source::Generate {
        options: GeneratorOptions::default(),
        events: Some(EVENTS),
    };
    let server = Server::start(ServerOptions::new(source)).await.unwrap();
    let yaml = format!(
        "apiVersion: 0.1.0
meta: {{name: watched, version: 0.1.0}}
topics: {{edits: {{partitions: 2}}}}
connectors:
  - meta: {{name: stream, type: sse-source, version: 0.1.0, topic: edits}}
    sse: {{url: {}, user-agent: test, key: /id, timestamp: /meta/dt, event-bytes-max: 1500 B}}
  - meta: {{name: counts, type: redis-sink, version: 0.1.0, topic: edits}}
    redis: {{url: redis://none, count: all}}
",
        server.url()
    );
    let (manifest, _) = Manifest::load("p.yaml", &yaml, &registry::specs(), &[], &NoVariables)
        .unwrap_or_else(|errors| panic!("{}", errors.render(false)));
    let dir = tempfile::tempdir().unwrap();
    let backend = Backend::local(dir.path()).unwrap();
    let sources = module_sources(&dir.path().join("p.yaml"));
    let plan = Plan::new(manifest, &[], &sources, &mut |_| ()).unwrap();
    let current = Arc::new((plan.manifest.clone(), backend.clone()));
    let (_changes, current) = tokio::sync::watch::channel(current);
    let mut pipeline = Pipeline::start(plan, backend);
    let watched = Watched {
        pipeline: "watched".to_owned(),
        legs: pipeline.legs().clone(),
        redact: str::to_owned,
        started: SystemTime::now(),
        current: Some(current),
    };
    let mut watch = WatchServer::new(watched);
    let addr = watch.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let local = addr.to_string();

    let stats: Vec<_> = pipeline
        .legs()
        .all()
        .iter()
        .map(|leg| leg.stats.clone())
        .collect();
    let took =
        |stats: &LegStats| LegStats::get(&stats.records_out) + LegStats::get(&stats.rejected);
    for _ in 0..600 {
        if took(&stats[0]) == EVENTS && LegStats::get(&stats[1].records_out) > 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(get(addr, "/readyz", &local).await.0, 200);
    assert_eq!(get(addr, "/healthz", &local).await.0, 200);
    pipeline.stop(Duration::from_secs(20)).await.unwrap();

    let (code, page) = get(addr, "/metrics", &local).await;
    assert_eq!(code, 200);
    let samples = parse(&page);
    let rejected = LegStats::get(&stats[0].rejected) as f64;
    assert!(rejected > 0.0, "the test needs some that are too long");
    let written = EVENTS as f64 - rejected;
    for (name, part, expect) in [
        ("gristmill_records_out_total", "stream", written),
        ("gristmill_records_in_total", "counts", written),
        ("gristmill_rejected_total", "stream", rejected),
        (
            "gristmill_rejects_by_reason_total",
            "step=\"sse\"",
            rejected,
        ),
        ("gristmill_event_latency_seconds_count", "counts", written),
        ("gristmill_batch_records_sum", "counts", written),
        ("gristmill_lag_records", "counts", 0.0),
        ("gristmill_stage_state", "state=\"ended\"", 2.0),
        ("gristmill_stage_state", "state=\"running\"", 0.0),
    ] {
        assert_eq!(sum(&samples, name, part), expect, "{name} {part}\n{page}");
    }
    for partition in ["partition=\"0\"", "partition=\"1\""] {
        let lag = samples.keys().find(|sample| sample.contains(partition));
        assert!(lag.is_some(), "{partition}\n{page}");
    }
    let batches = sum(&samples, "gristmill_batches_total", "counts");
    let timed = sum(&samples, "gristmill_write_seconds_count", "counts");
    assert!(batches > 0.0 && batches == timed, "{page}");
    // The generated events are of a fixed day in the past.
    let slow = sum(&samples, "gristmill_event_latency_seconds_sum", "counts");
    assert!(slow > 0.0, "{page}");
    // The same by another way, and the counts as their store has them.
    let (code, text) = get(addr, "/status", &local).await;
    assert_eq!(code, 200);
    let status: PipelineStatus = serde_json::from_str(&text).unwrap();
    let [source, sink] = &status.stages[..] else {
        panic!("{text}")
    };
    assert_eq!(source.records_out as f64, written, "{text}");
    assert_eq!(source.rejected as f64, rejected, "{text}");
    let kinds: u64 = source.rejects.iter().map(|kind| kind.records).sum();
    assert_eq!(kinds as f64, rejected, "{text}");
    assert_eq!(sink.lag.keys().collect::<Vec<_>>(), [&0, &1], "{text}");
    assert_eq!(sink.latency_ms.unwrap().count as f64, written, "{text}");
    assert!(sink.batch_records.unwrap().mean >= 1.0, "{text}");
    let counts = until(async || {
        let (_, text) = get(addr, "/status", &local).await;
        let status: PipelineStatus = serde_json::from_str(&text).unwrap();
        let counts = status.counts?;
        (counts.total as f64 == written).then_some(counts)
    });
    let counts = counts.await;
    assert_eq!(counts.largest["all"] as f64, written);
    let (_, text) = get(addr, "/dead-letters", &local).await;
    let letters: serde_json::Value = serde_json::from_str(&text).unwrap();
    let letters = letters.as_array().unwrap();
    assert_eq!(letters.len() as f64, rejected.min(20.0), "{text}");
    assert_eq!(letters[0]["step"], "sse", "{text}");
    let history = until(async || {
        let (_, text) = get(addr, "/history?seconds=60", &local).await;
        let told: serde_json::Value = serde_json::from_str(&text).unwrap();
        let last = told["counts"]["all"].as_array()?.iter().rev();
        let last = last.filter_map(serde_json::Value::as_f64).next()?;
        (last == written).then_some(told)
    });
    let history = history.await;
    let points = history["at_ms"].as_array().unwrap().len();
    let line = history["stages"]["counts"]["records_in"].as_array();
    assert_eq!(line.unwrap().len(), points, "{history}");

    let age = sum(&samples, "gristmill_last_event_age_seconds", "stream");
    assert!(age > 0.0 && age < 60.0, "{page}");
    server.stop().await;
}

/// What `ask` gives once it gives something.
async fn until<T>(ask: impl AsyncFn() -> Option<T>) -> T {
    for _ in 0..200 {
        if let Some(found) = ask().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it is not told")
}

/// A stream's answer as far as it goes, until `enough` of it came.
async fn listen(addr: SocketAddr, path: &str, enough: impl Fn(&str) -> bool) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut heard = String::new();
    let hear = async {
        let mut bytes = [0; 4096];
        while !enough(&heard) {
            let n = stream.read(&mut bytes).await.unwrap();
            assert!(n > 0, "it ended: {heard}");
            heard.push_str(&String::from_utf8_lossy(&bytes[..n]));
        }
    };
    let heard_all = tokio::time::timeout(Duration::from_secs(20), hear).await;
    assert!(heard_all.is_ok(), "no more than: {heard}");
    heard
}

fn idle_leg() -> LegView {
    LegView {
        name: "s".to_owned(),
        kind: "sse-source",
        is_source: true,
        topic: "edits".to_owned(),
        transforms: Vec::new(),
        stats: Arc::new(LegStats::default()),
    }
}

fn watched(leg: LegView) -> Watched {
    Watched {
        pipeline: "p".to_owned(),
        legs: Legs::fixed(vec![leg]),
        redact: |text| text.replace("hunter2", "***"),
        started: SystemTime::now(),
        current: None,
    }
}

#[tokio::test]
async fn readers_of_streams_hear_everything_and_the_end() {
    let leg = idle_leg();
    leg.stats
        .set_status(Status::Waiting("for hunter2".to_owned()));
    let mut watch = WatchServer::new(watched(leg));
    let addr = watch.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let twice = |heard: &str| heard.matches("event: status\n").count() >= 2;
    let heard = listen(addr, "/events", twice).await;
    assert!(heard.contains("text/event-stream"), "{heard}");
    assert!(
        heard.contains("for ***") && !heard.contains("hunter2"),
        "{heard}"
    );
    let ends = |heard: &str| heard.contains("event: end\ndata: {}\n");
    let (heard, ()) = tokio::join!(listen(addr, "/events", ends), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        watch.close().await;
    });
    assert!(heard.contains("event: status\n"), "{heard}");
}

#[tokio::test]
async fn readers_of_streams_are_bounded() {
    let mut watch = WatchServer::new(watched(idle_leg()));
    let addr = watch.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let mut held = Vec::new();
    for _ in 0..32 {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        let request = b"GET /tap HTTP/1.1\r\nhost: localhost\r\n\r\n";
        stream.write_all(request).await.unwrap();
        assert!(stream.read(&mut [0; 64]).await.unwrap() > 0);
        held.push(stream);
    }
    let full = async || (get(addr, "/events", "localhost").await.0 == 503).then_some(());
    until(full).await;
    assert_eq!(get(addr, "/status", "localhost").await.0, 200);
}

/// The browser is told to run nothing but our own files, on every answer.
#[tokio::test]
async fn the_page_is_ours_alone() {
    let mut watch = WatchServer::new(watched(idle_leg()));
    let addr = watch.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let (_, page) = get(addr, "/", "localhost").await;
    for part in page.split(['"', '\'']).filter(|part| part.starts_with('/')) {
        let answer = get(addr, part, "localhost").await;
        assert_eq!(answer.0, 200, "{part}");
    }
    assert!(!page.contains("http"), "the page names another server");
    let all = |heard: &str| heard.contains("</html>");
    let heard = listen(addr, "/", all).await.to_lowercase();
    for header in [
        "content-security-policy: default-src 'none'; script-src 'self';",
        "x-content-type-options: nosniff",
    ] {
        assert!(heard.contains(header), "{header}: {heard}");
    }
    assert!(!heard.contains("unsafe-"), "{heard}");
    assert_eq!(get(addr, "/page/../Cargo.toml", "localhost").await.0, 404);
    assert_eq!(get(addr, "/tap", "evil.example").await.0, 403);
}

#[tokio::test]
async fn a_socket_is_its_owners() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s.sock");
    let mut watch = WatchServer::new(watched(idle_leg()));
    watch.listen_unix(&path).unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut stream = tokio::net::UnixStream::connect(&path).await.unwrap();
    let request = b"GET /status HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("\"pipeline\":\"p\""), "{answer}");
    let error = watch.listen_unix(&path).unwrap_err().to_string();
    assert!(error.contains("s.sock"), "{error}");
}

#[tokio::test]
async fn states_are_told_and_strangers_are_not() {
    let leg = idle_leg();
    let stats = leg.stats.clone();
    let mut watch = WatchServer::new(watched(leg));
    let addr = watch.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let local = addr.to_string();
    let ask = async |path: &str| get(addr, path, &local).await;
    let answer = |code: u16, text: &str| (code, text.to_owned());
    assert_eq!(ask("/readyz").await, answer(503, "s: starting\n"));
    assert_eq!(ask("/healthz").await.0, 200);
    stats.set_status(Status::Waiting("for hunter2".to_owned()));
    let waits = answer(503, "s: waiting: for ***\n");
    assert_eq!(ask("/readyz").await, waits);
    assert_eq!(ask("/healthz").await.0, 200);
    stats.set_status(Status::Running);
    assert_eq!(ask("/readyz").await, answer(200, "s: running\n"));
    stats.set_status(Status::Failed("hunter2 was refused".to_owned()));
    let failed = answer(503, "s: failed: *** was refused\n");
    assert_eq!(ask("/healthz").await, failed);
    assert_eq!(ask("/nothing").await.0, 404);
    for (host, code) in [
        ("localhost:1", 200),
        ("[::1]:9464", 200),
        ("evil.example:9464", 403),
        ("127.0.0.1.evil.example", 403),
    ] {
        assert_eq!(get(addr, "/metrics", host).await.0, code, "{host}");
    }
    let error = watch.listen(addr).await.unwrap_err();
    assert!(error.to_string().contains("in use"), "{error}");
}
