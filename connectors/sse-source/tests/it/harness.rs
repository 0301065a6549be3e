//! A scripted HTTP server, a topic in memory, and a leg's loop in small.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gristmill_flow::{LegStats, NoTail, Source, SourceError, SourceEvent, TopicTail};
use gristmill_record::{Batch, Position, Positions, RecordRef, Records, Reject};
use gristmill_sse_source::{Config, SseSource};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

/// No test waits longer for something that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// What a connection is answered with.
#[derive(Clone)]
pub(crate) struct Reply {
    pub(crate) head: String,
    /// Sent one by one, flushed between.
    pub(crate) chunks: Vec<Vec<u8>>,
    /// Time before each chunk.
    pub(crate) pause: Duration,
    /// Afterwards: close, or say nothing more.
    pub(crate) hold: bool,
}

impl Reply {
    pub(crate) fn stream(body: impl Into<Vec<u8>>) -> Self {
        Self::new("200 OK\r\nContent-Type: text/event-stream; charset=utf-8").body(body)
    }

    pub(crate) fn new(status_and_headers: &str) -> Self {
        Self {
            head: format!("HTTP/1.1 {status_and_headers}\r\nConnection: close\r\n\r\n"),
            chunks: Vec::new(),
            pause: Duration::ZERO,
            hold: false,
        }
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.chunks.push(body.into());
        self
    }

    pub(crate) fn hold(mut self) -> Self {
        self.hold = true;
        self
    }
}

/// Answers one connection after the other with one reply after the other; the last one stays.
pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start(replies: impl IntoIterator<Item = Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let requests: Arc<Mutex<Vec<String>>> = Arc::default();
        let seen = Arc::clone(&requests);
        let mut replies: VecDeque<Reply> = replies.into_iter().collect();
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let reply = match replies.len() {
                    1 => replies[0].clone(),
                    _ => replies.pop_front().expect("a reply"),
                };
                tokio::spawn(answer(socket, reply, Arc::clone(&seen)));
            }
        });
        Self {
            addr,
            requests,
            task,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/stream", self.addr)
    }

    /// Heads of the requests so far, header names in lower case.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(mut socket: TcpStream, reply: Reply, requests: Arc<Mutex<Vec<String>>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match socket.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    requests
        .lock()
        .unwrap()
        .push(String::from_utf8(head).unwrap());
    for part in std::iter::once(reply.head.as_bytes()).chain(reply.chunks.iter().map(|c| &c[..])) {
        if !reply.pause.is_zero() {
            tokio::time::sleep(reply.pause).await;
        }
        if socket.write_all(part).await.is_err() || socket.flush().await.is_err() {
            return;
        }
    }
    if reply.hold {
        std::future::pending::<()>().await;
    }
}

/// A header of a request head.
pub(crate) fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    lines
        .find(|(n, _)| n.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

/// What a sink would hold: records, rejects and the position, moved in one step.
#[derive(Default, Clone)]
pub(crate) struct Topic(pub(crate) Arc<Mutex<Content>>);

#[derive(Default)]
pub(crate) struct Content {
    pub(crate) records: Records,
    pub(crate) rejects: Vec<Reject>,
    pub(crate) positions: Positions,
    pub(crate) batches: Vec<Batch>,
    /// What the stage's transforms make of a value; headers stay, as in smartengine.
    pub(crate) transform: Option<fn(&str) -> Vec<String>>,
}

impl Topic {
    /// One behind transforms.
    pub(crate) fn behind(transform: fn(&str) -> Vec<String>) -> Self {
        let topic = Self::default();
        topic.0.lock().unwrap().transform = Some(transform);
        topic
    }

    /// As a committed write: nothing of the next one before all of this one.
    pub(crate) fn write(&self, batch: Batch) {
        let mut topic = self.0.lock().unwrap();
        let before = topic
            .positions
            .insert(batch.lane.clone(), batch.next.clone());
        assert_eq!(
            before, batch.from,
            "a batch starts where the one before it ended"
        );
        for record in batch.records.iter() {
            let Some(transform) = topic.transform else {
                topic.records.push(record);
                continue;
            };
            for value in transform(std::str::from_utf8(record.value).unwrap()) {
                let value = value.as_bytes();
                topic.records.push(RecordRef { value, ..record });
            }
        }
        topic.rejects.extend(batch.rejects.iter().cloned());
        topic.batches.push(batch);
    }

    pub(crate) fn values(&self) -> Vec<String> {
        let topic = self.0.lock().unwrap();
        topic
            .records
            .iter()
            .map(|r| String::from_utf8(r.value.to_vec()).unwrap())
            .collect()
    }

    pub(crate) fn len(&self) -> usize {
        let topic = self.0.lock().unwrap();
        topic.records.len() + topic.rejects.len()
    }

    pub(crate) fn token(&self) -> Value {
        let topic = self.0.lock().unwrap();
        match topic.positions.values().next() {
            Some(Position::Token(token)) => serde_json::from_str(token).unwrap(),
            other => panic!("no token: {other:?}"),
        }
    }
}

impl TopicTail for Topic {
    async fn read(
        &mut self,
        since_ms: i64,
        visit: &mut (dyn FnMut(RecordRef<'_>) + Send),
    ) -> Result<u64, SourceError> {
        let topic = self.0.lock().unwrap();
        // As Kafka's offsets-for-times: the first record that is late enough, and all after it.
        let late = topic
            .records
            .iter()
            .skip_while(|record| record.timestamp_ms < since_ms);
        Ok(late.map(visit).count() as u64)
    }
}

/// How long [`pump`] goes on.
#[derive(Clone, Copy)]
pub(crate) enum Until {
    /// So many records and rejects are in the topic.
    Holds(usize),
    /// The source ends.
    End,
    /// Nothing came for so long.
    Quiet(Duration),
}

/// Run `source` into `topic`, from the topic's position.
pub(crate) async fn pump<T: TopicTail>(
    source: &mut SseSource<T>,
    topic: &Topic,
    until: Until,
) -> Result<(), SourceError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Until::Holds(n) = until
            && topic.len() >= n
        {
            return Ok(());
        }
        let wait = match until {
            Until::Quiet(quiet) => Instant::now() + quiet,
            _ => deadline,
        };
        match timeout_at(wait, source.next()).await {
            Err(_) if matches!(until, Until::Quiet(_)) => return Ok(()),
            Err(_) => panic!("nothing more within {PATIENCE:?}; {} so far", topic.len()),
            Ok(Err(error)) => return Err(error),
            Ok(Ok(SourceEvent::Assigned(lanes))) => {
                let [lane] = &lanes[..] else {
                    panic!("{lanes:?}")
                };
                assert!(lane.topic.starts_with("test"), "{lane}");
                assert_eq!(lane.partition, 0);
                let from = topic.0.lock().unwrap().positions.clone();
                source.resume(&lanes, &from).await?;
            }
            Ok(Ok(SourceEvent::Batch(batch))) => topic.write(batch),
            Ok(Ok(SourceEvent::End)) => return Ok(()),
            Ok(Ok(SourceEvent::Revoked(_))) => panic!("never revoked"),
        }
    }
}

/// The section with `url` and whatever `more` says; fast retries.
pub(crate) fn config(url: &str, more: Value) -> Config {
    let mut section = json!({
        "url": url,
        "user-agent": "gristmill-test/0.1 (https://example.org; you@example.org)",
        "retry": {"initial": "5ms", "max": "50ms"},
    });
    section
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    serde_json::from_value(section).unwrap()
}

pub(crate) fn source(config: Config) -> (SseSource<NoTail>, Arc<LegStats>) {
    with_tail(config, NoTail)
}

pub(crate) fn with_tail<T: TopicTail>(config: Config, tail: T) -> (SseSource<T>, Arc<LegStats>) {
    let stats = Arc::new(LegStats::default());
    let source = SseSource::new("test".into(), config, tail, Arc::clone(&stats)).unwrap();
    (source, stats)
}

/// Read all that `replies` have, until the server says 204.
pub(crate) async fn read_all(replies: Vec<Reply>, more: Value) -> (Topic, Arc<LegStats>, Server) {
    let end = Reply::new("204 No Content");
    let server = Server::start(replies.into_iter().chain([end])).await;
    let topic = Topic::default();
    let (mut source, stats) = source(config(&server.url(), more));
    pump(&mut source, &topic, Until::End).await.unwrap();
    (topic, stats, server)
}
