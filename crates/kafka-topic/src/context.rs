//! What librdkafka calls back: its logs, its errors, the fate of each record.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::ProducerContext;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};

use crate::error::Trouble;
use crate::security::Handshake;

const NO_END: &str = "librdkafka does not say where a partition ends: this build's librdkafka does \
    not fit Gristmill";
/// How long a failed handshake explains that no broker answers.
const HANDSHAKE_COUNTS_FOR: Duration = Duration::from_secs(30);

/// Why the cluster cannot be used, as far as the client knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    Code(RDKafkaErrorCode),
    Handshake(Handshake),
}

impl From<RDKafkaErrorCode> for Cause {
    fn from(code: RDKafkaErrorCode) -> Self {
        Self::Code(code)
    }
}

impl Cause {
    /// A login or a handshake that was refused for sure: why all brokers count as down.
    pub(crate) fn is_refusal(self) -> bool {
        use RDKafkaErrorCode::{Authentication, SaslAuthenticationFailed};
        match self {
            Self::Handshake(why) => why.is_certain(),
            Self::Code(code) => matches!(code, Authentication | SaslAuthenticationFailed),
        }
    }

    /// How much it tells: what is heard later counts only if it tells as much.
    fn weight(self) -> u8 {
        match self {
            cause if cause.is_refusal() => 2,
            Self::Handshake(_) => 1,
            Self::Code(_) => 0,
        }
    }
}

/// The last thing that a client said is wrong.
#[derive(Debug, Default)]
struct Complaint(Option<(Cause, Instant)>);

impl Complaint {
    /// A refused login makes the brokers count as down next; the login is what to tell. So does a
    /// failed handshake, for a while: brokers get other certificates.
    fn hear(&mut self, error: &KafkaError, reason: &str) {
        let cause = match Handshake::from_reason(reason) {
            Some(handshake) => Some(Cause::Handshake(handshake)),
            None => error.rdkafka_error_code().map(Cause::Code),
        };
        self.note(cause);
    }

    /// Of a connection that was closed there may be only a line of the log.
    fn hear_log(&mut self, message: &str) {
        self.note(Handshake::from_reason(message).map(Cause::Handshake));
    }

    fn note(&mut self, cause: Option<Cause>) {
        let known = self.get().map_or(0, Cause::weight);
        if let Some(cause) = cause.filter(|cause| cause.weight() >= known) {
            self.0 = Some((cause, Instant::now()));
        }
    }

    fn get(&self) -> Option<Cause> {
        let (cause, heard) = self.0?;
        let stale = matches!(cause, Cause::Handshake(_)) && heard.elapsed() > HANDSHAKE_COUNTS_FOR;
        (!stale).then_some(cause)
    }
}

/// A record that was not delivered.
#[derive(Debug, Clone)]
pub(crate) struct Undelivered {
    pub(crate) topic: String,
    pub(crate) code: RDKafkaErrorCode,
}

/// Keeps the last trouble, so that a timeout can be told with its cause.
#[derive(Debug, Default)]
pub(crate) struct Context {
    trouble: Mutex<Complaint>,
    undelivered: Mutex<Option<Undelivered>>,
}

impl Context {
    /// The last error the client reported by itself, such as a refused login.
    pub(crate) fn trouble(&self) -> Option<Cause> {
        lock(&self.trouble).get()
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
        lock(&self.trouble).hear(&error, reason);
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

/// Where a partition stands until the leg sends it somewhere.
///
/// The lookup of such an offset may outlive the seek that follows: librdkafka (2.12.1) finds its
/// answer outdated, asks again half a second later and goes where the second answer says. At the
/// end, everything between the sink's position and there would be passed over unread; at the
/// beginning, records come that the lane has had, and it is sent on again.
const UNTIL_RESUMED: Offset = Offset::Beginning;

/// Lanes that came or went, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    Assigned(Vec<i32>),
    Revoked(Vec<i32>),
}

/// What a consumer is called back with, for the thread that polls it.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    trouble: Mutex<Complaint>,
    end: Mutex<Option<i64>>,
    changes: Mutex<Vec<Change>>,
}

impl Reading {
    /// The last error the client reported by itself.
    pub(crate) fn trouble(&self) -> Option<Cause> {
        lock(&self.trouble).get()
    }

    /// Where the partition ends whose end `poll` has just reported: everything before that offset
    /// was handed out or is not for readers (control markers, aborted records).
    pub(crate) fn take_end(&self) -> Result<i64, Trouble> {
        let end = lock(&self.end).take();
        end.ok_or_else(|| Trouble::Lasting(NO_END.to_owned()))
    }

    /// Take `partitions` outside of the group's assignment, as if the group had given them.
    pub(crate) fn take(
        &self,
        consumer: &BaseConsumer<Self>,
        topic: &str,
        partitions: Vec<i32>,
    ) -> Result<(), KafkaError> {
        let mut list = TopicPartitionList::new();
        for partition in &partitions {
            list.add_partition_offset(topic, *partition, UNTIL_RESUMED)?;
        }
        consumer.assign(&list)?;
        consumer.pause(&list)?;
        lock(&self.changes).push(Change::Assigned(partitions));
        Ok(())
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
        lock(&self.trouble).hear_log(message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code();
        if code == Some(RDKafkaErrorCode::PartitionEOF) {
            *lock(&self.end) = end_offset(reason);
            return;
        }
        tracing::debug!(target: "librdkafka", %error, reason);
        lock(&self.trouble).hear(&error, reason);
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
            // The group's own offsets are for lag tools: do not even ask for them. Paused, nothing is
            // fetched until the real position is known.
            partitions
                .set_all_offsets(UNTIL_RESUMED)
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

/// What a consumer without partitions has found in the way. A client says so only to who asks for
/// its events, and has some for each of its attempts; log lines are among them, each of which ends
/// a poll with nothing.
pub(crate) fn heard(consumer: &BaseConsumer<Reading>) -> Option<Cause> {
    const EVENTS_MAX: usize = 64;
    for _ in 0..EVENTS_MAX {
        let _ = consumer.poll(Duration::ZERO);
    }
    consumer.context().trouble()
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
