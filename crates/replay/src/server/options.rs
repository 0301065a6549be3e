use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use crate::{GeneratorOptions, ReplayError};

/// What a [`super::Server`] serves, and how.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Where to listen. Port 0: any free one, see [`super::Server::addr`].
    pub listen: SocketAddr,
    /// The events.
    pub source: Source,
    /// Events a second and connection; `None` is as fast as the client reads. A client that fell
    /// behind by more than a second does not get the backlog at once.
    pub rate: Option<f64>,
    /// Drop each connection after this many events.
    pub cut_after: Option<u64>,
    /// How `Last-Event-ID` is understood.
    pub resume: Resume,
    /// What happens after the last event.
    pub at_end: AtEnd,
    /// Answer 403 to a request without `User-Agent`, as Wikimedia does.
    pub require_user_agent: bool,
    /// Set `meta.dt` of each event to the time of sending, in milliseconds, so that a consumer can
    /// measure latency. The data is then no longer byte-identical with the source's.
    pub stamp: bool,
    /// Misbehaviour on request.
    pub faults: Faults,
}

impl ServerOptions {
    /// A server on any free loopback port, without rate, cuts or faults.
    pub fn new(source: Source) -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            source,
            rate: None,
            cut_after: None,
            resume: Resume::Exact,
            at_end: AtEnd::Hold,
            require_user_agent: true,
            stamp: false,
            faults: Faults::default(),
        }
    }

    pub(super) fn check(&self) -> Result<(), ReplayError> {
        let wrong = |option, value: String, range| {
            Err(ReplayError::Option {
                option,
                value,
                range,
            })
        };
        match (self.rate, self.cut_after) {
            (Some(rate), _) if !(rate > 0.0 && rate.is_finite()) => wrong(
                "rate",
                rate.to_string(),
                "above 0 events a second; leave it out for no limit",
            ),
            (_, Some(0)) => wrong("cut-after", "0".into(), "1 event or more"),
            _ => Ok(()),
        }
    }
}

/// Where events come from.
#[derive(Debug, Clone)]
pub enum Source {
    /// A [`crate::Generator`].
    Generate {
        /// What to generate.
        options: GeneratorOptions,
        /// How many; `None` never ends.
        events: Option<u64>,
    },
    /// A recording of raw SSE bytes, such as `curl -N` writes.
    Sse(PathBuf),
    /// A recording with one JSON document a line.
    Ndjson(PathBuf),
}

impl Source {
    /// The recording at `path`, its kind taken from its extension: `.sse`, or `.ndjson`, `.jsonl`,
    /// `.json`.
    ///
    /// # Errors
    /// [`ReplayError::UnknownKind`] for any other extension.
    pub fn from_path(path: impl Into<PathBuf>) -> Result<Self, ReplayError> {
        let path = path.into();
        let extension = path.extension().and_then(|extension| extension.to_str());
        match extension.map(str::to_ascii_lowercase).as_deref() {
            Some("sse") => Ok(Self::Sse(path)),
            Some("ndjson" | "jsonl" | "json") => Ok(Self::Ndjson(path)),
            _ => Err(ReplayError::UnknownKind { path }),
        }
    }
}

/// How a server understands `Last-Event-ID`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Resume {
    /// An id that this log holds resumes right behind the last event that carries it: exact where
    /// no two events share an id, as with a generator without disorder. Any other id
    /// in Wikimedia's form, one that a client rewound for instance, is taken as in
    /// [`Resume::Wikimedia`].
    #[default]
    Exact,
    /// The way of Kafka's offsets-for-times: at the first event, in log order, whose timestamp is
    /// at least the id's. Where timestamps are not monotone this loses and repeats events.
    Wikimedia,
}

/// What a server does behind its last event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AtEnd {
    /// Keeps the connection open and silent, as a live stream would.
    #[default]
    Hold,
    /// Ends the response.
    Close,
    /// Ends the response, and answers 204 to a request that starts at the end: a client then
    /// stops. A client that rewinds its id never starts there; use [`AtEnd::Hold`] for it.
    NoContent,
}

/// Misbehaviour of a server. All of it is off by default; what happens when is decided by the seed
/// and the number of the connection. "Every n" means one in n on average.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Faults {
    /// Chooses among all schedules of faults.
    pub seed: u64,
    /// Cuts happen in the middle of the event that follows, instead of between two.
    pub cut_mid_event: bool,
    /// Drop the connection at one in n events.
    pub cut_every: Option<u64>,
    /// Send up to [`Faults::duplicates_max`] of the last events again at one in n events.
    pub duplicate_every: Option<u64>,
    /// At most this many events are sent again at once; 16 by default, 256 at most.
    pub duplicates_max: usize,
    /// Send nothing for [`Faults::stall`] at one in n events.
    pub stall_every: Option<u64>,
    /// Length of a stall.
    pub stall: Duration,
    /// Answer 429 or 503 with `Retry-After` to one in n requests.
    pub refuse_every: Option<u64>,
    /// Seconds in `Retry-After`.
    pub retry_after_s: u32,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            seed: 0,
            cut_mid_event: false,
            cut_every: None,
            duplicate_every: None,
            duplicates_max: 16,
            stall_every: None,
            stall: Duration::from_secs(2),
            refuse_every: None,
            retry_after_s: 1,
        }
    }
}
