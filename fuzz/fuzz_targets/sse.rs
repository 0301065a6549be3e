//! Any bytes in any chunks, through the sanitizer and eventsource-client: the events are those of
//! WHATWG HTML, section 9.2.6, and those of every other chunking.
//!
//! Input: one byte of settings, one that decides the chunks, the body.
#![no_main]

#[allow(
    dead_code,
    reason = "the connector's file, of which this target uses what it fuzzes"
)]
#[path = "../../connectors/sse-source/src/sanitize.rs"]
mod sanitize;

use std::sync::Arc;

use bytes::Bytes;
use eventsource_client::{Client, ClientBuilder, ReconnectOptions, SSE};
use futures_util::{StreamExt, stream};
use http::{Request, Response};
use launchdarkly_sdk_transport::{ByteStream, HttpTransport, ResponseFuture};
use libfuzzer_sys::fuzz_target;
use sanitize::{NAME_BYTES_MAX, Note, Sanitizer};
use yardsticks::sse::{self, Stream};

/// Longer bodies only slow the search down; and an id beyond the sanitizer's bound of 8 KiB, which
/// it ignores on purpose, does not fit.
const BODY_BYTES_MAX: usize = 8 << 10;

fuzz_target!(|input: &[u8]| {
    let &[settings, seed, ref body @ ..] = input else {
        return;
    };
    let body = &body[..body.len().min(BODY_BYTES_MAX)];
    // Small bounds as well as one that nothing reaches.
    let max = match settings & 0x3f {
        0x30.. => 1 << 20,
        small => usize::from(small),
    };
    let last_id = if settings & 0x40 == 0 {
        ""
    } else {
        "before é"
    };
    let expect = sse::parse(body, last_id);
    let whole = read(&[body], max, last_id);
    let chunked = read(&yardsticks::chunks(body, seed), max, last_id);
    assert_eq!(whole, chunked, "chunks change what is read");
    compare(&expect, &whole, max);
});

/// What the session would see.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    /// Name, data, last event id, full size of a cut one.
    events: Vec<(String, String, String, Option<u64>)>,
    retry_ms: Option<u64>,
    last_id: String,
}

fn compare(expect: &Stream, seen: &Seen, max: usize) {
    assert_eq!(
        expect.events.len(),
        seen.events.len(),
        "{expect:?}\n{seen:?}"
    );
    assert_eq!(expect.retry_ms, seen.retry_ms);
    assert_eq!(expect.last_id, seen.last_id);
    for (expect, (name, data, last_id, cut)) in expect.events.iter().zip(&seen.events) {
        assert_eq!(&expect.last_id, last_id);
        if expect.name.len() <= NAME_BYTES_MAX {
            assert_eq!(&expect.name, name);
        } else {
            // Cut before bad UTF-8 is replaced: the last characters may differ.
            let sure = expect.name.floor_char_boundary(NAME_BYTES_MAX - 3);
            assert!(
                name.starts_with(&expect.name[..sure]),
                "{expect:?} {name:?}"
            );
            assert!(name.len() <= expect.name.len());
        }
        if expect.data.len() <= max {
            assert_eq!((&expect.data, &None), (data, cut));
            continue;
        }
        // Too large: a prefix that fills the bound to less than a character, and the true size.
        assert_eq!(*cut, Some(expect.wire_bytes as u64), "{expect:?} {data:?}");
        assert!(data.len() <= max, "{} beyond {max}", data.len());
        assert!(
            expect.data.starts_with(data.as_str()),
            "{expect:?} {data:?}"
        );
        // A line feed that fits alone is not kept without the line after it.
        assert!(
            data.len() + 5 > max,
            "{} of {max} kept: {expect:?}",
            data.len()
        );
    }
}

/// Answers with one body, as `transport::Body` does with what it reads.
#[derive(Clone)]
struct Memory(Arc<Vec<Bytes>>);

impl HttpTransport for Memory {
    fn request(&self, _: Request<Option<Bytes>>) -> ResponseFuture {
        let chunks: Vec<_> = self.0.iter().cloned().map(Ok).collect();
        let body: ByteStream = Box::pin(stream::iter(chunks));
        Box::pin(async { Ok(Response::new(body)) })
    }
}

fn canonical(chunks: &[&[u8]], max: usize, last_id: &str) -> Vec<Bytes> {
    let mut sanitizer = Sanitizer::new(max, last_id);
    let mut canonical = Vec::new();
    for chunk in chunks {
        let mut rest = *chunk;
        while !rest.is_empty() {
            let mut out = Vec::new();
            let used = sanitizer.push(rest, &mut out);
            assert!(used > 0, "no progress");
            rest = &rest[used..];
            // One line may overshoot the bound of 64 KiB, by what a line can become.
            assert!(out.len() < (64 << 10) + 4 * BODY_BYTES_MAX, "{}", out.len());
            if !out.is_empty() {
                canonical.push(out.into());
            }
        }
    }
    canonical
}

fn read(chunks: &[&[u8]], max: usize, last_id: &str) -> Seen {
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime without drivers");
    }
    let transport = Memory(Arc::new(canonical(chunks, max, last_id)));
    let client = ClientBuilder::for_url("http://memory.test/")
        .expect("a URL")
        .reconnect(ReconnectOptions::reconnect(false).build())
        .build_with_transport(transport);
    let mut seen = Seen {
        last_id: last_id.to_owned(),
        ..Seen::default()
    };
    RUNTIME.with(|runtime| runtime.block_on(consume(client, &mut seen)));
    seen
}

async fn consume(client: impl Client, seen: &mut Seen) {
    let mut stream = client.stream();
    let mut cut = None;
    loop {
        match stream.next().await {
            Some(Ok(SSE::Connected(_))) => {}
            Some(Ok(SSE::Event(event))) => {
                let id = event.id.expect("an id on every event");
                seen.last_id.clone_from(&id);
                seen.events
                    .push((event.event_type, event.data, id, cut.take()));
            }
            Some(Ok(SSE::Comment(comment))) => match Note::parse(&comment).expect("our comment") {
                Note::Cut(bytes) => cut = Some(bytes),
                Note::Id(id) => id.clone_into(&mut seen.last_id),
                Note::RetryMs(ms) => seen.retry_ms = Some(ms),
            },
            Some(Err(eventsource_client::Error::Eof)) | None => return,
            Some(Err(error)) => panic!("the client gave up: {error:?}"),
        }
    }
}
