//! The [`Source`]: a lane, its resumption, and the task that reads it.

use std::collections::HashSet;
use std::future::pending;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use gristmill_flow::{Connector, LegStats, Source, SourceError, SourceEvent, TopicTail};
use gristmill_record::{Lane, Position, Positions, RecordRef};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::config::{Config, ConfigError, Settings};
use crate::dedupe::{Dedupe, Identity, Sighting};
use crate::inspect::Inspector;
use crate::lanes::Lanes;
use crate::recall::Recall;
use crate::resume::{Token, stamp_ms};
use crate::session::{Message, Session, Start};
use crate::transport::Transport;

/// An SSE stream as records of one lane, named after the connector.
///
/// Resumes at the stored position; with `rewind` and `dedupe` it reads the topic's tail first, so
/// that events that come again are told from new ones. Connections that end are opened anew
/// without the leg's noticing; a server that cannot be reached is tried for ever, and
/// [`LegStats::status`] says so.
pub struct SseSource<T> {
    lane: Lane,
    settings: Arc<Settings>,
    inspector: Arc<Inspector>,
    transport: Transport,
    tail: T,
    stats: Arc<LegStats>,
    stream: Option<Arc<str>>,
    transformed: bool,
    state: State,
    now_ms: fn() -> i64,
}

enum State {
    /// The lane is to be assigned.
    New,
    /// Assigned, and not resumed yet.
    Assigned,
    Running {
        messages: mpsc::Receiver<Message>,
        /// Since when we wait for a batch, for the task to know; `None` while the leg has one.
        free: watch::Sender<Option<Instant>>,
        _task: Task,
    },
    Ended,
    Failed(String),
}

/// Ends with its owner.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<T: TopicTail> SseSource<T> {
    /// A source that opens nothing before it is resumed. `name` is the connector's, and that of
    /// its lane; `tail` reads the topic that it writes to.
    ///
    /// # Errors
    /// The first value in `config` that means nothing.
    pub fn new(
        name: Arc<str>,
        config: Config,
        tail: T,
        stats: Arc<LegStats>,
    ) -> Result<Self, ConfigError> {
        let settings = Arc::new(config.settings()?);
        Ok(Self {
            lane: Lane::new(name, 0),
            inspector: Arc::new(Inspector::new(&settings)),
            transport: Transport::new(Arc::clone(&settings))?,
            settings,
            tail,
            stats,
            stream: None,
            transformed: false,
            state: State::New,
            now_ms: epoch_ms,
        })
    }

    /// The same source with another clock (milliseconds since the epoch) for records without a
    /// timestamp.
    #[must_use]
    pub fn with_clock(mut self, now_ms: fn() -> i64) -> Self {
        self.now_ms = now_ms;
        self
    }

    /// The same source as one of several streams into one topic; empty for the only one. Its
    /// records say whose they are ([`header::STREAM`](crate::header::STREAM)), because an id may
    /// be unique in its stream only.
    #[must_use]
    pub fn with_stream(mut self, name: &str) -> Self {
        self.stream = (!name.is_empty()).then(|| name.into());
        self
    }

    /// The same source before transforms, or before none. With `dedupe` its records carry what
    /// their events are known by ([`header::IDENTITY`](crate::header::IDENTITY)): what a transform
    /// leaves in the topic does not tell.
    #[must_use]
    pub fn with_transforms(mut self, transforms: bool) -> Self {
        self.transformed = transforms;
        self
    }

    fn token(&self, from: &Positions) -> Result<Option<Token>, SourceError> {
        match from.get(&self.lane) {
            None => Ok(None),
            Some(Position::Token(text)) => {
                let token = Token::parse(text);
                token
                    .map(Some)
                    .map_err(|error| SourceError::Fatal(format!("{}: {error}", self.lane)))
            }
            Some(position @ Position::Offset(_)) => Err(SourceError::Fatal(format!(
                "{}: the stored position is `{position}`, not that of an SSE stream: is the \
                 checkpoint another connector's?",
                self.lane
            ))),
        }
    }

    /// What the topic holds of what a rewind can bring back.
    async fn remember(
        &mut self,
        token: Option<&Token>,
        lanes: &mut Lanes,
    ) -> Result<Option<Dedupe>, SourceError> {
        let Some(settings) = &self.settings.dedupe else {
            return Ok(None);
        };
        let rewind_ms = self.settings.rewind_ms.unwrap_or(0);
        let mut dedupe = Dedupe::new(settings, rewind_ms);
        if let Some(token) = token {
            let stamp_ms = stamp_ms(&token.id, None).or(token.newest_ms).unwrap_or(0);
            for identity in token
                .rejected
                .iter()
                .filter_map(|text| Identity::parse(text))
            {
                dedupe.first(Sighting::not_in_topic(identity, stamp_ms));
            }
        }
        let tail_ms = match token {
            Some(token) => token.tail_ms,
            // The checkpoint is lost or the topic is another's: a replay may meet what is there.
            None => self
                .settings
                .since_ms
                .map(|since_ms| since_ms.saturating_sub(settings.window_ms)),
        };
        if let Some(tail_ms) = tail_ms {
            let mut recall = Recall {
                dedupe: &mut dedupe,
                lanes,
                inspector: &self.inspector,
                rewinds: self.settings.rewind_ms.is_some(),
                stream: self.stream.as_deref(),
                told: HashSet::new(),
            };
            let mut visit = |record: RecordRef<'_>| recall.visit(&record);
            let visited = self.tail.read(tail_ms.max(0), &mut visit).await?;
            tracing::debug!(connector = %self.lane.topic, tail_ms, visited, "read the topic's tail");
        }
        Ok(Some(dedupe))
    }
}

/// The next message, telling the task since when it is waited for.
async fn next_message(
    messages: &mut mpsc::Receiver<Message>,
    free: &watch::Sender<Option<Instant>>,
) -> Option<Message> {
    if let Ok(message) = messages.try_recv() {
        return Some(message);
    }
    free.send_replace(Some(Instant::now()));
    let message = messages.recv().await;
    // The task looks by itself before its next batch.
    free.send_if_modified(|since| {
        *since = None;
        false
    });
    message
}

impl<T: TopicTail> Source for SseSource<T> {
    async fn next(&mut self) -> Result<SourceEvent, SourceError> {
        match &mut self.state {
            State::New => {
                self.state = State::Assigned;
                Ok(SourceEvent::Assigned(vec![self.lane.clone()]))
            }
            State::Assigned => pending().await,
            State::Running { messages, free, .. } => match next_message(messages, free).await {
                Some(Message::Batch(batch)) => Ok(SourceEvent::Batch(batch)),
                Some(Message::End) => {
                    self.state = State::Ended;
                    Ok(SourceEvent::End)
                }
                Some(Message::Fatal(reason)) => {
                    self.state = State::Failed(reason.clone());
                    Err(SourceError::Fatal(reason))
                }
                None => Err(SourceError::Fatal(format!(
                    "{}: the reading task ended by itself; this is a bug",
                    self.lane
                ))),
            },
            State::Ended => Ok(SourceEvent::End),
            State::Failed(reason) => Err(SourceError::Fatal(reason.clone())),
        }
    }

    async fn resume(&mut self, lanes: &[Lane], from: &Positions) -> Result<(), SourceError> {
        if !lanes.contains(&self.lane) {
            return Ok(());
        }
        // First of all the old task ends: what it has read ahead must not be delivered.
        self.state = State::Assigned;
        let token = self.token(from)?;
        let mut lanes = token
            .as_ref()
            .map(|token| Lanes::restore(&token.offsets, token.unnumbered))
            .unwrap_or_default();
        let dedupe = self.remember(token.as_ref(), &mut lanes).await?;
        let start = Start {
            name: Arc::clone(&self.lane.topic),
            settings: Arc::clone(&self.settings),
            transport: self.transport.clone(),
            stats: Arc::clone(&self.stats),
            inspector: Arc::clone(&self.inspector),
            stream: self.stream.clone(),
            marks: self.transformed && dedupe.is_some(),
            dedupe,
            lanes,
            from: from.get(&self.lane).cloned(),
            token,
            now_ms: self.now_ms,
            rng: fastrand::Rng::new(),
        };
        // One batch waits here while another is written and a third is filled.
        let (sender, messages) = mpsc::channel(1);
        let (free, since) = watch::channel(None);
        let task = Task(tokio::spawn(Session::new(start, sender, since).run()));
        self.state = State::Running {
            messages,
            free,
            _task: task,
        };
        Ok(())
    }

    fn committed(&mut self, _lane: &Lane, _next: &Position) {}

    async fn close(&mut self) {
        self.state = State::Ended;
    }
}

impl<T: TopicTail> Connector for SseSource<T> {
    const TYPE: &'static str = "sse-source";
    const SPEC: &'static str = include_str!("../Connector.toml");
    type Config = Config;
}

fn epoch_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
