//! What the cluster refuses, in the words of whoever has to do something about it.

use std::time::Duration;

use fluvio::FluvioError;
use fluvio_protocol::link::ErrorCode;
use fluvio_socket::SocketError;
use gristmill_flow::{SinkError, SourceError};

/// How long a leg waits before it asks again: long for a cluster that lost our connection to carry out what it
/// had read of it, so that a look at the topic then shows it.
pub(crate) const RETRY_AFTER: Duration = crate::SETTLE;
/// In the reason where a topic is missing: [`is_missing_topic`] looks for it.
const MISSING: &str = "does not exist at";

/// Whether `error` says that there is no such topic (yet): to a leg a reason to wait, to one who
/// only wants to look the end.
pub fn is_missing_topic(error: &SourceError) -> bool {
    matches!(error, SourceError::Retry { reason, .. } if reason.contains(MISSING))
}

/// Whether waiting helps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trouble {
    Passing(String),
    Lasting(String),
    /// A batch that the topic does not take.
    TooLarge,
}

impl Trouble {
    pub(crate) fn missing(topic: &str, at: &str) -> Self {
        Self::Passing(format!("topic `{topic}` {MISSING} {at}"))
    }

    /// An answer of the cluster about `what` (a topic, a partition of one).
    pub(crate) fn told(code: &ErrorCode, what: &str) -> Self {
        match code {
            ErrorCode::MessageTooLarge => Self::TooLarge,
            ErrorCode::PermissionDenied => Self::Lasting(format!(
                "{what}: permission denied; allow this client to read and write it"
            )),
            ErrorCode::CompressionError => Self::Lasting(format!(
                "{what}: the topic takes another compression only: set `meta.producer.compression` to \
                 what `fluvio topic describe` shows"
            )),
            ErrorCode::TopicInvalidName => Self::Lasting(format!(
                "{what}: the cluster does not take this name: only a-z, 0-9 and `-`"
            )),
            // A leader that moves, a follower that is behind, a partition that is full for now.
            code => Self::Passing(format!("{what}: {code}")),
        }
    }

    /// No answer.
    pub(crate) fn socket(error: &SocketError, at: &str) -> Self {
        Self::Passing(format!("Fluvio at {at} does not answer: {}", words(error)))
    }

    /// What the client's administrative half says.
    pub(crate) fn admin(error: &anyhow::Error, at: &str) -> Self {
        if let Some(error) = error.downcast_ref::<SocketError>() {
            return Self::socket(error, at);
        }
        match error.downcast_ref::<FluvioError>() {
            Some(FluvioError::Socket(error)) => Self::socket(error, at),
            _ => {
                let text = error.to_string();
                if text.contains("not compatible") || text.contains("older than") {
                    return Self::Lasting(format!("Fluvio at {at}: {text}"));
                }
                Self::Passing(format!("Fluvio at {at}: {text}"))
            }
        }
    }

    fn reason(self) -> Result<String, String> {
        match self {
            Self::Passing(reason) => Ok(reason),
            Self::Lasting(reason) => Err(reason),
            Self::TooLarge => Err("a batch is larger than the cluster takes: raise the SPU's \
                                   maximum batch size"
                .to_owned()),
        }
    }
}

/// The library hides the system's words behind `Socket io`.
fn words(error: &SocketError) -> String {
    match error {
        SocketError::Io { source, .. } => source.to_string(),
        error => error.to_string(),
    }
}

impl From<Trouble> for SourceError {
    fn from(trouble: Trouble) -> Self {
        match trouble.reason() {
            Ok(reason) => Self::Retry {
                after: RETRY_AFTER,
                reason,
            },
            Err(reason) => Self::Fatal(reason),
        }
    }
}

impl From<Trouble> for SinkError {
    fn from(trouble: Trouble) -> Self {
        match trouble.reason() {
            Ok(reason) => Self::Retry {
                after: RETRY_AFTER,
                reason,
            },
            Err(reason) => Self::Fatal(reason),
        }
    }
}
