//! Changes of a running pipeline: embedded topics or a real cluster, a real SSE server, real WASM.
//! Whatever changes, every event is counted once.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use gristmill_flow::{LegStats, Status};
use gristmill_flow_testing::{kafka, redis::RedisServer};
use gristmill_manifest::{Manifest, NoVariables};
use gristmill_replay::{GeneratorOptions, Server, ServerOptions, Source};
use gristmill_runner::{
    ApplyError, Backend, ChangeKind, Changes, CountStore, LegView, Pipeline, Plan, PlanError,
    StageConfig, module_sources, registry,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

const EVENTS: u64 = 12_000;
/// Slow enough for every change to fall into the flow.
const RATE: f64 = 1_500.0;
/// Far beyond what any step takes, on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(120);

const PIPELINE: &str = "apiVersion: 0.1.0
meta: {name: wikipedia, version: 0.1.0}
topics:
  edits: {partitions: 3}
connectors:
  - meta: {name: stream, type: sse-source, version: 0.1.0, topic: edits}
    sse:
      url: URL
      user-agent: test/0.1
      key: /id
      dedupe: {id: /meta/id, window: 2m}
  - meta:
      name: counts
      type: redis-sink
      version: 0.1.0
      topic: edits
      consumer: {id: group}
    transforms:
      - uses: mark
    redis: {url: redis://127.0.0.1:6379/0, count: \"{value}\"}
";

/// A pipeline's folder, and what runs of it.
struct Bed {
    dir: tempfile::TempDir,
    url: String,
    server: Server,
    backend: Backend,
    pipeline: Pipeline,
    plan: Plan,
    /// Of the cluster.
    _redis: Option<RedisServer>,
}

impl Bed {
    async fn start() -> Self {
        Self::start_with(PIPELINE, None).await
    }

    /// On the real cluster, with its text; `None` where there is none.
    async fn start_on_the_cluster() -> Option<(Self, String)> {
        let brokers = kafka::brokers()?.join(", ");
        let redis = RedisServer::start()?;
        let mut text = PIPELINE
            .replace("redis://127.0.0.1:6379/0", &redis.url())
            .replace("{partitions: 3}", "{partitions: 3, replication-factor: 3}");
        for name in ["wikipedia", "edits", "group"] {
            text = text.replace(name, &kafka::unique(name));
        }
        text.push_str(&format!("kafka: {{brokers: [{brokers}]}}\n"));
        Some((Self::start_with(&text, Some(redis)).await, text))
    }

    async fn start_with(text: &str, redis: Option<RedisServer>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let source = Source::Generate {
            options: GeneratorOptions::default(),
            events: Some(EVENTS),
        };
        let server = Server::start(ServerOptions {
            rate: Some(RATE),
            ..ServerOptions::new(source)
        })
        .await
        .unwrap();
        let url = server.url();
        std::fs::create_dir(dir.path().join("smartmodules")).unwrap();
        put_module(dir.path(), '1');
        let manifest = manifest(text, &url);
        let file = dir.path().join("pipeline.yaml");
        let backend = match &redis {
            Some(_) => Backend::cluster(&manifest).unwrap(),
            None => Backend::local(&dir.path().join("data")).unwrap(),
        };
        let plan = Plan::new(manifest, &[], &module_sources(&file), &mut |_| {}).unwrap();
        let pipeline = Pipeline::start(plan.clone(), backend.clone());
        Self {
            dir,
            url,
            server,
            backend,
            pipeline,
            plan,
            _redis: redis,
        }
    }

    /// The plan of `text`, with the modules as they are now.
    fn renewed(&self, text: &str) -> Result<Plan, PlanError> {
        let file: PathBuf = self.dir.path().join("pipeline.yaml");
        let manifest = manifest(text, &self.url);
        self.plan
            .renewed(manifest, &module_sources(&file), &mut |_| {})
    }

    /// Go over to `text`.
    async fn apply(&mut self, text: &str) -> Changes {
        let plan = self.renewed(text).unwrap();
        let changes = self.pipeline.control().apply(plan.clone(), None).await;
        self.plan = plan;
        changes.unwrap()
    }

    async fn counts(&self) -> BTreeMap<String, i64> {
        let mut store = CountStore::open(&self.plan.manifest, &self.backend).unwrap();
        store.counts().await.unwrap()
    }

    /// Wait until `key` was counted more than `more` times.
    async fn count(&self, key: &str, more: i64) {
        self.wait(&format!("{key} beyond {more}"), || async {
            self.counts().await.get(key).is_some_and(|n| *n > more)
        })
        .await;
    }

    async fn wait<F: Future<Output = bool>>(&self, what: &str, done: impl Fn() -> F) {
        let deadline = Instant::now() + PATIENCE;
        while !done().await {
            let (counts, legs) = (self.counts().await, self.pipeline.legs().all());
            assert!(Instant::now() < deadline, "{what}: {counts:?} {legs:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn leg(&self, name: &str) -> LegView {
        let legs = self.pipeline.legs().all();
        legs.into_iter().find(|leg| leg.name == name).unwrap()
    }

    /// Wait until every event went all the way, and stop.
    async fn finish(mut self) -> BTreeMap<String, i64> {
        let all = || async { self.counts().await.values().sum::<i64>() >= EVENTS as i64 };
        self.wait("all events", all).await;
        // An event too many would come now.
        tokio::time::sleep(Duration::from_millis(300)).await;
        let counts = self.counts().await;
        self.pipeline.stop(Duration::from_secs(10)).await.unwrap();
        self.server.stop().await;
        counts
    }
}

fn manifest(text: &str, url: &str) -> Manifest {
    let text = text.replace("URL", url);
    let specs = registry::specs();
    let loaded = Manifest::load_bytes("pipeline.yaml", text.as_bytes(), &specs, &[], &NoVariables);
    loaded
        .unwrap_or_else(|errors| panic!("{}", errors.render(false)))
        .0
}

/// A module that makes `mark` of every value.
fn put_module(dir: &Path, mark: char) {
    put(dir, &format!("(i32.const {})", mark as u32), "");
}

/// A module that makes of every value how many records it was shown by `look_back`, as a digit.
fn put_looking_module(dir: &Path) {
    // Of a call's input, the last byte of the number of records is the sixteenth.
    let look_back = r#"
      (global $shown (mut i32) (i32.const 48))
      (func (export "look_back") (param $in i32) (param i32 i32) (result i32)
        (global.set $shown (i32.add (global.get $shown) (i32.load8_u offset=15 (local.get $in))))
        (i32.const 0))"#;
    put(dir, "(global.get $shown)", look_back);
}

fn put(dir: &Path, mark: &str, functions: &str) {
    let text =
        include_str!("../../smartengine/tests/guests/mark.wat").replace("(i32.const MARK)", mark);
    let text = text.trim_end().strip_suffix(')').unwrap();
    let wasm = wat::parse_str(format!("{text}{functions})")).unwrap();
    std::fs::write(dir.join("smartmodules/mark.wasm"), wasm).unwrap();
}

fn kinds(changes: &Changes) -> Vec<(&str, &ChangeKind)> {
    let stages = changes.stages.iter();
    stages
        .map(|change| (change.stage.as_str(), &change.kind))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_event_is_counted_once_whatever_changes() {
    let mut bed = Bed::start().await;
    bed.count("1", 300).await;

    // Nothing is different, whatever was written.
    put_module(bed.dir.path(), '1');
    assert_eq!(bed.apply(PIPELINE).await, Changes::default());

    // Another build of the module, between two batches.
    put_module(bed.dir.path(), '2');
    let changes = bed.apply(PIPELINE).await;
    assert_eq!(kinds(&changes), [("counts", &ChangeKind::Swap)]);
    bed.count("2", 300).await;

    // One that is no module: no plan, and nothing happens.
    let module = bed.dir.path().join("smartmodules/mark.wasm");
    std::fs::write(&module, b"\0asm\x01\0\0\0 and nonsense").unwrap();
    let error = bed.renewed(PIPELINE).unwrap_err();
    assert!(
        error.to_string().contains("not a valid WASM module"),
        "{error}"
    );
    assert_eq!(error.place().map(|place| place.line), Some(19));
    put_module(bed.dir.path(), '2');

    // No transforms at all, then again.
    let text = PIPELINE
        .replace("    transforms:\n      - uses: mark\n", "")
        .replace("{value}", "plain");
    let changes = bed.apply(&text).await;
    let restart = ChangeKind::Restart(vec!["redis"]);
    assert_eq!(kinds(&changes), [("counts", &restart)]);
    assert!(changes.notes[0].contains("`count` is another"), "{changes}");
    bed.count("plain", 300).await;

    // Another group and another key: the sink starts at its stored position.
    put_module(bed.dir.path(), '3');
    let text = PIPELINE.replace("id: group", "id: other");
    let changes = bed.apply(&text).await;
    let restart = ChangeKind::Restart(vec!["consumer", "redis"]);
    assert_eq!(kinds(&changes), [("counts", &restart)]);
    assert!(
        changes.notes[0].contains("group `group` is now `other`"),
        "{changes}"
    );
    bed.count("3", 300).await;

    // The source starts anew in mid-stream; the sink runs on.
    let text = text.replace("key: /id", "key: /meta/id");
    let changes = bed.apply(&text).await;
    assert_eq!(
        kinds(&changes),
        [("stream", &ChangeKind::Restart(vec!["sse"]))]
    );
    let before = bed.counts().await["3"];
    bed.count("3", before + 300).await;

    // Two changes at once, while the first is still under way.
    put_module(bed.dir.path(), '4');
    let again = text.replace("key: /meta/id", "key: /id");
    bed.apply(&again.replace("window: 2m", "window: 3m")).await;
    put_module(bed.dir.path(), '5');
    bed.apply(&again).await;
    bed.count("5", 100).await;

    let counts = bed.finish().await;
    assert_eq!(counts.values().sum::<i64>(), EVENTS as i64, "{counts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stages_come_and_go() {
    let mut bed = Bed::start().await;
    bed.count("1", 200).await;
    // `counts` is renamed: its successor starts at the beginning, and counts every event.
    let text = PIPELINE
        .replace("name: counts", "name: others")
        .replace("{value}", "o{value}");
    let changes = bed.apply(&text).await;
    let expect = [
        ("others", &ChangeKind::Start),
        ("counts", &ChangeKind::Stop),
    ];
    assert_eq!(kinds(&changes), expect);
    assert!(
        changes.notes[0].contains("others is new and counts is gone"),
        "{changes}"
    );
    bed.count("o1", 200).await;
    let gone = bed.leg("counts").stats;
    bed.wait("the old stage's end", || async {
        gone.status() == Status::Ended
    })
    .await;
    let read = LegStats::get(&gone.records_in);
    let counts = bed.finish().await;
    assert_eq!(counts, [("o1".to_owned(), EVENTS as i64)].into());
    assert_eq!(LegStats::get(&gone.records_in), read, "it reads no more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_come_and_go() {
    let mut bed = Bed::start().await;
    bed.count("1", 200).await;
    let copies = |n: u32| {
        PIPELINE.replace(
            "    transforms:",
            &format!("    replicas: {n}\n    transforms:"),
        )
    };
    let restart = ChangeKind::Restart(vec!["replicas"]);
    for n in [3, 5, 2] {
        let changes = bed.apply(&copies(n)).await;
        assert_eq!(kinds(&changes), [("counts", &restart)]);
        let stats = bed.leg("counts").stats;
        let before = bed.counts().await.values().sum::<i64>();
        bed.wait("every partition", || async { stats.lag().len() == 3 })
            .await;
        let more = || async { bed.counts().await.values().sum::<i64>() > before + 100 };
        bed.wait("more counts", more).await;
        assert_eq!(stats.status(), Status::Running);
    }
    // All copies take the new module, each between two of its batches.
    put_module(bed.dir.path(), '2');
    let changes = bed.apply(&copies(2)).await;
    assert_eq!(kinds(&changes), [("counts", &ChangeKind::Swap)]);
    bed.count("2", 300).await;
    // A change that cannot start leaves all copies as they were, and makes none of the new ones.
    let plan = bed.renewed(&copies(3).replace("{value}", "{key}")).unwrap();
    let plan = unable(plan);
    bed.pipeline.control().apply(plan, None).await.unwrap();
    let before = bed.counts().await["2"];
    bed.count("2", before + 200).await;
    let counts = bed.finish().await;
    assert_eq!(counts.values().sum::<i64>(), EVENTS as i64, "{counts:?}");
}

/// `plan` with sinks that fail as soon as they start: what a file cannot say, since it is checked.
fn unable(mut plan: Plan) -> Plan {
    for stage in &mut plan.stages {
        if let StageConfig::Redis(config) = &mut stage.config {
            config.count = "{valeu}".to_owned();
        }
    }
    plan
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_work_leaves_all_as_it_was() {
    let mut bed = Bed::start().await;
    bed.count("1", 200).await;

    // Another pipeline is not a change of this one.
    let plan = bed
        .renewed(&PIPELINE.replace("name: wikipedia", "name: other"))
        .unwrap();
    let error = bed.pipeline.control().apply(plan, None).await.unwrap_err();
    assert!(matches!(error, ApplyError::Renamed { .. }), "{error}");

    // Valid as a file, and still nothing that a sink can start with.
    let plan = bed.renewed(&PIPELINE.replace("{value}", "{key}")).unwrap();
    let plan = unable(plan);
    let changes = bed.pipeline.control().apply(plan, None).await.unwrap();
    assert_eq!(
        kinds(&changes),
        [("counts", &ChangeKind::Restart(vec!["redis"]))]
    );
    let before = bed.counts().await["1"];
    bed.count("1", before + 200).await;

    // What went back is known: mending the file is a change like any other.
    put_module(bed.dir.path(), '2');
    let changes = bed.apply(PIPELINE).await;
    assert_eq!(kinds(&changes), [("counts", &ChangeKind::Swap)]);

    let counts = bed.finish().await;
    assert_eq!(counts.values().sum::<i64>(), EVENTS as i64, "{counts:?}");
    assert!(counts["2"] > 0, "{counts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_back_goes_back_to_where_it_ran() {
    let mut bed = Bed::start().await;
    bed.count("1", 200).await;

    // All go to another place, where the sink cannot start as it is to be.
    let other = Backend::local(&bed.dir.path().join("other")).unwrap();
    let plan = bed.renewed(&PIPELINE.replace("{value}", "{key}")).unwrap();
    let plan = unable(plan);
    let control = bed.pipeline.control();
    let changes = control.apply(plan, Some(other.clone())).await.unwrap();
    let expect = [
        ("counts", &ChangeKind::Restart(vec!["redis", "kafka"])),
        ("stream", &ChangeKind::Restart(vec!["kafka"])),
    ];
    assert_eq!(kinds(&changes), expect);
    let before = LegStats::get(&bed.leg("stream").stats.records_in);
    bed.wait("the source in the other place", || async {
        let read = LegStats::get(&bed.leg("stream").stats.records_in);
        read > before + 1_000 && bed.leg("counts").stats.status() == Status::Running
    })
    .await;
    bed.backend = other;
    assert_eq!(bed.counts().await, BTreeMap::new());

    // Where the others are is still where it belongs: the next change takes it there.
    let changes = bed.apply(PIPELINE).await;
    let restart = ChangeKind::Restart(vec!["kafka"]);
    assert_eq!(kinds(&changes), [("counts", &restart)]);
    bed.count("1", 200).await;
    assert_eq!(bed.apply(PIPELINE).await, Changes::default());
    bed.pipeline.stop(Duration::ZERO).await.unwrap();
    bed.server.stop().await;
}

/// A server with one stream that works and says nothing, `/a`; once that is read, `/b` is not
/// there. Tells when the reader of `/a` has gone.
async fn half_a_server() -> (String, oneshot::Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (gone, is_gone) = oneshot::channel();
    let mut gone = Some(gone);
    let (read, is_read) = watch::channel(false);
    let read = Arc::new(read);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (read, mut is_read) = (read.clone(), is_read.clone());
            let mut request = vec![0; 4096];
            let n = stream.read(&mut request).await.unwrap();
            if request[..n].starts_with(b"GET /a") {
                let answer = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n: a\n\n";
                stream.write_all(answer.as_bytes()).await.unwrap();
                let gone = gone.take();
                tokio::spawn(async move {
                    read.send_replace(true);
                    while matches!(stream.read(&mut request).await, Ok(1..)) {}
                    gone.unwrap().send(()).unwrap();
                });
            } else {
                tokio::spawn(async move {
                    is_read.wait_for(|read| *read).await.unwrap();
                    let answer = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
                    stream.write_all(answer.as_bytes()).await.unwrap();
                });
            }
        }
    });
    (url, is_gone)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_parts_of_a_stage_go_back_if_one_must() {
    let streams = |url: &str| {
        // Longer than our patience: `a` is not to leave because it hears nothing.
        let both = format!("read-timeout: 10m\n      url: {{a: {url}/a, b: {url}/b}}");
        PIPELINE.replace("url: URL", &both)
    };
    let old = PIPELINE.replace("url: URL", "url: {a: URL, b: URL}");
    let mut bed = Bed::start_with(&old, None).await;
    bed.count("1", 200).await;

    let (url, a_is_gone) = half_a_server().await;
    let plan = bed.renewed(&streams(&url)).unwrap();
    let changes = bed.pipeline.control().apply(plan, None).await.unwrap();
    let restart = ChangeKind::Restart(vec!["sse"]);
    assert_eq!(kinds(&changes), [("stream", &restart)]);
    // `b` fails while `a` does what it was changed to: `a` goes back too.
    let gone = tokio::time::timeout(PATIENCE, a_is_gone).await;
    gone.expect("a reads on").unwrap();

    let stats = bed.leg("stream").stats;
    let before = LegStats::get(&stats.records_in);
    bed.wait("both as they were", || async {
        LegStats::get(&stats.records_in) > before + 300 && stats.status() == Status::Running
    })
    .await;
    assert_eq!(bed.apply(&old).await, Changes::default());
    bed.pipeline.stop(Duration::ZERO).await.unwrap();
    bed.server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn modules_look_back_in_the_topic_when_a_stage_starts() {
    let mut bed = Bed::start().await;
    bed.count("1", 100).await;
    put_looking_module(bed.dir.path());
    let text = PIPELINE.replace("uses: mark", "uses: mark\n        lookback: {last: 5}");
    let changes = bed.apply(&text).await;
    let restart = ChangeKind::Restart(vec!["lookback"]);
    assert_eq!(kinds(&changes), [("counts", &restart)]);
    bed.count("5", 100).await;
    let counts = bed.finish().await;
    assert_eq!(counts.values().sum::<i64>(), EVENTS as i64, "{counts:?}");
}

/// The same on the cluster: modules are swapped while events flow, a bad one touches nothing, and
/// one that looks back is shown what the topic holds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn modules_change_on_the_cluster_and_every_event_is_counted_once() {
    let Some((mut bed, text)) = Bed::start_on_the_cluster().await else {
        return;
    };
    bed.count("1", 100).await;
    put_module(bed.dir.path(), '2');
    let changes = bed.apply(&text).await;
    assert_eq!(kinds(&changes), [("counts", &ChangeKind::Swap)]);
    bed.count("2", 100).await;

    // No module at all, and one whose start fails: what runs goes on with the one before.
    let running = bed.leg("counts").stats;
    let module = bed.dir.path().join("smartmodules/mark.wasm");
    std::fs::write(&module, b"\0asm\x01\0\0\0 and nonsense").unwrap();
    assert!(bed.renewed(&text).is_err());
    put(
        bed.dir.path(),
        "(i32.const 88)",
        r#"(func (export "init") (param i32 i32 i32) (result i32) unreachable)"#,
    );
    assert!(bed.renewed(&text).is_err());
    let before = bed.counts().await["2"];
    bed.count("2", before + 100).await;
    assert_eq!(running.status(), Status::Running);

    put_looking_module(bed.dir.path());
    let looking = text.replace("uses: mark", "uses: mark\n        lookback: {last: 5}");
    let changes = bed.apply(&looking).await;
    let restart = ChangeKind::Restart(vec!["lookback"]);
    assert_eq!(kinds(&changes), [("counts", &restart)]);
    bed.count("5", 100).await;

    let counts = bed.finish().await;
    assert_eq!(counts.values().sum::<i64>(), EVENTS as i64, "{counts:?}");
    let keys: Vec<_> = counts.keys().map(String::as_str).collect();
    assert_eq!(keys, ["1", "2", "5"], "{counts:?}");
}
