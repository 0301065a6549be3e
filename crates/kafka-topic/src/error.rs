//! librdkafka's error codes in the words of whoever has to do something about them.

use std::time::Duration;

use gristmill_flow::{SinkError, SourceError};
use rdkafka::error::RDKafkaErrorCode as Code;

use crate::KafkaConfig;
use crate::context::Cause;

/// How long a leg waits before it asks again. librdkafka reconnects by itself meanwhile.
const RETRY_AFTER: Duration = Duration::from_millis(500);
/// In the reason where a topic is missing: [`is_missing_topic`] looks for it.
const MISSING: &str = "does not exist at";

/// Whether `error` says that there is no such topic (yet): to a leg a reason to wait, to one who
/// only wants to look the end.
pub fn is_missing_topic(error: &SourceError) -> bool {
    matches!(error, SourceError::Retry { reason, .. } if reason.contains(MISSING))
}

/// What was tried, for the message.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Doing<'a> {
    Read {
        topic: &'a str,
        group: Option<&'a str>,
    },
    Write {
        topic: &'a str,
        transactional_id: &'a str,
    },
    Create {
        topic: &'a str,
    },
}

/// Whether waiting helps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trouble {
    Passing(String),
    Lasting(String),
}

impl From<Trouble> for SourceError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Passing(reason) => Self::Retry {
                after: RETRY_AFTER,
                reason,
            },
            Trouble::Lasting(reason) => Self::Fatal(reason),
        }
    }
}

impl From<Trouble> for SinkError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Passing(reason) => Self::Retry {
                after: RETRY_AFTER,
                reason,
            },
            Trouble::Lasting(reason) => Self::Fatal(reason),
        }
    }
}

impl Doing<'_> {
    fn topic(&self) -> &str {
        match self {
            Self::Read { topic, .. } | Self::Write { topic, .. } | Self::Create { topic } => topic,
        }
    }

    /// Whether this is the first that is asked of the cluster: what is wrong from the start is the
    /// configuration's fault, and what goes wrong later (a certificate that expires) passes.
    fn is_first(&self) -> bool {
        matches!(self, Self::Create { .. } | Self::Read { group: None, .. })
    }

    /// What `cause` means here.
    pub(crate) fn explain(&self, cause: impl Into<Cause>, kafka: &KafkaConfig) -> Trouble {
        use Trouble::{Lasting, Passing};
        let topic = self.topic();
        let at = kafka.at();
        let code = match cause.into() {
            Cause::Code(code) => code,
            Cause::Handshake(why) if why.is_certain() && self.is_first() => {
                return Lasting(why.explain(&at));
            }
            Cause::Handshake(why) => return Passing(why.explain(&at)),
        };
        match code {
            Code::TopicAuthorizationFailed => {
                let (verb, rights) = match self {
                    Self::Read { .. } => ("read", "READ and DESCRIBE"),
                    Self::Write { .. } => ("write to", "WRITE and DESCRIBE"),
                    Self::Create { .. } => ("create", "CREATE and DESCRIBE"),
                };
                Lasting(format!(
                    "no right to {verb} topic `{topic}` at {at}: grant {rights} on it to this user"
                ))
            }
            Code::ClusterAuthorizationFailed => Lasting(match self {
                Self::Create { .. } => format!(
                    "no right to create topic `{topic}` at {at}: grant CREATE on it to this user, \
                     or have it created"
                ),
                _ => format!(
                    "no right to write with an idempotent producer at {at}: grant \
                     IDEMPOTENT_WRITE on the cluster to this user"
                ),
            }),
            Code::GroupAuthorizationFailed => {
                let group = match self {
                    Self::Read { group, .. } => group.unwrap_or_default(),
                    _ => "",
                };
                Lasting(format!(
                    "no right to use consumer group `{group}` at {at}: grant READ on it to this user"
                ))
            }
            Code::TransactionalIdAuthorizationFailed => {
                let id = match self {
                    Self::Write {
                        transactional_id, ..
                    } => transactional_id,
                    _ => "",
                };
                Lasting(format!(
                    "no right to use transactional id `{id}` at {at}: grant WRITE and DESCRIBE on \
                     it to this user"
                ))
            }
            Code::Authentication | Code::SaslAuthenticationFailed => Lasting(format!(
                "{at} refused the login: check `username`, `password` and `mechanism` in \
                 `kafka.sasl`"
            )),
            Code::UnsupportedFeature | Code::UnsupportedVersion
                if matches!(self, Self::Write { .. }) =>
            {
                Lasting(format!(
                    "{at} has no transactions, which exactly-once delivery to `{topic}` needs: \
                     upgrade it, or set `delivery: at-least-once`"
                ))
            }
            Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition => {
                Passing(format!(
                    "topic `{topic}` {MISSING} {at} (yet): create it, or list it under \
                     `topics`"
                ))
            }
            Code::InvalidTopic => Lasting(format!(
                "`{topic}` is no valid topic name: use letters, digits, `.`, `_` and `-`, at most \
                 249 of them"
            )),
            Code::InvalidTransactionTimeout => Lasting(format!(
                "{at} allows no transaction as long as ours: raise transaction.max.timeout.ms \
                 there, or lower transaction.timeout.ms in kafka.properties"
            )),
            Code::AllBrokersDown
            | Code::BrokerTransportFailure
            | Code::Resolve
            | Code::NetworkException
            | Code::BrokerNotAvailable => Passing(format!(
                "no connection to Kafka at {at}: waiting for a broker"
            )),
            Code::OperationTimedOut | Code::RequestTimedOut | Code::MessageTimedOut => {
                Passing(format!("Kafka at {at} does not answer in time (`{topic}`)"))
            }
            Code::NotEnoughReplicas | Code::NotEnoughReplicasAfterAppend => Passing(format!(
                "topic `{topic}` has too few in-sync replicas to accept records: waiting for a \
                 broker of {at}"
            )),
            code => Passing(format!("Kafka at {at}, topic `{topic}`: {code}")),
        }
    }
}
