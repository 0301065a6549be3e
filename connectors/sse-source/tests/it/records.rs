//! What an event becomes.

use gristmill_flow::LegStats;
use gristmill_sse_source::header;
use serde_json::json;

use crate::harness::{Reply, Server, Topic, Until, config, pump, read_all, source};

#[tokio::test]
async fn records_have_key_timestamp_and_headers() {
    let body = concat!(
        "event: message\nid: 7\ndata: {\"id\":12,\"meta\":{\"dt\":\"2026-01-31T00:00:00.5Z\"}}\n\n",
        "data: {\"id\":\"k\\u00e9\",\"meta\":{\"dt\":1769817600}}\n\n",
        "event: other\nid\ndata: {\"id\":null}\n\n",
        "data: no json\ndata: at all\n\n",
    );
    let section = json!({"key": "/id", "timestamp": "/meta/dt"});
    let server = Server::start([Reply::stream(body).hold()]).await;
    let (source, _) = source(config(&server.url(), section));
    let mut source = source.with_clock(|| 42);
    let topic = Topic::default();
    pump(&mut source, &topic, Until::Holds(4)).await.unwrap();
    let topic = topic.0.lock().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let got: Vec<_> = topic
        .records
        .iter()
        .map(|record| {
            let header = |name| text(record.headers.get(name).unwrap());
            (
                record.offset,
                record.key.map(text),
                record.timestamp_ms,
                header(header::ID),
                header(header::EVENT),
            )
        })
        .collect();
    let expect = |n, key: Option<&str>, ms, id: &str, name: &str| {
        (
            n,
            key.map(str::to_owned),
            ms,
            id.to_owned(),
            name.to_owned(),
        )
    };
    assert_eq!(
        got,
        [
            expect(0, Some("12"), 1_769_817_600_500, "7", "message"),
            expect(1, Some("ké"), 1_769_817_600_000, "7", "message"),
            expect(2, None, 42, "", "other"),
            expect(3, None, 42, "", "message"),
        ]
    );
    assert_eq!(topic.records.get(3).unwrap().value, b"no json\nat all");
}

#[tokio::test]
async fn an_identity_is_written_only_where_a_transform_needs_it() {
    let body = "id: 7\ndata: {\"id\":12}\n\ndata: none\n\n";
    let dedupe = json!({"dedupe": {"id": "/id"}});
    for (section, transforms, expect) in [
        (json!({}), false, ["sse-id", "sse-event", ""]),
        (json!({}), true, ["sse-id", "sse-event", ""]),
        (dedupe.clone(), false, ["sse-id", "sse-event", ""]),
        (dedupe, true, ["sse-id", "sse-event", "sse-identity"]),
    ] {
        let server = Server::start([Reply::stream(body).hold()]).await;
        let (source, _) = source(config(&server.url(), section));
        let mut source = source.with_transforms(transforms);
        let topic = Topic::default();
        pump(&mut source, &topic, Until::Holds(2)).await.unwrap();
        let topic = topic.0.lock().unwrap();
        let names = |at| -> Vec<_> {
            let headers = topic.records.get(at).unwrap().headers;
            headers.iter().map(|(name, _)| name).collect()
        };
        let expect: Vec<_> = expect.into_iter().filter(|name| !name.is_empty()).collect();
        assert_eq!(names(0), expect);
        // Without an id, and without a rewind, nothing tells it from another.
        assert_eq!(names(1), expect[..2]);
    }
}

#[tokio::test]
async fn canaries_and_error_events_are_left_out() {
    let body = concat!(
        "id: 1\ndata: {\"meta\":{\"domain\":\"canary\"}}\n\n",
        "id: 2\ndata: {\"meta\":{\"domain\":\"en\"},\"domain\":\"canary\"}\n\n",
        "event: error\nid: 3\ndata: {}\n\n",
    );
    let section = json!({"drop": {"/meta/domain": "canary", "/flag": true, "/n": 5}});
    let (topic, stats, server) = read_all(vec![Reply::stream(body)], section.clone()).await;
    assert_eq!(topic.len(), 1);
    assert_eq!(LegStats::get(&stats.dropped), 2);
    assert_eq!(
        crate::harness::header(&server.requests()[1], "last-event-id"),
        Some("2")
    );
    let body = "data: {\"flag\":true}\n\ndata: {\"flag\":\"x\"}\n\ndata: {\"n\":5}\n\n";
    let (topic, stats, _) = read_all(vec![Reply::stream(body)], section).await;
    assert_eq!((topic.len(), LegStats::get(&stats.dropped)), (1, 2));
}

#[tokio::test]
async fn only_the_named_events_are_taken() {
    let body = "event: a\ndata: 1\n\nevent: b\ndata: 2\n\ndata: 3\n\nevent: error\ndata: 4\n\n";
    let section = json!({"events": ["b", "error"]});
    let (topic, stats, _) = read_all(vec![Reply::stream(body)], section).await;
    assert_eq!(topic.values(), ["2", "4"]);
    assert_eq!(LegStats::get(&stats.dropped), 2);
}

#[tokio::test]
async fn an_event_of_50_mb_is_rejected_and_the_stream_goes_on() {
    let mut reply = Reply::stream("id: 1\ndata: before\n\nid: 2\ndata: ");
    // Of two bytes each, so that a cut in a character would show.
    reply
        .chunks
        .extend(vec!["é".repeat(500_000).into_bytes(); 50]);
    reply.chunks.push(b"\n\nid: 3\ndata: after\n\n".to_vec());
    let (topic, _, server) = read_all(vec![reply], json!({})).await;
    assert_eq!(topic.values(), ["before", "after"]);
    let content = topic.0.lock().unwrap();
    let [reject] = &content.rejects[..] else {
        panic!("{} rejects", content.rejects.len())
    };
    assert!(
        reject.reason.contains("event of 50000000 bytes"),
        "{}",
        reject.reason
    );
    assert!(
        reject.reason.contains("sse.event-bytes-max (1048576)"),
        "{}",
        reject.reason
    );
    assert_eq!((reject.offset, &*reject.stage), (1, "sse"));
    assert_eq!(reject.value.len(), 512 << 10);
    assert!(reject.value.starts_with("éé".as_bytes()));
    assert_eq!(content.records.get(1).unwrap().offset, 2);
    assert_eq!(
        crate::harness::header(&server.requests()[1], "last-event-id"),
        Some("3")
    );
}

#[tokio::test]
async fn batches_keep_to_their_bounds() {
    let body: String = (0..100).map(|n| format!("data: {n:0>100}\n\n")).collect();
    for (batch, most_records, most_bytes) in [
        (json!({"records": 10}), 10, usize::MAX),
        (json!({"bytes": "1 KiB"}), usize::MAX, 1024 + 200),
    ] {
        let replies = vec![Reply::stream(body.clone())];
        let (topic, _, _) = read_all(replies, json!({"batch": batch})).await;
        let topic = topic.0.lock().unwrap();
        assert_eq!(topic.records.len(), 100);
        for batch in &topic.batches {
            assert!(
                batch.records.len() <= most_records,
                "{}",
                batch.records.len()
            );
            assert!(
                batch.records.bytes() <= most_bytes,
                "{}",
                batch.records.bytes()
            );
        }
    }
}

#[tokio::test]
async fn a_single_event_waits_no_longer_than_linger() {
    let server = Server::start([Reply::stream("data: a\n\n").hold()]).await;
    let (mut source, _) = source(config(&server.url(), json!({})));
    let topic = Topic::default();
    let started = std::time::Instant::now();
    pump(&mut source, &topic, Until::Holds(1)).await.unwrap();
    let took = started.elapsed().as_millis();
    assert!((50..1000).contains(&took), "{took} ms");
}

#[tokio::test]
async fn a_reader_that_pauses_bounds_the_memory() {
    // 64 MB wait at the server; two batches of 1 MiB and socket buffers are all that is taken.
    let event = format!("data: {}\n\n", "x".repeat(1000));
    let mut reply = Reply::stream("");
    reply.chunks = vec![event.repeat(1000).into_bytes(); 64];
    let section = json!({"batch": {"bytes": "1 MiB", "records": 1_000_000}});
    let server = Server::start([reply, Reply::new("204 No Content")]).await;
    let (mut source, _) = source(config(&server.url(), section));
    let topic = Topic::default();
    pump(&mut source, &topic, Until::Holds(1)).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    pump(&mut source, &topic, Until::End).await.unwrap();
    assert_eq!(topic.len(), 64_000);
    let topic = topic.0.lock().unwrap();
    assert!(
        topic
            .batches
            .iter()
            .all(|batch| batch.records.bytes() <= (1 << 20) + 2000)
    );
}

#[tokio::test]
async fn a_calm_stream_is_read_in_one_go_and_a_burst_as_it_comes() {
    let event = |n: usize| format!("data: {n}\n\n").into_bytes();
    let mut reply = Reply::stream("");
    reply.pause = std::time::Duration::from_millis(5);
    reply.chunks = (0..60).map(event).collect();
    reply.chunks.push((60..30_060).flat_map(event).collect());
    reply.chunks.extend((30_060..30_120).map(event));
    let section = json!({"batch": {"linger": "40ms", "linger-max": "40ms", "records": 1000}});
    let server = Server::start([reply, Reply::new("204 No Content")]).await;
    let (mut source, _) = source(config(&server.url(), section));
    let topic = Topic::default();
    pump(&mut source, &topic, Until::End).await.unwrap();
    let expected: Vec<String> = (0..30_120).map(|n| n.to_string()).collect();
    assert_eq!(topic.values(), expected);
    let topic = topic.0.lock().unwrap();
    let sizes: Vec<usize> = { topic.batches.iter() }.map(|b| b.records.len()).collect();
    // 5 ms apart, sent 40 ms apart.
    assert!(sizes[1..5].iter().all(|size| *size > 2), "{sizes:?}");
    assert!(sizes.contains(&1000), "{sizes:?}");
}

#[tokio::test]
async fn a_calm_stream_is_read_to_its_end_while_the_sink_is_away() {
    let mut reply = Reply::stream("");
    reply.pause = std::time::Duration::from_millis(10);
    reply.chunks = { 0..60 }
        .map(|n| format!("data: {n}\n\n").into_bytes())
        .collect();
    let server = Server::start([reply, Reply::new("204 No Content")]).await;
    let (mut source, _) = source(config(&server.url(), json!({})));
    let topic = Topic::default();
    pump(&mut source, &topic, Until::Holds(20)).await.unwrap();
    // Nobody asks for a batch now.
    let noticed = async {
        while server.requests().len() < 2 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let patience = std::time::Duration::from_secs(10);
    tokio::time::timeout(patience, noticed).await.unwrap();
    pump(&mut source, &topic, Until::End).await.unwrap();
    assert_eq!(topic.len(), 60);
}
