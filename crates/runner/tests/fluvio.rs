//! A pipeline whose topics are on Fluvio (a stand-in that speaks its protocol), with a real SSE server and a
//! real Redis: killed again and again, its connections cut, every event is in the topic once and counted
//! once.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Duration;

use gristmill_flow_testing::redis::RedisServer;
use gristmill_fluvio_topic::stand_in::{Fault, StandIn};
use gristmill_manifest::{Manifest, NoVariables};
use gristmill_record::{RecordRef, Records};
use gristmill_replay::{GeneratorOptions, Server, ServerOptions, Source};
use gristmill_runner::{
    Backend, CountStore, Patient, Pipeline, Plan, Site, Verdict, browse, dead_letters, examine,
    module_sources, registry, remains, replay_dead_letters,
};
use tokio::time::Instant;

const EVENTS: u64 = 6_000;
const RATE: f64 = 400.0;
const LIVES: usize = 6;
const PATIENCE: Duration = Duration::from_secs(60);

const PIPELINE: &str = "apiVersion: 0.1.0
meta: {name: wikipedia, version: 0.1.0}
delivery: at-least-once
fluvio: {endpoint: 'ENDPOINT'}
topics:
  edits: {partitions: 3}
connectors:
  - meta: {name: stream, type: sse-source, version: 0.1.0, topic: edits}
    sse: {url: 'URL', user-agent: test/0.1, key: /meta/id}
  - meta: {name: counts, type: redis-sink, version: 0.1.0, topic: edits, consumer: {id: group}}
    replicas: 2
    redis: {url: 'REDIS', count: \"{key}\"}
";

fn manifest(text: &str) -> Manifest {
    let specs = registry::specs();
    let loaded = Manifest::load_bytes("pipeline.yaml", text.as_bytes(), &specs, &[], &NoVariables);
    loaded
        .unwrap_or_else(|errors| panic!("{}", errors.render(false)))
        .0
}

/// What a pipeline runs on, and it.
struct Bed {
    cluster: StandIn,
    redis: RedisServer,
    server: Server,
    plan: Plan,
    backend: Backend,
    dir: tempfile::TempDir,
}

impl Bed {
    async fn start(events: u64) -> Option<Self> {
        let redis = RedisServer::start()?;
        let cluster = StandIn::start().await.unwrap();
        let source = Source::Generate {
            options: GeneratorOptions::default(),
            events: Some(events),
        };
        let options = ServerOptions {
            rate: Some(RATE),
            ..ServerOptions::new(source)
        };
        let server = Server::start(options).await.unwrap();
        let text = PIPELINE
            .replace("ENDPOINT", &cluster.config().endpoint)
            .replace("URL", &server.url())
            .replace("REDIS", &redis.url());
        let dir = tempfile::tempdir().unwrap();
        let manifest = manifest(&text);
        let backend = Backend::cluster(&manifest).unwrap();
        let sources = module_sources(&dir.path().join("pipeline.yaml"));
        let plan = Plan::new(manifest, &[], &sources, &mut |_| {}).unwrap();
        Some(Self {
            cluster,
            redis,
            server,
            plan,
            backend,
            dir,
        })
    }

    async fn counts(&self) -> BTreeMap<String, i64> {
        let mut store = CountStore::open(&self.plan.manifest, &self.backend).unwrap();
        store.counts().await.unwrap()
    }

    /// Wait until so many records were counted.
    async fn counted(&self, pipeline: &Pipeline, records: i64) -> BTreeMap<String, i64> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let counts = self.counts().await;
            let sum: i64 = counts.values().sum();
            if sum >= records {
                return counts;
            }
            let late = || {
                let there = self.topic().len();
                let legs = pipeline.legs().all();
                let states = legs
                    .iter()
                    .map(|leg| (leg.name.clone(), leg.stats.status()));
                let states: Vec<_> = states.collect();
                format!("{sum} of {records} counted, {there} in the topic: {states:?}")
            };
            assert!(Instant::now() < deadline, "{}", late());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The events in the topic, by their ids, with how often each is there.
    fn topic(&self) -> BTreeMap<String, i64> {
        let mut events = BTreeMap::new();
        for partition in 0..3 {
            for record in self.cluster.records("edits", partition).iter() {
                let id = String::from_utf8(record.key.unwrap().to_vec()).unwrap();
                *events.entry(id).or_default() += 1;
            }
        }
        events
    }
}

async fn pause(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

#[test]
fn every_event_is_there_and_counted_once_over_kills_and_cuts() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let Some(bed) = runtime.block_on(Bed::start(EVENTS)) else {
        return;
    };
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..LIVES {
        let life = tokio::runtime::Runtime::new().unwrap();
        let pipeline = {
            let _entered = life.enter();
            Pipeline::start(bed.plan.clone(), bed.backend.clone())
        };
        for _ in 0..3 {
            runtime.block_on(pause(random.u64(20..1500)));
            let faults = [Fault::AppendedUnanswered, Fault::Lost, Fault::Refused];
            match random.bool() {
                true => bed.cluster.cut(),
                false => bed
                    .cluster
                    .fail_next("edits", random.choice(faults).unwrap()),
            }
        }
        // Ends as a process does that is killed: its tasks get no further turn.
        life.shutdown_background();
        drop(pipeline);
    }
    runtime.block_on(async {
        let mut pipeline = Pipeline::start(bed.plan.clone(), bed.backend.clone());
        let counts = bed.counted(&pipeline, EVENTS as i64).await;
        // One too many would come now.
        tokio::time::sleep(Duration::from_millis(500)).await;
        let topic = bed.topic();
        assert_eq!(topic.len() as u64, EVENTS, "every event is another one");
        let twice = topic.iter().find(|(_, times)| **times != 1);
        assert_eq!(twice, None, "in the topic");
        assert_eq!(counts, topic);
        assert_eq!(bed.counts().await, topic);
        pipeline.stop(Duration::from_secs(10)).await.unwrap();
        bed.server.stop().await;
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_counted_is_kept_and_put_back_once() {
    let Some(bed) = Bed::start(10).await else {
        return;
    };
    bed.redis.command(&["SET", "poison", "no number"]);
    let mut pipeline = Pipeline::start(bed.plan.clone(), bed.backend.clone());
    bed.counted(&pipeline, 10).await;
    let mut poison = Records::default();
    poison.push(RecordRef::new(0, 7, Some(b"poison"), b"poison"));
    bed.cluster.append("edits", 1, &poison);
    let offset = bed.cluster.records("edits", 1).len() as i64 - 1;
    let deadline = Instant::now() + PATIENCE;
    while bed.cluster.records("edits-dead-letter", 0).is_empty() {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut letters = Vec::new();
    dead_letters(&bed.backend, "edits", &mut |letter| {
        let shown = (letter.topic.to_string(), letter.partition, letter.offset);
        letters.push((shown, letter.stage.to_string(), letter.value.to_string()));
        ControlFlow::Continue(())
    })
    .await
    .unwrap();
    let origin = ("edits".to_owned(), 1, offset);
    assert_eq!(
        letters,
        [(origin, "counts".to_owned(), "poison".to_owned())]
    );
    bed.redis.command(&["DEL", "poison"]);
    for expect in [1, 0] {
        let replayed = replay_dead_letters("wikipedia", &bed.backend, "edits").await;
        assert_eq!(replayed.unwrap(), expect);
    }
    let counts = bed.counted(&pipeline, 11).await;
    assert_eq!(counts.get("poison"), Some(&1));
    let mut seen = 0;
    browse(&bed.backend, "edits", false, &mut |_, _| {
        seen += 1;
        ControlFlow::Continue(())
    })
    .await
    .unwrap();
    assert_eq!(seen, 12);
    pipeline.stop(Duration::from_secs(10)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doctor_and_remains_speak_of_fluvio() {
    let Some(bed) = Bed::start(1).await else {
        return;
    };
    let patient = Patient {
        manifest: bed.plan.manifest.clone(),
        site: Site::Cluster,
        modules: module_sources(&bed.dir.path().join("pipeline.yaml")),
        listen: None,
    };
    let of_fluvio = async || -> Vec<(String, Verdict)> {
        let found = examine(&patient, &mut |_| {}).await;
        let found = found.into_iter().filter(|found| found.area == "fluvio");
        found.map(|found| (found.detail, found.verdict)).collect()
    };
    let found = of_fluvio().await;
    assert!(
        found.iter().all(|(_, verdict)| *verdict == Verdict::Ok),
        "{found:?}"
    );
    assert_eq!(found.len(), 4, "{found:?}");
    assert_eq!(found[2].0, "is missing; `up` makes it");
    drop(bed.cluster);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let found = of_fluvio().await;
    assert_eq!(found[0].1, Verdict::Failed);
    assert!(found[0].0.contains("does not answer: "), "{found:?}");
    let of = |stage| remains(&bed.plan, stage, &[], false).unwrap();
    assert!(of("stream").contains("fluvio topic delete edits edits-dead-letter"));
    assert!(of("counts").contains("redis-cli") && !of("counts").contains("kafka"));
}
