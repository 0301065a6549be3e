//! Nothing missing, nothing doubled: against a server that resumes as inexactly as Wikimedia does.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use gristmill_flow::LegStats;
use gristmill_record::Lane;
use gristmill_replay::{
    AtEnd, Event, Generator, GeneratorOptions, Resume, Server as Replay, ServerOptions, Source,
};
use gristmill_sse_source::SseSource;
use serde_json::{Value, json};

use crate::harness::{Reply, Server, Topic, Until, config, header, pump, read_all, with_tail};

fn generated(events: u64, malformed_every: Option<u64>) -> (GeneratorOptions, ServerOptions) {
    let options = GeneratorOptions {
        seed: 3,
        disorder: Duration::from_secs(15),
        canary_every: Some(97),
        malformed_every,
        ..GeneratorOptions::default()
    };
    let source = Source::Generate {
        options: options.clone(),
        events: Some(events),
    };
    let server = ServerOptions {
        resume: Resume::Wikimedia,
        at_end: AtEnd::Hold,
        ..ServerOptions::new(source)
    };
    (options, server)
}

/// All that is to arrive: each event's data, as often as the generator made it.
fn expected(options: GeneratorOptions, events: u64) -> HashMap<String, i64> {
    let mut generator = Generator::new(options);
    let mut event = Event::default();
    let mut expect = HashMap::new();
    for _ in 0..events {
        generator.fill(&mut event);
        if !event.canary {
            *expect.entry(event.data.clone()).or_insert(0) += 1;
        }
    }
    expect
}

fn check_exactly_once(mut expect: HashMap<String, i64>, topic: &Topic) {
    let made: i64 = expect.values().sum();
    for value in topic.values() {
        let value = value.strip_prefix("was ").unwrap_or(&value).to_owned();
        *expect.entry(value).or_insert(0) -= 1;
    }
    let missing: i64 = expect.values().filter(|n| **n > 0).sum();
    let doubled: i64 = expect.values().filter(|n| **n < 0).sum();
    assert_eq!((missing, -doubled), (0, 0), "missing, doubled of {made}");
}

fn wikimedia(url: &str) -> gristmill_sse_source::Config {
    let section = json!({
        "key": "/id", "timestamp": "/meta/dt", "drop": {"/meta/domain": "canary"},
        "rewind": "1m", "dedupe": {"id": "/meta/id", "window": "2m"},
        "batch": {"records": 300, "linger": "2ms", "linger-max": "5ms"},
    });
    config(url, section)
}

#[tokio::test]
async fn nothing_missing_nothing_doubled_over_cut_connections() {
    const EVENTS: u64 = 20_000;
    let (options, server) = generated(EVENTS, Some(500));
    // A rewind of a minute brings 2,400 events; cuts come after more, else nobody would advance.
    let server = Replay::start(ServerOptions {
        cut_after: Some(4000),
        ..server
    })
    .await
    .unwrap();
    let expect = expected(options, EVENTS);
    let topic = Topic::default();
    let (mut source, stats) = with_tail(wikimedia(&server.url()), topic.clone());
    let all = expect.values().sum::<i64>() as usize;
    pump(&mut source, &topic, Until::Holds(all)).await.unwrap();
    pump(
        &mut source,
        &topic,
        Until::Quiet(Duration::from_millis(300)),
    )
    .await
    .unwrap();
    check_exactly_once(expect, &topic);
    assert!(LegStats::get(&stats.reconnects) >= 4);
    assert!(
        LegStats::get(&stats.duplicates) >= 4 * 2000,
        "the server was inexact"
    );
    assert_eq!(LegStats::get(&stats.gaps), 0);
}

#[tokio::test]
async fn nothing_missing_nothing_doubled_over_restarts() {
    over_restarts(&Topic::default(), false).await;
}

/// What the topic holds is then no event any more.
#[tokio::test]
async fn nothing_missing_nothing_doubled_over_restarts_before_a_transform() {
    over_restarts(&Topic::behind(|value| vec![format!("was {value}")]), true).await;
}

async fn over_restarts(topic: &Topic, transforms: bool) {
    const EVENTS: u64 = 12_000;
    let (options, server) = generated(EVENTS, Some(300));
    let server = Replay::start(server).await.unwrap();
    let expect = expected(options, EVENTS);
    let all = expect.values().sum::<i64>() as usize;
    let live = || {
        let (source, stats) = with_tail(wikimedia(&server.url()), topic.clone());
        (source.with_transforms(transforms), stats)
    };
    let mut lives = 0;
    while topic.len() < all {
        // Each life ends without warning, with batches read ahead and not written.
        let (mut source, _) = live();
        let goal = (topic.len() + 777).min(all);
        pump(&mut source, topic, Until::Holds(goal)).await.unwrap();
        lives += 1;
    }
    let (mut source, stats) = live();
    pump(&mut source, topic, Until::Quiet(Duration::from_millis(500)))
        .await
        .unwrap();
    check_exactly_once(expect, topic);
    assert!(lives >= 10, "{lives}");
    assert!(
        LegStats::get(&stats.duplicates) > 1000,
        "the last life had only what was there"
    );
    assert_eq!(LegStats::get(&stats.gaps), 0);
}

#[tokio::test]
async fn without_the_rewind_this_server_loses_and_doubles() {
    // Shows that the two tests above test something.
    const EVENTS: u64 = 20_000;
    let (options, server) = generated(EVENTS, None);
    let server = Replay::start(ServerOptions {
        cut_after: Some(1000),
        ..server
    })
    .await
    .unwrap();
    let topic = Topic::default();
    let section = json!({"drop": {"/meta/domain": "canary"}});
    let (mut source, _) = with_tail(config(&server.url(), section), topic.clone());
    pump(&mut source, &topic, Until::Quiet(Duration::from_secs(2)))
        .await
        .unwrap();
    let mut expect = expected(options, EVENTS);
    topic
        .values()
        .into_iter()
        .for_each(|value| *expect.entry(value).or_insert(0) -= 1);
    assert!(expect.values().any(|n| *n > 0), "nothing was lost");
    assert!(expect.values().any(|n| *n < 0), "nothing was doubled");
}

const RC: &str = "eqiad.mediawiki.recentchange";

fn event(n: i64, offset: i64) -> String {
    let stamp = 1_000_000_000_000 + n * 1000;
    format!(
        "event: message\nid: [{{\"topic\":\"{RC}\",\"partition\":0,\"timestamp\":{}}},{{\"topic\":\"codfw.x\",\"partition\":0,\"offset\":-1}}]\n\
         data: {{\"meta\":{{\"id\":\"{n}\",\"topic\":\"{RC}\",\"partition\":0,\"offset\":{offset}}}}}\n\n",
        stamp + 1
    )
}

fn rewinding() -> Value {
    json!({"rewind": "1m", "dedupe": {"id": "/meta/id"}})
}

#[tokio::test]
async fn every_connection_is_rewound_and_names_every_topic() {
    let replies = vec![
        Reply::stream(event(100, 5)),
        // An old one comes again; the position must not follow it.
        Reply::stream(event(50, 1)),
    ];
    let (topic, _, server) = read_all(replies, rewinding()).await;
    assert_eq!(topic.len(), 2);
    let requests = server.requests();
    let rewound: Value =
        serde_json::from_str(header(&requests[1], "last-event-id").unwrap()).unwrap();
    let expect = json!([
        {"topic": RC, "partition": 0, "timestamp": 1_000_000_040_001_i64},
        {"topic": "codfw.x", "partition": 0, "timestamp": 1_000_000_040_001_i64},
    ]);
    assert_eq!(rewound, expect);
    assert_eq!(
        header(&requests[2], "last-event-id"),
        header(&requests[1], "last-event-id")
    );
}

#[tokio::test]
async fn gaps_are_counted_and_duplicates_are_none() {
    let body = |range: std::ops::Range<i64>| range.map(|n| event(n, n)).collect::<String>();
    let replies = vec![
        Reply::stream(body(10..20)),
        Reply::stream(body(15..22) + &body(25..27)),
        Reply::stream(body(22..30)),
    ];
    let (topic, stats, _) = read_all(replies, rewinding()).await;
    assert_eq!(topic.len(), 20);
    assert_eq!(LegStats::get(&stats.gaps), 3);
    assert_eq!(LegStats::get(&stats.duplicates), 7);
    assert_eq!(topic.token()["offsets"][format!("{RC}/0")], 29);
    assert_eq!(topic.token()["next_offset"], 20);
}

#[tokio::test]
async fn equal_garbage_stays_and_is_not_doubled_by_a_rewind() {
    let garbage = |n: i64| {
        let whole = event(n, n);
        let (id, _) = whole.split_once("data").unwrap();
        format!("{id}data: {{broken\n\n")
    };
    let first = event(1, 1) + &garbage(2) + &garbage(2) + &garbage(3);
    let again = first.clone() + &garbage(3) + &event(4, 4);
    let replies = vec![
        Reply::stream(first.clone()),
        Reply::stream(again.clone()),
        Reply::stream(again.clone()),
    ];
    let (topic, stats, _) = read_all(replies, rewinding()).await;
    assert_eq!(topic.len(), 6, "1, two of 2, two of 3, 4");
    assert_eq!(LegStats::get(&stats.duplicates), 4 + 6);

    // The same over a restart.
    let server = Server::start([Reply::stream(first), Reply::stream(again).hold()]).await;
    let topic = Topic::default();
    let (mut source, _) = with_tail(config(&server.url(), rewinding()), topic.clone());
    pump(&mut source, &topic, Until::Holds(4)).await.unwrap();
    drop(source);
    let (mut source, _) = with_tail(config(&server.url(), rewinding()), topic.clone());
    pump(
        &mut source,
        &topic,
        Until::Quiet(Duration::from_millis(500)),
    )
    .await
    .unwrap();
    assert_eq!(topic.len(), 6);
}

/// Run until nothing more comes, as one life of a source before transforms.
async fn live_before_transforms(server: &Server, topic: &Topic) -> Arc<LegStats> {
    let (source, stats) = with_tail(config(&server.url(), rewinding()), topic.clone());
    let mut source = source.with_transforms(true);
    let quiet = Until::Quiet(Duration::from_millis(500));
    pump(&mut source, topic, quiet).await.unwrap();
    stats
}

#[tokio::test]
async fn a_quiet_partition_is_known_again_behind_a_transform() {
    const HOUR: i64 = 3_600_000;
    let event = |topic: &str, after_ms: i64| {
        let now = 1_000_000_000_000;
        format!(
            "id: [{{\"topic\":\"eqiad.x\",\"partition\":0,\"timestamp\":{}}},{{\"topic\":\"codfw.x\",\"partition\":0,\"timestamp\":{now}}}]\n\
             data: {{\"meta\":{{\"id\":\"{topic}{after_ms}\",\"topic\":\"{topic}\",\"partition\":0}}}}\n\n",
            now + after_ms
        )
    };
    // The rewind goes by each partition's own last event, however long ago.
    let body = event("eqiad.x", 0) + &event("codfw.x", 0) + &event("eqiad.x", HOUR);
    let again = event("codfw.x", 0) + &event("eqiad.x", HOUR);
    let replies = [Reply::stream(body).hold(), Reply::stream(again).hold()];
    let server = Server::start(replies).await;
    let topic = Topic::behind(|_| vec!["gone".to_owned()]);
    live_before_transforms(&server, &topic).await;
    assert_eq!(topic.len(), 3);
    let stats = live_before_transforms(&server, &topic).await;
    assert_eq!((topic.len(), LegStats::get(&stats.duplicates)), (3, 2));
}

#[tokio::test]
async fn several_records_of_one_event_are_one_event() {
    let whole = event(2, 2);
    let (id, _) = whole.split_once("data").unwrap();
    let garbage = format!("{id}data: {{broken\n\n");
    let replies = [
        Reply::stream(garbage.clone()).hold(),
        // It comes again, and then an equal one that is new.
        Reply::stream(garbage.repeat(2)).hold(),
    ];
    let server = Server::start(replies).await;
    let topic = Topic::behind(|value| vec![value.to_owned(), "more".to_owned()]);
    live_before_transforms(&server, &topic).await;
    assert_eq!(topic.len(), 2);
    let stats = live_before_transforms(&server, &topic).await;
    assert_eq!((topic.len(), LegStats::get(&stats.duplicates)), (4, 1));
}

/// Ids from 1 on, unique in the stream only.
fn numbered(last: i64) -> Reply {
    let event = |n| format!("id: {n}\ndata: {{\"id\":{n}}}\n\n");
    Reply::stream((1..=last).map(event).collect::<String>()).hold()
}

/// Run the stream `name` of several until nothing more comes.
async fn live_as(name: &str, server: &Server, topic: &Topic) {
    let section = json!({"dedupe": {"id": "/id"}});
    let config = config(&server.url(), section);
    let lane = ["test", name].join(".");
    let source = SseSource::new(lane.into(), config, topic.clone(), Arc::default()).unwrap();
    let mut source = source.with_stream(name);
    let quiet = Until::Quiet(Duration::from_millis(300));
    pump(&mut source, topic, quiet).await.unwrap();
}

#[tokio::test]
async fn an_id_of_another_stream_suppresses_nothing() {
    let topic = Topic::default();
    let (a, b) = (
        Server::start([numbered(5)]).await,
        Server::start([numbered(2), numbered(3)]).await,
    );
    live_as("b", &b, &topic).await;
    live_as("a", &a, &topic).await;
    assert_eq!(topic.len(), 7);
    // Of its own it knows two, whatever is behind them.
    live_as("b", &b, &topic).await;
    assert_eq!(topic.len(), 8);
    let topic = topic.0.lock().unwrap();
    let of_b = topic.records.iter().filter(|record| {
        let stream = record.headers.get(gristmill_sse_source::header::STREAM);
        stream == Some(b"b")
    });
    assert_eq!(of_b.count(), 3);
}

#[tokio::test]
async fn a_record_that_names_no_stream_counts_for_all() {
    let topic = Topic::default();
    let server = Server::start([numbered(2), numbered(3)]).await;
    live_as("", &server, &topic).await;
    let position = topic.0.lock().unwrap().positions.pop_first().unwrap();
    let lane = Lane::new("test.b", 0);
    (topic.0.lock().unwrap().positions).insert(lane, position.1);
    live_as("b", &server, &topic).await;
    assert_eq!(topic.len(), 3);
}

#[tokio::test]
async fn a_reject_is_not_doubled_by_a_restart() {
    let whole = event(2, 2);
    let (id, _) = whole.split_once("data").unwrap();
    let body = event(1, 1) + &format!("{id}data: {}\n\n", "x".repeat(5000));
    let server = Server::start([Reply::stream(body).hold()]).await;
    let mut section = rewinding();
    section["event-bytes-max"] = json!("1 KiB");
    let topic = Topic::default();
    for _ in 0..3 {
        let (mut source, _) = with_tail(config(&server.url(), section.clone()), topic.clone());
        pump(
            &mut source,
            &topic,
            Until::Quiet(Duration::from_millis(300)),
        )
        .await
        .unwrap();
    }
    let topic = topic.0.lock().unwrap();
    assert_eq!((topic.records.len(), topic.rejects.len()), (1, 1));
}

#[tokio::test]
async fn an_event_from_the_future_forgets_nobody() {
    let future = "data: {\"meta\":{\"id\":\"f\"},\"dt\":\"9000-01-01T00:00:00Z\"}\n\n";
    let body = "id: 1\ndata: {\"meta\":{\"id\":\"a\"},\"dt\":\"2026-01-01T00:00:00Z\"}\n\n";
    let server = Server::start([Reply::stream(format!("{body}{future}{body}")).hold()]).await;
    let section = json!({"timestamp": "/dt", "dedupe": {"id": "/meta/id"}});
    let topic = Topic::default();
    let (source, stats) = with_tail(config(&server.url(), section), topic.clone());
    // A minute after the first event.
    let mut source = source.with_clock(|| 1_767_225_660_000);
    pump(
        &mut source,
        &topic,
        Until::Quiet(Duration::from_millis(300)),
    )
    .await
    .unwrap();
    assert_eq!((topic.len(), LegStats::get(&stats.duplicates)), (2, 1));
}

#[tokio::test]
async fn a_foreign_position_is_refused() {
    use gristmill_flow::{Source as _, SourceError};
    use gristmill_record::{Lane, Position};
    for position in [
        Position::Offset(3),
        Position::Token("{}".into()),
        Position::Token(r#"{"v":9,"id":""}"#.into()),
    ] {
        let (mut source, _) = with_tail(config("http://127.0.0.1:9/", json!({})), Topic::default());
        let lane = Lane::new("test", 0);
        let from = [(lane.clone(), position)].into();
        match source.resume(&[lane], &from).await {
            Err(SourceError::Fatal(reason)) => assert!(reason.contains("position"), "{reason}"),
            other => panic!("{other:?}"),
        }
    }
}
