//! The task behind a source: one connection after the other, events into batches.
//!
//! ```text
//! Transport ─bytes▶ eventsource-client ─events▶ take ─▶ Outbox ─batches▶ channel(1) ─▶ Source::next
//! ```
//! While the channel is full the outbox fills up; once it is full too nothing is read, and TCP
//! tells the server. The position in a batch is that after its last event, dropped ones included.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use eventsource_client::{Client, ClientBuilder, Error, ReconnectOptions, SSE};
use futures_util::StreamExt;
use gristmill_flow::{LegStats, Status};
use gristmill_record::{Batch, Lane, Position};
use http::HeaderValue;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use url::Url;

use crate::backoff::{Backoff, reconnection_time};
use crate::config::Settings;
use crate::dedupe::{Dedupe, Identity};
use crate::inspect::Inspector;
use crate::lanes::Lanes;
use crate::outbox::Outbox;
use crate::pace::Pace;
use crate::resume::{Token, later, rewind};
use crate::sanitize::Note;
use crate::transport::{Failure, Transport, shown};

mod take;

pub use take::header;

/// A connection shorter than this is not followed by the next one at once.
const SHORT: Duration = Duration::from_secs(1);

/// What the task tells the source.
#[derive(Debug)]
pub(crate) enum Message {
    Batch(Batch),
    /// The server said that there will be no more.
    End,
    /// Trying again cannot help: why, and the remedy.
    Fatal(String),
}

/// All that the task owns.
pub(crate) struct Session {
    pub(crate) name: Arc<str>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) transport: Transport,
    pub(crate) stats: Arc<LegStats>,
    pub(crate) inspector: Arc<Inspector>,
    /// Its name, if there are several into the topic.
    pub(crate) stream: Option<Arc<str>>,
    /// Whether records carry their identity.
    pub(crate) marks: bool,
    pub(crate) dedupe: Option<Dedupe>,
    pub(crate) lanes: Lanes,
    /// The position after the last event; its `offsets`, `tail_ms` and `rejected` are filled in
    /// when a batch is cut.
    pub(crate) token: Token,
    /// Identities of recent rejects, oldest first.
    pub(crate) rejected: VecDeque<Identity>,
    pub(crate) outbox: Outbox,
    pub(crate) backoff: Backoff,
    /// Milliseconds since the epoch, for records without a timestamp.
    pub(crate) now_ms: fn() -> i64,
    pub(crate) messages: mpsc::Sender<Message>,
    /// Since when the leg waits for a batch; `None` while it is busy with one.
    free: watch::Receiver<Option<Instant>>,
    /// Bytes of the event that comes next, if data was left out of it.
    cut_bytes: Option<u64>,
    /// How fast the present connection gives events.
    pace: Pace,
    /// Connections that stood, and events on the present one.
    connections: u64,
    events: u64,
    /// The status that we set and have to clear.
    waiting: Option<Status>,
}

/// How a source starts a session; what it does not name starts empty.
pub(crate) struct Start {
    pub(crate) name: Arc<str>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) transport: Transport,
    pub(crate) stats: Arc<LegStats>,
    pub(crate) inspector: Arc<Inspector>,
    /// Its name, if there are several into the topic.
    pub(crate) stream: Option<Arc<str>>,
    /// Whether records carry their identity.
    pub(crate) marks: bool,
    pub(crate) dedupe: Option<Dedupe>,
    pub(crate) lanes: Lanes,
    /// The position as it is stored, and what it says.
    pub(crate) from: Option<Position>,
    pub(crate) token: Option<Token>,
    pub(crate) now_ms: fn() -> i64,
    pub(crate) rng: fastrand::Rng,
}

/// The source is gone: nobody wants messages any more.
pub(crate) struct Closed;

/// How a connection ended, and what follows.
enum Ending {
    /// Reconnect soon; normal. The text is for the log.
    Cut(String),
    /// Wait for something that may pass.
    Wait {
        reason: String,
        at_least: Option<Duration>,
    },
    End,
    Fatal(String),
}

impl Session {
    pub(crate) fn new(
        start: Start,
        messages: mpsc::Sender<Message>,
        free: watch::Receiver<Option<Instant>>,
    ) -> Self {
        let token = start.token.unwrap_or_default();
        let lane = Lane::new(Arc::clone(&start.name), 0);
        let retry = &start.settings.retry;
        Self {
            outbox: Outbox::new(lane, start.settings.batch.clone(), start.from),
            backoff: Backoff::new(retry.initial, retry.max, start.rng),
            rejected: token
                .rejected
                .iter()
                .filter_map(|text| Identity::parse(text))
                .collect(),
            name: start.name,
            settings: start.settings,
            transport: start.transport,
            stats: start.stats,
            inspector: start.inspector,
            stream: start.stream,
            marks: start.marks,
            dedupe: start.dedupe,
            lanes: start.lanes,
            token,
            now_ms: start.now_ms,
            messages,
            free,
            cut_bytes: None,
            pace: Pace::default(),
            connections: 0,
            events: 0,
            waiting: None,
        }
    }

    /// Run until the server ends the stream, an error is final, or the source is dropped.
    pub(crate) async fn run(mut self) {
        let Ok(last) = self.connect_for_ever().await else {
            return;
        };
        if !self.outbox.is_empty() {
            let batch = self.cut();
            if self.messages.send(Message::Batch(batch)).await.is_err() {
                return;
            }
        }
        // An error means that the source is gone, and with it whoever would care.
        self.messages.send(last).await.ok();
    }

    async fn connect_for_ever(&mut self) -> Result<Message, Closed> {
        loop {
            let started = Instant::now();
            self.events = 0;
            let before = self.token.next_offset;
            let ending = self.connection().await?;
            self.pace = Pace::default();
            let lasted = started.elapsed();
            let wait = match ending {
                Ending::End => return Ok(Message::End),
                Ending::Fatal(reason) => return Ok(Message::Fatal(reason)),
                Ending::Wait { reason, at_least } => {
                    self.say_waiting(reason);
                    self.backoff.next(at_least)
                }
                Ending::Cut(reason) => {
                    tracing::debug!(connector = %self.name, reason, ?lasted, "connection ended");
                    let useful = lasted >= SHORT || self.token.next_offset > before;
                    let least = match self.events {
                        _ if lasted >= SHORT => Duration::ZERO,
                        0 => self.backoff.next(None),
                        _ => self.backoff.short(),
                    };
                    // The server has a say in how soon, but one that gives nothing, or nothing
                    // new, is not asked as fast as the network allows, whatever it says.
                    match self.token.retry_ms.map(reconnection_time) {
                        Some(asked) if useful => asked,
                        Some(asked) => asked.max(least),
                        None => least,
                    }
                }
            };
            self.meanwhile(tokio::time::sleep(wait)).await?;
        }
    }

    /// One connection, from request to end.
    async fn connection(&mut self) -> Result<Ending, Closed> {
        let client = match self.client() {
            Ok(client) => client,
            Err(error) => return Ok(Ending::Fatal(error.to_string())),
        };
        let mut events = client.stream();
        loop {
            match self.meanwhile(events.next()).await? {
                Some(Ok(SSE::Event(event))) => {
                    self.events += 1;
                    self.pace.event();
                    if self.events == 1 {
                        self.backoff.reset();
                    }
                    self.take(
                        &event.event_type,
                        &event.data,
                        event.id.as_deref().unwrap_or_default(),
                    );
                }
                Some(Ok(SSE::Comment(comment))) => self.note(&comment),
                Some(Ok(SSE::Connected(_))) => self.connected(),
                Some(Err(Error::Transport(error))) => {
                    return Ok(match error.inner().downcast_ref::<Failure>() {
                        Some(failure) => self.judge(failure),
                        None => Ending::Fatal(format!("{}: {error}", shown(&self.settings.url))),
                    });
                }
                Some(Err(error)) => return Ok(Ending::Cut(error.to_string())),
                None => return Ok(Ending::Cut("end of stream".to_owned())),
            }
        }
    }

    /// A client for one connection. Its own reconnecting is off: it can neither rewind the id nor
    /// hear Retry-After.
    fn client(&self) -> Result<impl Client + use<>, Error> {
        let id = &self.token.id;
        let mut url: Url = self.settings.url.clone();
        if id.is_empty() {
            // A server without ids can still be asked by time: from the newest record on.
            let newest_ms = self.token.newest_ms;
            if let Some(since_ms) = self
                .settings
                .since_ms
                .map(|since_ms| newest_ms.unwrap_or(since_ms))
            {
                url.query_pairs_mut()
                    .append_pair("since", &since_ms.to_string());
            }
        }
        let mut builder = ClientBuilder::for_url(url.as_str())?
            .reconnect(ReconnectOptions::reconnect(false).build());
        if !id.is_empty() {
            let rewound = self
                .settings
                .rewind_ms
                .and_then(|ms| rewind(id, ms, self.token.newest_ms));
            builder = builder.last_event_id(rewound.unwrap_or_else(|| id.clone()));
        }
        Ok(builder.build_with_transport(self.transport.after(id)))
    }

    fn connected(&mut self) {
        if self.connections > 0 {
            LegStats::add(&self.stats.reconnects, 1);
        }
        self.connections += 1;
        if let Some(dedupe) = &mut self.dedupe {
            dedupe.connected();
        }
        tracing::debug!(connector = %self.name, connections = self.connections, "connected");
        // Only what we said ourselves, or nobody did: the leg may be waiting for its sink.
        let said = self.waiting.take().unwrap_or(Status::Starting);
        if self.stats.status() == said {
            self.stats.set_status(Status::Running);
            tracing::info!(connector = %self.name, "connected");
        }
    }

    fn say_waiting(&mut self, reason: String) {
        let status = Status::Waiting(reason.clone());
        if self.stats.set_status(status.clone()) {
            tracing::warn!(connector = %self.name, reason, "waiting");
        }
        self.waiting = Some(status);
    }

    fn judge(&self, failure: &Failure) -> Ending {
        let reason = failure.to_string();
        match failure {
            Failure::Unreachable { .. } => Ending::Wait {
                reason,
                at_least: None,
            },
            Failure::Busy { retry_after, .. } => Ending::Wait {
                reason,
                at_least: *retry_after,
            },
            // A proxy's error page, if the stream was there before; a wrong address if not.
            Failure::NotAStream { .. } if self.connections > 0 => Ending::Wait {
                reason,
                at_least: None,
            },
            Failure::Silent(_) | Failure::Broken(_) => Ending::Cut(reason),
            Failure::NoContent { .. } => Ending::End,
            Failure::Refused { .. } | Failure::NotAStream { .. } | Failure::Redirect { .. } => {
                Ending::Fatal(reason)
            }
        }
    }

    fn note(&mut self, comment: &str) {
        match Note::parse(comment) {
            Some(Note::Cut(bytes)) => self.cut_bytes = Some(bytes),
            Some(Note::Id(id)) => self.advance(id),
            Some(Note::RetryMs(retry_ms)) => {
                self.token.retry_ms = Some(retry_ms);
                self.outbox.moved();
            }
            None => {}
        }
    }

    /// The stream's position is now `id`. One that cannot be sent back stays unused: going on at
    /// the one before it repeats events and loses none.
    fn advance(&mut self, id: &str) {
        if self.token.id != id && HeaderValue::from_str(id).is_ok() {
            let rewinds = self.settings.rewind_ms.is_some();
            let later = rewinds.then(|| later(&self.token.id, id)).flatten();
            self.token.id.clear();
            self.token.id.push_str(later.as_deref().unwrap_or(id));
        }
        self.outbox.moved();
    }

    /// Wait for `event` and meanwhile send what is due. Nothing is taken in while the outbox is
    /// full: `event` is then not polled.
    ///
    /// A calm stream is not looked at while nothing of it could be sent: all that has come by then
    /// is taken in one go, which at the live rate is a fourth of the wake-ups' work.
    async fn meanwhile<F: Future>(&mut self, event: F) -> Result<F::Output, Closed> {
        let mut event = pin!(event);
        let messages = self.messages.clone();
        let mut free = self.free.clone();
        let mut rested = false;
        loop {
            let full = self.outbox.is_full();
            let since = *free.borrow_and_update();
            if !full && self.pace.is_calm() {
                // Never for longer at a time: a sink that is away must not keep the stream from
                // filling the outbox.
                if let Some(rest) = self.rest(since).filter(|_| !rested) {
                    tokio::select! {
                        () = tokio::time::sleep_until(rest) => rested = true,
                        changed = free.changed(), if since.is_none() => {
                            changed.map_err(|_| Closed)?;
                        }
                        () = messages.closed() => return Err(Closed),
                    }
                    continue;
                }
                // What the first look asks for the connection's task then reads.
                for _ in 0..2 {
                    if let Poll::Ready(output) = futures_util::poll!(&mut event) {
                        return Ok(output);
                    }
                    tokio::task::yield_now().await;
                }
            }
            let deadline = since.and_then(|since| self.outbox.deadline(since, self.linger()));
            let due = full || deadline.is_some_and(|at| at <= Instant::now());
            tokio::select! {
                biased;
                permit = messages.reserve(), if due => {
                    permit.map_err(|_| Closed)?.send(Message::Batch(self.cut()));
                    rested = false;
                }
                output = &mut event, if !full => return Ok(output),
                () = tokio::time::sleep_until(deadline.unwrap_or_else(Instant::now)),
                    if !due && deadline.is_some() => {}
                changed = free.changed(), if since.is_none() && !full => {
                    changed.map_err(|_| Closed)?;
                }
                () = messages.closed() => return Err(Closed),
            }
        }
    }

    fn linger(&self) -> Duration {
        match self.pace.is_calm() {
            true => self.settings.batch.linger_calm(),
            false => self.settings.batch.linger(),
        }
    }

    /// Until when nothing can be sent, whatever comes; `None` if it could be now.
    fn rest(&self, free: Option<Instant>) -> Option<Instant> {
        let now = Instant::now();
        let rest = match free {
            Some(free) => free + self.linger(),
            None => now + Pace::REST_MAX,
        };
        (rest > now).then(|| rest.min(now + Pace::REST_MAX))
    }

    fn cut(&mut self) -> Batch {
        let token = Token {
            tail_ms: self.dedupe.as_ref().and_then(Dedupe::tail_ms),
            offsets: self.lanes.offsets(),
            unnumbered: self.lanes.unnumbered(),
            rejected: self
                .rejected
                .iter()
                .map(|identity| identity.print())
                .collect(),
            ..self.token.clone()
        };
        self.outbox.cut(Position::Token(token.print().into()))
    }
}
