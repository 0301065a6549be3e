//! What librdkafka calls back: its logs, its errors, the fate of each record.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::ProducerContext;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};

/// A record that was not delivered.
#[derive(Debug, Clone)]
pub(crate) struct Undelivered {
    pub(crate) topic: String,
    pub(crate) code: RDKafkaErrorCode,
}

/// Keeps the last trouble, so that a timeout can be told with its cause.
#[derive(Debug, Default)]
pub(crate) struct Context {
    trouble: Mutex<Option<RDKafkaErrorCode>>,
    undelivered: Mutex<Option<Undelivered>>,
}

impl Context {
    /// The last error the client reported by itself, such as a refused login.
    pub(crate) fn trouble(&self) -> Option<RDKafkaErrorCode> {
        *lock(&self.trouble)
    }

    /// The first record since the last call that was not delivered.
    pub(crate) fn take_undelivered(&self) -> Option<Undelivered> {
        lock(&self.undelivered).take()
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, fac: &str, message: &str) {
        log(level, fac, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", %error, reason);
        remember(&mut lock(&self.trouble), error.rdkafka_error_code());
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, _: ()) {
        if let Err((error, message)) = result {
            let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
            let mut first = lock(&self.undelivered);
            // A purge is what an abort does to the rest; the first one has the cause.
            if first.is_none()
                && !matches!(
                    code,
                    RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight
                )
            {
                *first = Some(Undelivered {
                    topic: message.topic().to_owned(),
                    code,
                });
            }
        }
    }
}

/// Lanes that came or went, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    Assigned(Vec<i32>),
    Revoked(Vec<i32>),
}

/// What a consumer is called back with, for the thread that polls it.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    trouble: Mutex<Option<RDKafkaErrorCode>>,
    end: Mutex<Option<i64>>,
    changes: Mutex<Vec<Change>>,
}

impl Reading {
    /// The last error the client reported by itself.
    pub(crate) fn trouble(&self) -> Option<RDKafkaErrorCode> {
        *lock(&self.trouble)
    }

    /// Where the partition ends whose end `poll` has just reported: everything before that offset
    /// was handed out or is not for readers (control markers, aborted records).
    pub(crate) fn take_end(&self) -> Option<i64> {
        lock(&self.end).take()
    }

    /// What the group gave and took since the last call.
    pub(crate) fn take_changes(&self) -> Vec<Change> {
        std::mem::take(&mut lock(&self.changes))
    }
}

/// The offset in librdkafka's end-of-partition event, which rdkafka does not hand on otherwise:
/// `Fetch from broker 1 reached end of partition at offset 42 (HighwaterMark 43)`.
fn end_offset(reason: &str) -> Option<i64> {
    let (_, rest) = reason.split_once("reached end of partition at offset ")?;
    rest.split_whitespace().next()?.parse().ok()
}

impl ClientContext for Reading {
    fn log(&self, level: RDKafkaLogLevel, fac: &str, message: &str) {
        log(level, fac, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code();
        if code == Some(RDKafkaErrorCode::PartitionEOF) {
            *lock(&self.end) = end_offset(reason);
            return;
        }
        tracing::debug!(target: "librdkafka", %error, reason);
        remember(&mut lock(&self.trouble), code);
    }
}

impl ConsumerContext for Reading {
    /// Take what the group gives, paused: the leg has yet to ask the sink where to go on.
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        event: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        let lanes = partitions
            .elements()
            .iter()
            .map(|p| p.partition())
            .collect();
        let result = if event == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            lock(&self.changes).push(Change::Assigned(lanes));
            // The group's own offsets are for lag tools: do not even ask for them. Paused at the
            // end, nothing is fetched until the real position is known.
            partitions
                .set_all_offsets(Offset::End)
                .and_then(|()| consumer.incremental_assign(partitions))
                .and_then(|()| consumer.pause(partitions))
        } else {
            lock(&self.changes).push(Change::Revoked(lanes));
            consumer.incremental_unassign(partitions)
        };
        if let Err(error) = result {
            tracing::warn!(%error, "rebalance");
        }
    }
}

/// A refused login makes the brokers count as down next; the login is what to tell.
pub(crate) fn remember(trouble: &mut Option<RDKafkaErrorCode>, code: Option<RDKafkaErrorCode>) {
    let login = matches!(
        trouble,
        Some(RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SaslAuthenticationFailed)
    );
    if let (Some(code), false) = (code, login) {
        *trouble = Some(code);
    }
}

/// librdkafka's log lines, as events of target `librdkafka`.
pub(crate) fn log(level: RDKafkaLogLevel, fac: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            tracing::error!(target: "librdkafka", "{fac}: {message}");
        }
        // Connections that fail and come back: the leg's status tells the user.
        RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning | RDKafkaLogLevel::Notice => {
            tracing::info!(target: "librdkafka", "{fac}: {message}");
        }
        RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => {
            tracing::debug!(target: "librdkafka", "{fac}: {message}");
        }
    }
}

/// A poisoned lock still holds plain data that is fit to be read.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
