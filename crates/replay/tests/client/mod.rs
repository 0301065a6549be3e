//! A real HTTP client, and an SSE decoder that is simple because it waits for whole blocks.

#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, reason = "test code outside of test functions")]

use std::{sync::Arc, time::Duration};

use axum::body::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, Response, StatusCode, body::Incoming};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};

use gristmill_replay::{Server, ServerOptions, Source};

/// Longer than anything in these tests takes.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct SseEvent {
    pub(crate) event: String,
    pub(crate) id: String,
    pub(crate) data: Vec<u8>,
}

/// How a response ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// By the last chunk, as HTTP has it.
    Clean,
    /// By a broken connection.
    Broken,
    /// Not yet: the events asked for are there.
    Open,
}

pub(crate) async fn start(source: Source, change: impl FnOnce(&mut ServerOptions)) -> Arc<Server> {
    let mut options = ServerOptions::new(source);
    change(&mut options);
    Arc::new(Server::start(options).await.unwrap())
}

/// GET with a User-Agent, and a Last-Event-ID if there is one.
pub(crate) async fn get(url: &str, id: Option<&str>) -> Response<Incoming> {
    let mut headers = vec![(
        "user-agent",
        "replay-test/1 (https://example.org; a@example.org)",
    )];
    headers.extend(id.map(|id| ("last-event-id", id)));
    get_with(url, &headers).await
}

pub(crate) async fn get_with(url: &str, headers: &[(&str, &str)]) -> Response<Incoming> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let mut request = Request::get(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    client
        .request(request.body(Empty::new()).unwrap())
        .await
        .unwrap()
}

pub(crate) async fn status(url: &str, id: Option<&str>) -> StatusCode {
    get(url, id).await.status()
}

/// The whole body of a short response.
pub(crate) async fn text(response: Response<Incoming>) -> String {
    String::from_utf8(
        response
            .into_body()
            .collect()
            .await
            .unwrap()
            .to_bytes()
            .to_vec(),
    )
    .unwrap()
}

/// Reads until there are `most` events or the response ends. Also returns what came behind the
/// last whole event.
pub(crate) async fn read(
    response: Response<Incoming>,
    most: usize,
) -> (Vec<SseEvent>, Vec<u8>, End) {
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(
        response.headers()["content-type"],
        "text/event-stream; charset=utf-8"
    );
    let mut body = response.into_body();
    let mut decoder = Decoder::default();
    let end = loop {
        if decoder.events.len() >= most {
            break End::Open;
        }
        match tokio::time::timeout(PATIENCE, body.frame())
            .await
            .expect("the stream is silent")
        {
            None => break End::Clean,
            Some(Err(_)) => break End::Broken,
            Some(Ok(frame)) => decoder.push(&frame.into_data().unwrap()),
        }
    };
    decoder.events.truncate(most);
    (decoder.events, decoder.block, end)
}

#[derive(Default)]
struct Decoder {
    block: Vec<u8>,
    line_start: usize,
    last_id: String,
    events: Vec<SseEvent>,
}

impl Decoder {
    fn push(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.block.push(byte);
            if byte != b'\n' {
                continue;
            }
            let line = self.block[self.line_start..].trim_ascii_end();
            if line.is_empty() {
                self.dispatch();
            }
            self.line_start = self.block.len();
        }
    }

    fn dispatch(&mut self) {
        let mut event = SseEvent {
            event: "message".into(),
            ..SseEvent::default()
        };
        let mut data: Option<Vec<u8>> = None;
        for line in self.block.split(|&byte| byte == b'\n') {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let text = |from: usize| String::from_utf8(line[from..].to_vec()).unwrap();
            if line.starts_with(b"event: ") {
                event.event = text(7);
            } else if line.starts_with(b"id: ") {
                self.last_id = text(4);
            } else if let Some(value) = data_of(line) {
                let value = value.strip_prefix(b" ").unwrap_or(value);
                match &mut data {
                    None => data = Some(value.to_vec()),
                    Some(data) => {
                        data.push(b'\n');
                        data.extend_from_slice(value);
                    }
                }
            }
        }
        if let Some(data) = data {
            self.events.push(SseEvent {
                id: self.last_id.clone(),
                data,
                ..event
            });
        }
        self.block.clear();
    }
}

/// The value of a data line, which may come without a colon.
fn data_of(line: &[u8]) -> Option<&[u8]> {
    if line == b"data" {
        Some(b"")
    } else {
        line.strip_prefix(b"data:")
    }
}
