//! Sanitizer and client together, without a socket: every chunking must give the same events.

use base64::prelude::*;
use bytes::Bytes;
use eventsource_client::{Client, ClientBuilder, ReconnectOptions, SSE};
use futures_util::{StreamExt, stream};
use http::{Request, Response};
use launchdarkly_sdk_transport::{ByteStream, HttpTransport, ResponseFuture};
use proptest::prelude::*;
use serde_json::Value;

use super::*;

const MAX: usize = 1000;

#[derive(Debug, Default, Clone, PartialEq)]
struct Seen {
    /// Name, data, last event id, full size of a cut one.
    events: Vec<(String, String, String, Option<u64>)>,
    retry_ms: Option<u64>,
    last_id: String,
}

/// Answers with one body, in the given chunks, as `transport::Body` does with what it reads.
#[derive(Clone)]
struct Memory(Vec<Vec<u8>>);

impl HttpTransport for Memory {
    fn request(&self, _: Request<Option<Bytes>>) -> ResponseFuture {
        let mut sanitizer = Sanitizer::new(MAX, "");
        let mut canonical = Vec::new();
        for chunk in &self.0 {
            let mut rest = &chunk[..];
            while !rest.is_empty() {
                let mut out = Vec::new();
                let used = sanitizer.push(rest, &mut out);
                assert!(used > 0, "no progress");
                rest = &rest[used..];
                if !out.is_empty() {
                    canonical.push(Ok(Bytes::from(out)));
                }
            }
        }
        let body: ByteStream = Box::pin(stream::iter(canonical));
        Box::pin(async { Ok(Response::new(body)) })
    }
}

async fn read(chunks: Vec<Vec<u8>>) -> Seen {
    let client = ClientBuilder::for_url("http://memory.test/")
        .unwrap()
        .reconnect(ReconnectOptions::reconnect(false).build())
        .build_with_transport(Memory(chunks));
    let mut stream = client.stream();
    let mut seen = Seen::default();
    let mut cut = None;
    while let Some(Ok(item)) = stream.next().await {
        match item {
            SSE::Connected(_) => {}
            SSE::Event(event) => {
                seen.last_id = event.id.expect("an id on every event");
                let id = seen.last_id.clone();
                seen.events
                    .push((event.event_type, event.data, id, cut.take()));
            }
            SSE::Comment(comment) => match Note::parse(&comment).expect(&comment) {
                Note::Cut(bytes) => cut = Some(bytes),
                Note::Id(id) => seen.last_id = id.to_owned(),
                Note::RetryMs(ms) => seen.retry_ms = Some(ms),
            },
        }
    }
    seen
}

fn read_now(chunks: Vec<Vec<u8>>) -> Seen {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(read(chunks))
}

/// Section 9.2.6 as it is written, for a whole body in memory: slow, short, and no kin of ours.
fn reference(bytes: &[u8]) -> Seen {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let (mut seen, mut id) = (Seen::default(), String::new());
    let (mut name, mut data) = (String::new(), String::new());
    // What follows the last line end is no line.
    let complete = text.rfind('\n').map_or("", |end| &text[..=end]);
    for line in complete.split_terminator('\n') {
        if line.is_empty() {
            seen.last_id.clone_from(&id);
            if let Some(data) = data.strip_suffix('\n') {
                let name = if name.is_empty() { "message" } else { &name };
                seen.events
                    .push((name.to_owned(), data.to_owned(), id.clone(), None));
            }
            (name, data) = (String::new(), String::new());
            continue;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => name = value.to_owned(),
            "data" => data += &format!("{value}\n"),
            "id" if !value.contains('\0') => id = value.to_owned(),
            "retry" if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) => {
                seen.retry_ms = Some(value.parse().unwrap_or(u64::MAX));
            }
            _ => {}
        }
    }
    seen
}

/// Name, bytes, events as (type, data, last event id), reconnection time.
type Case = (String, Vec<u8>, Vec<(String, String, String)>, Option<u64>);

fn cases() -> Vec<Case> {
    let table: Value = serde_json::from_str(include_str!("../../tests/sse_cases.json")).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let case = |case: &Value| {
        let event = |e: &Value| (text(&e["type"]), text(&e["data"]), text(&e["lastEventId"]));
        (
            text(&case["name"]),
            BASE64_STANDARD.decode(text(&case["bytes_b64"])).unwrap(),
            case["expected_events"]
                .as_array()
                .unwrap()
                .iter()
                .map(event)
                .collect(),
            case["expected_retry_ms"].as_u64(),
        )
    };
    table["cases"]
        .as_array()
        .unwrap()
        .iter()
        .map(case)
        .collect()
}

#[test]
fn all_cases_of_the_table_at_every_split() {
    let cases = cases();
    assert_eq!(cases.len(), 26);
    for (name, bytes, events, retry_ms) in cases {
        let check = |chunks: Vec<Vec<u8>>| {
            let seen = read_now(chunks.clone());
            let got: Vec<_> = seen
                .events
                .iter()
                .map(|e| (e.0.clone(), e.1.clone(), e.2.clone()))
                .collect();
            assert_eq!(got, events, "{name}, {chunks:?}");
            assert_eq!(seen.retry_ms, retry_ms, "{name}, {chunks:?}");
        };
        check(vec![bytes.clone()]);
        check(bytes.iter().map(|byte| vec![*byte]).collect());
        for at in 1..bytes.len() {
            check(vec![bytes[..at].to_vec(), bytes[at..].to_vec()]);
        }
        assert_eq!(
            reference(&bytes).events.len(),
            events.len(),
            "the reference, {name}"
        );
    }
}

#[test]
fn a_byte_order_mark_is_stripped_once() {
    for (bytes, expect) in [
        (&b"\xEF\xBB\xBFdata: a\n\n"[..], Some("a")),
        (b"\xEF\xBB\xBF\xEF\xBB\xBFdata: a\n\n", None),
        (b"\xEF\xBBdata: a\n\n", None),
        (b"\n\xEF\xBB\xBFdata: a\n\n", None),
        (b"data: \xEF\xBB\xBFa\n\n", Some("\u{feff}a")),
    ] {
        for chunks in [
            vec![bytes.to_vec()],
            bytes.iter().map(|b| vec![*b]).collect(),
        ] {
            let seen = read_now(chunks);
            assert_eq!(seen.events.first().map(|e| &*e.1), expect, "{bytes:?}");
        }
    }
}

#[test]
fn an_event_beyond_the_bound_is_cut_and_measured() {
    let check = |body: String, kept: usize, cut: Option<u64>| {
        for size in [1, 7, body.len()] {
            let seen = read_now(body.as_bytes().chunks(size).map(<[u8]>::to_vec).collect());
            let (_, data, id, bytes) = &seen.events[0];
            assert_eq!(
                (data.len(), *bytes, &**id),
                (kept, cut, "7"),
                "chunks of {size}"
            );
            assert_eq!(seen.events[1].1, "after");
            assert_eq!(seen.events[1].3, None);
        }
    };
    let tail = "id: 7\n\ndata: after\n\n";
    check(format!("data: {}\n{tail}", "x".repeat(MAX)), MAX, None);
    check(
        format!("data: {}\n{tail}", "x".repeat(MAX + 1)),
        MAX,
        Some(MAX as u64 + 1),
    );
    check(
        format!("data: {}\n{tail}", "x".repeat(9 * MAX)),
        MAX,
        Some(9 * MAX as u64),
    );
    check(
        format!("data: {}\n{tail}", "é".repeat(MAX)),
        MAX,
        Some(2 * MAX as u64),
    );
    // Many lines: the line feeds between them count too.
    check(
        format!("{}{tail}", "data: xxx\n".repeat(250)),
        MAX - 1,
        None,
    );
    check(
        format!("{}{tail}", "data: xxx\n".repeat(251)),
        MAX - 1 + 1,
        Some(1003),
    );
    check(format!("{}{tail}", "data\n".repeat(2000)), MAX, Some(1999));
    check(
        format!("foo: {}\ndata: x\n{tail}", "x".repeat(9 * MAX)),
        1,
        None,
    );
}

#[test]
fn names_and_ids_are_bounded() {
    let long = "x".repeat(ID_BYTES_MAX + 1);
    let body = format!("id: 1\nid: {long}\nevent: {long}\ndata: a\n\n");
    let seen = read_now(vec![body.into_bytes()]);
    assert_eq!(seen.events[0].2, "1");
    assert_eq!(seen.events[0].0.len(), NAME_BYTES_MAX);
}

#[test]
fn output_is_bounded_by_piece_and_memory_by_the_event() {
    let mut sanitizer = Sanitizer::new(MAX, "");
    let id = "i".repeat(ID_BYTES_MAX);
    let input = format!("id: {id}\ndata\n\n{}", "data\n\n".repeat(10_000));
    let (mut rest, mut events) = (input.as_bytes(), 0);
    while !rest.is_empty() {
        let mut out = Vec::new();
        let used = sanitizer.push(rest, &mut out);
        rest = &rest[used..];
        assert!(
            out.len() <= OUTPUT_BYTES_MAX + 2 * ID_BYTES_MAX,
            "{}",
            out.len()
        );
        events += out.windows(2).filter(|pair| pair == b"\n\n").count();
    }
    assert_eq!(events, 10_001);
    let mut out = Vec::new();
    sanitizer.push(&vec![b'x'; 50 << 20], &mut out);
    assert!(
        sanitizer.line.capacity() <= 4 * (MAX + ID_BYTES_MAX),
        "{}",
        sanitizer.line.capacity()
    );
    assert!(out.is_empty());
}

/// Bytes that are likely to mean something.
fn sse_bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => prop::sample::select(vec![
            &b"data: "[..], b"data", b"event: ", b"event:", b"id: ", b"id", b"retry: ", b"12", b":",
            b" ", b"\n", b"\n\n", b"\r", b"\r\n", b"\xEF\xBB\xBF", b"\xE2\x82", b"\xFF", b"\0", b"x",
            b"foo: y", "\u{1F600}".as_bytes(), b"+5", b"99999999999999999999999",
        ]).prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_bytes_in_any_chunks_read_as_the_specification_says(
        bytes in sse_bytes(),
        sizes in prop::collection::vec(1_usize..9, 1..20),
    ) {
        let mut chunks = Vec::new();
        let (mut rest, mut sizes) = (&bytes[..], sizes.into_iter().cycle());
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at(sizes.next().unwrap().min(rest.len()));
            chunks.push(chunk.to_vec());
            rest = after;
        }
        let expect = reference(&bytes);
        prop_assert_eq!(&read_now(vec![bytes.clone()]), &expect);
        prop_assert_eq!(&read_now(chunks), &expect);
    }
}
