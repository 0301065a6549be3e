//! Recordings: every byte of data as recorded, whatever the line ends, and resume on any id.

#![allow(clippy::unwrap_used, reason = "test code outside of test functions")]

mod client;

use std::{fs, path::PathBuf, sync::Arc};

use client::{End, SseEvent, get, read, start, status};
use gristmill_replay::{
    AtEnd, Generator, GeneratorOptions, ReplayError, Resume, Server, ServerOptions, Source,
};

/// A file that goes away with the test.
struct Recorded(PathBuf);

impl Recorded {
    fn new(name: &str, bytes: &[u8]) -> Self {
        let directory =
            std::env::temp_dir().join(format!("gristmill-replay-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let path = directory.join(name);
        fs::write(&path, bytes).unwrap();
        Self(path)
    }

    async fn serve(&self, change: impl FnOnce(&mut ServerOptions)) -> Arc<Server> {
        start(Source::from_path(&self.0).unwrap(), change).await
    }

    async fn all(&self) -> Vec<SseEvent> {
        let server = self.serve(|it| it.at_end = AtEnd::Close).await;
        let (events, rest, end) = read(get(&server.url(), None).await, usize::MAX).await;
        assert_eq!((rest.len(), end), (0, End::Clean));
        events
    }
}

impl Drop for Recorded {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn event(event: &str, id: &str, data: &[u8]) -> SseEvent {
    SseEvent {
        event: event.into(),
        id: id.into(),
        data: data.to_vec(),
    }
}

fn generated(events: usize) -> Vec<SseEvent> {
    Generator::new(GeneratorOptions::default())
        .take(events)
        .map(|it| event(it.event, &it.id, it.data.as_bytes()))
        .collect()
}

fn sse_bytes(events: &[SseEvent], line_end: &str) -> Vec<u8> {
    let mut bytes = format!(":ok{line_end}{line_end}").into_bytes();
    for it in events {
        bytes.extend(format!("event: {}{line_end}id: {}{line_end}data: ", it.event, it.id).bytes());
        bytes.extend(&it.data);
        bytes.extend(format!("{line_end}{line_end}").bytes());
    }
    bytes
}

fn ndjson_bytes(events: &[SseEvent], line_end: &str) -> Vec<u8> {
    events
        .iter()
        .flat_map(|it| [it.data.as_slice(), line_end.as_bytes()].concat())
        .collect()
}

#[tokio::test]
async fn sse_recordings_are_served_byte_for_byte() {
    let events = generated(3_000);
    for (name, line_end) in [("lf.sse", "\n"), ("crlf.sse", "\r\n")] {
        let served = Recorded::new(name, &sse_bytes(&events, line_end))
            .all()
            .await;
        assert!(served == events, "{name}");
    }
}

#[tokio::test]
async fn odd_sse_is_kept_as_recorded() {
    let recorded = Recorded::new(
        "odd.sse",
        b"\xef\xbb\xbf:ok\n\n: a comment\n\nevent: message\nid: a\ndata: one\ndata:  two\ndata\ndata:\n\n\
          event: error\nid: b\ndata: [{\"error\":1}]\n\nretry: 10\n\ndata: not utf-8 \xff\xfe\n\n\
          id: alone\n\ndata: inherits\r\n\r\ndata: cut off\n",
    );
    let served = recorded.all().await;
    let expected = [
        event("message", "a", b"one\n two\n\n"),
        event("error", "b", b"[{\"error\":1}]"),
        event("message", "b", b"not utf-8 \xff\xfe"),
        event("message", "alone", b"inherits"),
    ];
    assert_eq!(served, expected);
}

#[tokio::test]
async fn carriage_returns_alone_end_lines_too() {
    let recorded = Recorded::new("cr.sse", b"id: 1\rdata: one\r\rid: 2\rdata: two\r\r");
    let server = recorded.serve(|it| it.at_end = AtEnd::Close).await;
    let wire = client::text(get(&server.url(), Some("1")).await).await;
    assert_eq!(wire, ":ok\n\nid: 2\rdata: two\r\r");
}

#[tokio::test]
async fn ndjson_recordings_are_served_byte_for_byte() {
    let events = generated(3_000);
    for (name, line_end) in [
        ("lf.ndjson", "\n"),
        ("crlf.jsonl", "\r\n"),
        ("blank.json", "\n \n\r\n"),
    ] {
        // Topic, partition and time of the data are unique and increase: the ids are Wikimedia's.
        let served = Recorded::new(name, &ndjson_bytes(&events, line_end))
            .all()
            .await;
        assert!(served == events, "{name}");
    }
    let bytes = ndjson_bytes(&events, "\n");
    let served = Recorded::new("no-end.ndjson", bytes.strip_suffix(b"\n").unwrap())
        .all()
        .await;
    assert!(served == events, "a last line without its end");
}

#[tokio::test]
async fn lines_that_are_not_recentchange_get_numbered_ids() {
    let lines: [&[u8]; 5] = [
        b"{\"a\":1}",
        b"{not json",
        b"not utf-8 \xff",
        b"  7 ",
        b"\"\\u00e9\"",
    ];
    let recorded = Recorded::new("any.ndjson", &lines.join(&b'\n'));
    let served = recorded.all().await;
    assert_eq!(
        served
            .iter()
            .map(|it| it.data.as_slice())
            .collect::<Vec<_>>(),
        lines
    );
    let server = recorded.serve(|it| it.at_end = AtEnd::NoContent).await;
    for (index, it) in served.iter().enumerate() {
        let next = index + 1;
        assert_eq!(
            it.id,
            format!(r#"[{{"topic":"replay","partition":0,"offset":{next}}}]"#)
        );
        let response = get(&server.url(), Some(&it.id)).await;
        if next == served.len() {
            assert_eq!(response.status(), 204);
        } else {
            assert!(
                read(response, usize::MAX).await.0 == served[next..],
                "{}",
                it.id
            );
        }
    }
}

#[tokio::test]
async fn every_id_of_a_recording_resumes_behind_it() {
    // More than a block of the index, with a step back in time in the middle.
    let mut events = generated(1_000);
    events.rotate_left(300);
    let plain: Vec<SseEvent> = (0..1_000)
        .map(|n| event("message", &n.to_string(), b"{}"))
        .collect();
    let words: Vec<SseEvent> = (0..1_000)
        .map(|n| event("message", &format!("id-{n}"), b"{}"))
        .collect();
    for (name, bytes, events) in [
        ("ids.sse", sse_bytes(&events, "\n"), events.clone()),
        ("plain.sse", sse_bytes(&plain, "\r\n"), plain),
        ("words.sse", sse_bytes(&words, "\n"), words),
    ] {
        let recorded = Recorded::new(name, &bytes);
        let server = recorded.serve(|it| it.at_end = AtEnd::NoContent).await;
        for index in (0..999).step_by(37).chain([255, 256, 699, 700, 998]) {
            let (next, ..) = read(get(&server.url(), Some(&events[index].id)).await, 1).await;
            assert!(next[0] == events[index + 1], "{name} behind {index}");
        }
        assert_eq!(
            status(&server.url(), Some(&events[999].id)).await,
            204,
            "{name}"
        );
        assert_eq!(
            status(&server.url(), Some("never sent")).await,
            400,
            "{name}"
        );
    }
    let recorded = Recorded::new("ids.ndjson", &ndjson_bytes(&events, "\n"));
    let served = recorded.all().await;
    assert!(
        served[0].id.contains("replay"),
        "times that step back make no ids: {}",
        served[0].id
    );
}

#[tokio::test]
async fn an_id_that_repeats_resumes_behind_its_last_event() {
    let recorded = Recorded::new(
        "twice.sse",
        b"id: 1\ndata: a\n\ndata: b\n\nid: 2\ndata: c\n\n",
    );
    let server = recorded.serve(|_| {}).await;
    let (next, ..) = read(get(&server.url(), Some("1")).await, 1).await;
    assert_eq!(next[0].data, b"c");
}

#[tokio::test]
async fn times_lead_to_the_first_event_that_is_not_earlier() {
    let mut events = generated(1_000);
    events.rotate_left(300);
    let start_ms = GeneratorOptions::default().start_ms;
    for (name, bytes) in [
        ("t.sse", sse_bytes(&events, "\n")),
        ("t.ndjson", ndjson_bytes(&events, "\n")),
    ] {
        let recorded = Recorded::new(name, &bytes);
        let server = recorded.serve(|it| it.resume = Resume::Wikimedia).await;
        // The log starts at event 300 of the generator, 7,500 ms in; every event is 25 ms.
        for (after_ms, index) in [(0, 0), (7_501, 1), (20_000, 500), (24_975, 699)] {
            let url = format!("{}?since={}", server.url(), start_ms + after_ms);
            let (next, ..) = read(get(&url, None).await, 1).await;
            assert!(next[0].data == events[index].data, "{name} {after_ms}");
        }
        drop(server);
        let server = recorded.serve(|it| it.at_end = AtEnd::NoContent).await;
        let url = format!("{}?since={}", server.url(), start_ms + 24_976);
        assert_eq!(status(&url, None).await, 204, "{name}");
    }
}

/// Data may be larger than any buffer on the way.
#[tokio::test]
async fn a_large_event_comes_through() {
    let large = vec![b'x'; 5 << 20];
    let events = [
        event("message", "1", b"a"),
        event("message", "2", &large),
        event("message", "3", b"b"),
    ];
    let served = Recorded::new("large.sse", &sse_bytes(&events, "\n"))
        .all()
        .await;
    assert!(served == events);
    let served = Recorded::new("large.ndjson", &ndjson_bytes(&events, "\n"))
        .all()
        .await;
    assert!(
        served
            .iter()
            .map(|it| &it.data)
            .eq(events.iter().map(|it| &it.data))
    );
}

#[tokio::test]
async fn recordings_that_cannot_be_served_are_named_with_a_remedy() {
    let start = async |source: Result<Source, ReplayError>| match source {
        Ok(source) => Server::start(ServerOptions::new(source)).await.unwrap_err(),
        Err(error) => error,
    };
    let error = start(Source::from_path("/nowhere/events.sse")).await;
    assert!(matches!(error, ReplayError::Missing { .. }), "{error}");
    assert!(error.to_string().contains("/nowhere/events.sse"), "{error}");
    for name in ["events.sse.gz", "events", "events.csv"] {
        let error = start(Source::from_path(name)).await;
        assert!(matches!(error, ReplayError::UnknownKind { .. }), "{error}");
        assert!(error.to_string().contains(name), "{error}");
    }
    for (name, bytes) in [
        ("0.sse", ":ok\n\n"),
        ("1.sse", "data: a\n"),
        ("0.ndjson", "\n\n"),
    ] {
        let recorded = Recorded::new(name, bytes.as_bytes());
        let error = start(Source::from_path(&recorded.0)).await;
        assert!(matches!(error, ReplayError::Empty { .. }), "{error}");
        assert!(error.to_string().contains(name), "{error}");
    }
    let error = start(Ok(Source::Sse(std::env::temp_dir()))).await;
    assert!(matches!(error, ReplayError::Read { .. }), "{error}");
}
