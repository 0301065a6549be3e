//! The suite of `flow-testing` on a stream that grows, over real HTTP. Every connection is cut in
//! the middle of an event after a while.

use std::convert::Infallible;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::stream::unfold;
use gristmill_flow::NoTail;
use gristmill_flow_testing::conformance::{self, SourceHarness};
use gristmill_record::Position;
use gristmill_sse_source::SseSource;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::harness::{config, source};

/// Whole events of a connection before it is cut: less than a case has, and no divisor of it.
const CUT_AFTER: usize = 90;

/// Events are numbered from 0; the number is the id.
struct Stream {
    events: watch::Sender<Vec<String>>,
    url: String,
    server: JoinHandle<()>,
}

impl Stream {
    async fn start() -> Self {
        let (events, all) = watch::channel(Vec::new());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/stream", listener.local_addr().unwrap());
        let routes = Router::new().route("/stream", get(serve)).with_state(all);
        let server = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self {
            events,
            url,
            server,
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// What follows the last event id, and what is appended meanwhile.
async fn serve(State(all): State<watch::Receiver<Vec<String>>>, headers: HeaderMap) -> Response {
    let last: Option<usize> = headers
        .get("last-event-id")
        .map(|id| id.to_str().unwrap().parse().unwrap());
    let start = last.map_or(0, |last| last + 1);
    let body = unfold((all, Some(start)), move |(mut all, at)| async move {
        let at = at?;
        let end = start + CUT_AFTER;
        let (text, next) = {
            let all = all.wait_for(|all| all.len() > at).await.ok()?;
            let events = (at..all.len().min(end)).map(|n| event(n, &all[n]));
            let mut text: String = events.collect();
            if all.len() > end {
                let cut = event(end, &all[end]);
                text.push_str(&cut[..cut.len() - 2]);
            }
            (text, (all.len() <= end).then_some(all.len()))
        };
        Some((Ok::<_, Infallible>(text), (all, next)))
    });
    (
        [(CONTENT_TYPE, "text/event-stream")],
        Body::from_stream(body),
    )
        .into_response()
}

fn event(number: usize, value: &str) -> String {
    format!("id: {number}\ndata: {value}\n\n")
}

impl SourceHarness for Stream {
    type Source = SseSource<NoTail>;

    async fn open(&mut self) -> Self::Source {
        source(config(&self.url, json!({"batch": {"records": 7}}))).0
    }

    async fn append(&mut self, _partition: i32, values: &[String]) {
        self.events
            .send_modify(|events| events.extend_from_slice(values));
    }

    fn partitions(&self) -> i32 {
        1
    }

    fn start(&self) -> Option<Position> {
        None
    }

    fn position(&self, n: usize) -> Position {
        gristmill_sse_source::position(&(n - 1).to_string())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_keeps_every_promise_of_a_source() {
    conformance::source(async |_case| Stream::start().await).await;
}
