//! A connected producer: what it does in one write, and how that can end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gristmill_flow::SinkError;
use gristmill_record::Records;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::producer::{BaseProducer, Producer};

use super::completion::{Coordinator, Reminder};
use super::outstanding::{self, NotCommitted};
use super::{Delivery, Oversize, WriterConfig, record};
use crate::admin;
use crate::checkpoint::{self, Checkpoint};
use crate::context::Context;
use crate::error::{Doing, Trouble};

/// How long one blocking call waits before it looks again.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a write may take before it is given up: below transaction.timeout.ms, so that it is us
/// who end the transaction.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
const TRANSACTION_TIMEOUT_MS: &str = "60000";
/// What the producer may hold: one batch at a time, so this is only reached by large ones.
const QUEUE_KBYTES_MIN: usize = 16 << 10;
/// librdkafka's own bound of a set of records.
const BATCH_BYTES: usize = 1_000_000;

/// A producer that is ready to write, and what is stored.
pub(super) struct Live {
    producer: Arc<BaseProducer<Context>>,
    /// `max.message.bytes` of the topic and of the dead-letter topic.
    pub(super) limits: (usize, usize),
    pub(super) stored: BTreeMap<String, Checkpoint>,
    /// `None` without transactions, and where it cannot be asked.
    coordinator: Option<Coordinator>,
}

/// How an attempt ended.
#[derive(Debug)]
pub(super) enum Outcome {
    Committed,
    /// Not committed; the trouble says whether to try again.
    Failed(Trouble),
    /// The topic's limit was lowered since it was read: a fresh connection reads it anew, and then
    /// the record that is too large is known.
    LimitLowered(String),
    Fenced,
}

impl Outcome {
    pub(super) fn into_error(self) -> SinkError {
        match self {
            Self::Failed(trouble) => trouble.into(),
            Self::LimitLowered(reason) => Trouble::Passing(reason).into(),
            Self::Fenced | Self::Committed => {
                SinkError::Fenced("another copy took over".to_owned())
            }
        }
    }
}

/// A producer for `config`, not connected yet, to topics with these limits.
fn producer_for(
    config: &WriterConfig,
    limits: (usize, usize),
) -> Result<BaseProducer<Context>, Trouble> {
    let lasting = |error: crate::ConfigError| Trouble::Lasting(error.to_string());
    let mut client = config.kafka.client().map_err(lasting)?;
    let mut default = |key: &str, value: &str| {
        if !config.kafka.properties.contains_key(key) {
            client.set(key, value);
        }
    };
    // A batch is handed over whole and then flushed, which sends what is there: no record is to wake
    // a broker's thread before that.
    default("linger.ms", "100");
    default("transaction.timeout.ms", TRANSACTION_TIMEOUT_MS);
    default(
        "delivery.timeout.ms",
        &delivery_timeout_ms(&config.kafka).to_string(),
    );
    // The limit is one of a set of records that are sent together, too.
    let smallest = limits.0.min(limits.1);
    default("batch.size", &smallest.clamp(1, BATCH_BYTES).to_string());
    let limit = limits.0.max(limits.1).max(admin::MAX_MESSAGE_BYTES);
    let queue = QUEUE_KBYTES_MIN.max(limit / 512);
    client
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("delivery.report.only.error", "true")
        .set("compression.type", config.compression.name())
        // Java's default partitioner: the same key goes to the same partition from both.
        .set("partitioner", "murmur2_random")
        .set("message.max.bytes", limit.min(1_000_000_000).to_string())
        .set("queue.buffering.max.kbytes", queue.to_string());
    match config.delivery {
        Delivery::ExactlyOnce => {
            client.set("transactional.id", &config.transactional_id);
        }
        // A property of transactions only; librdkafka refuses none, but says so in the log.
        Delivery::AtLeastOnce => {
            client.remove("transaction.timeout.ms");
        }
    }
    client
        .create_with_context(Context::default())
        .map_err(|error| lasting(config.kafka.refused(error)))
}

/// How long a record may take: as long as a write, and never longer than its transaction, which
/// librdkafka refuses.
fn delivery_timeout_ms(kafka: &crate::KafkaConfig) -> u128 {
    let transaction_ms = kafka.properties.get("transaction.timeout.ms");
    let transaction_ms = transaction_ms.and_then(|ms| ms.parse().ok());
    WRITE_TIMEOUT
        .as_millis()
        .min(transaction_ms.unwrap_or(u128::MAX))
}

/// A producer for `config`, to see whether there can be one.
pub(super) fn producer(config: &WriterConfig) -> Result<(), Trouble> {
    producer_for(config, (admin::MAX_MESSAGE_BYTES, admin::MAX_MESSAGE_BYTES)).map(drop)
}

/// Connect, shut other copies out, and read what is stored.
pub(super) async fn connect(config: &WriterConfig, instance: &str) -> Result<Live, Outcome> {
    let topics: Vec<&str> = std::iter::once(config.topic.as_str())
        .chain(config.dead_letter_topic.as_deref())
        .collect();
    let limits = admin::max_message_bytes(&config.kafka, &topics).await;
    let limits = (limits[0], limits.last().copied().unwrap_or(limits[0]));
    let (config, instance) = (config.clone(), instance.to_owned());
    blocking(move || {
        let producer = producer_for(&config, limits).map_err(Outcome::Failed)?;
        let mut coordinator = None;
        if config.delivery == Delivery::ExactlyOnce {
            init(&config, &producer)?;
            own(&config, &producer, &instance)?;
            coordinator = Coordinator::find(&producer, &config.transactional_id);
        }
        let stored = checkpoint::read(
            &config.kafka,
            &config.checkpoint_topic,
            &config.transactional_id,
        )
        .map_err(Outcome::Failed)?;
        Ok(Live {
            producer: Arc::new(producer),
            limits,
            stored: stored.lanes,
            coordinator,
        })
    })
    .await
    .unwrap_or_else(|trouble| Err(Outcome::Failed(trouble)))
}

/// The copy of this writer that opened last.
pub(super) async fn owner(config: &WriterConfig) -> Result<Option<String>, Trouble> {
    let config = config.clone();
    blocking(move || {
        checkpoint::read(
            &config.kafka,
            &config.checkpoint_topic,
            &config.transactional_id,
        )
    })
    .await?
    .map(|stored| stored.owner)
}

/// Run what may wait for brokers away from the runtime's workers.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Trouble> {
    let task = tokio::task::spawn_blocking(work);
    task.await
        .map_err(|error| Trouble::Lasting(format!("a writer's thread died: {error}")))
}

fn doing(config: &WriterConfig) -> Doing<'_> {
    Doing::Write {
        topic: &config.topic,
        transactional_id: &config.transactional_id,
    }
}

fn init(config: &WriterConfig, producer: &BaseProducer<Context>) -> Result<(), Outcome> {
    let Err(error) = producer.init_transactions(CALL_TIMEOUT * 2) else {
        return Ok(());
    };
    // Let the client say what it found in the way (a refused login, say).
    producer.poll(Duration::from_millis(10));
    let code = error.rdkafka_error_code().unwrap_or(Code::Fail);
    if is_fenced(code) {
        return Err(Outcome::Fenced);
    }
    let timed_out = matches!(code, Code::OperationTimedOut | Code::Fatal);
    let cause = producer
        .context()
        .trouble()
        .filter(|_| timed_out)
        .unwrap_or(code.into());
    Err(Outcome::Failed(doing(config).explain(cause, &config.kafka)))
}

/// Write down, in a transaction of its own, which copy of the writer this is.
fn own(
    config: &WriterConfig,
    producer: &BaseProducer<Context>,
    instance: &str,
) -> Result<(), Outcome> {
    let value = checkpoint::owner_value(instance);
    let begun = producer.begin_transaction().and_then(|()| {
        let record = rdkafka::producer::BaseRecord::to(&config.checkpoint_topic)
            .key(config.transactional_id.as_bytes())
            .payload(&value[..]);
        producer.send(record).map_err(|(error, _)| error)
    });
    if let Err(error) = begun {
        return Err(failed(config, producer, code_of(&error)));
    }
    let (_, outcome) = commit(config, producer);
    match outcome {
        Outcome::Committed => Ok(()),
        outcome => Err(outcome),
    }
}

fn is_fenced(code: Code) -> bool {
    matches!(
        code,
        Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch
    )
}

fn code_of(error: &KafkaError) -> Code {
    error.rdkafka_error_code().unwrap_or(Code::Fail)
}

/// What an error means, with the cause that a record's own report gives.
fn failed(config: &WriterConfig, producer: &BaseProducer<Context>, code: Code) -> Outcome {
    let fatal = producer.client().fatal_error().map(|(code, _)| code);
    if is_fenced(code) || fatal.is_some_and(is_fenced) {
        return Outcome::Fenced;
    }
    let undelivered = producer.context().take_undelivered();
    let topic = undelivered
        .as_ref()
        .map_or(config.topic.as_str(), |record| &record.topic);
    let code = undelivered.as_ref().map_or(code, |record| record.code);
    explain(config, topic, code)
}

fn explain(config: &WriterConfig, topic: &str, code: Code) -> Outcome {
    if code == Code::MessageSizeTooLarge {
        return Outcome::LimitLowered(format!("topic `{topic}` takes smaller records than before"));
    }
    let doing = Doing::Write {
        topic,
        transactional_id: &config.transactional_id,
    };
    Outcome::Failed(doing.explain(code, &config.kafka))
}

/// Wait for all records and commit. The flag says whether the producer can be used again: not if
/// the outcome is unknown or its state is lost.
fn commit(config: &WriterConfig, producer: &BaseProducer<Context>) -> (bool, Outcome) {
    let deadline = Instant::now() + WRITE_TIMEOUT + CALL_TIMEOUT;
    loop {
        let Err(why) = outstanding::commit(producer) else {
            return (true, Outcome::Committed);
        };
        let NotCommitted {
            code,
            requires_abort,
            is_retriable,
        } = why;
        if requires_abort {
            let outcome = failed(config, producer, code);
            return (
                abort(producer) && !matches!(outcome, Outcome::Fenced),
                outcome,
            );
        }
        if !is_retriable || Instant::now() > deadline {
            return (false, failed(config, producer, code));
        }
    }
}

/// Abort; false if the producer is of no more use.
fn abort(producer: &BaseProducer<Context>) -> bool {
    for _ in 0..2 {
        match producer.abort_transaction(CALL_TIMEOUT) {
            Ok(()) => {
                outstanding::flush(producer, Instant::now() + CALL_TIMEOUT);
                producer.context().take_undelivered();
                return true;
            }
            Err(error) => {
                let again = matches!(&error, KafkaError::Transaction(e) if e.is_retriable());
                tracing::debug!(%error, again, "abort");
                if !again {
                    return false;
                }
            }
        }
    }
    false
}

impl Live {
    /// After a commit: see to it that the next transaction need not wait for it.
    pub(super) fn remind(&self) -> Option<Reminder> {
        let coordinator = self.coordinator?;
        Some(coordinator.remind(Arc::clone(&self.producer)))
    }

    /// Records that are too large for the topic.
    pub(super) fn oversize(
        &self,
        config: &WriterConfig,
        records: &Records,
    ) -> Vec<(usize, String)> {
        if config.oversize == Oversize::Cut {
            return Vec::new();
        }
        let refused = |(index, record)| {
            Some((
                index,
                record::refusal(&record, &config.topic, self.limits.0)?,
            ))
        };
        records.iter().enumerate().filter_map(refused).collect()
    }

    /// Write everything; the producer comes back if it can be used again.
    pub(super) async fn write(
        self,
        config: &WriterConfig,
        records: &Records,
        rejects: Option<&Records>,
        checkpoint: (&str, &[u8]),
    ) -> (Option<Self>, Outcome) {
        let exactly_once = config.delivery == Delivery::ExactlyOnce;
        if exactly_once && let Err(error) = self.producer.begin_transaction() {
            return (None, failed(config, &self.producer, code_of(&error)));
        }
        let mut sent = self.send(config, records, rejects).await;
        if exactly_once && sent.is_ok() {
            sent = self.send_checkpoint(config, checkpoint).await;
        }
        let producer = Arc::clone(&self.producer);
        let task_config = config.clone();
        let work = move || match sent {
            Err(error) => {
                let outcome = failed(&task_config, &producer, code_of(&error));
                (!exactly_once || abort(&producer), outcome)
            }
            Ok(()) if exactly_once => commit(&task_config, &producer),
            Ok(()) => deliver(&task_config, &producer),
        };
        let (usable, mut outcome) = match blocking(work).await {
            Ok(result) => result,
            Err(trouble) => (false, Outcome::Failed(trouble)),
        };
        if !exactly_once && matches!(outcome, Outcome::Committed) {
            outcome = self.store_after(config, checkpoint).await;
        }
        let usable = usable && !matches!(outcome, Outcome::LimitLowered(_));
        (usable.then_some(self), outcome)
    }

    async fn send(
        &self,
        config: &WriterConfig,
        records: &Records,
        rejects: Option<&Records>,
    ) -> Result<(), KafkaError> {
        for record in records.iter() {
            match config.oversize {
                Oversize::Reject => record::send(&self.producer, &config.topic, &record).await?,
                Oversize::Cut => {
                    record::send_cut(&self.producer, &config.topic, &record, self.limits.0).await?;
                }
            }
        }
        if let (Some(rejects), Some(topic)) = (rejects, &config.dead_letter_topic) {
            for record in rejects.iter() {
                record::send_cut(&self.producer, topic, &record, self.limits.1).await?;
            }
        }
        Ok(())
    }

    async fn send_checkpoint(
        &self,
        config: &WriterConfig,
        (key, value): (&str, &[u8]),
    ) -> Result<(), KafkaError> {
        let topic = &config.checkpoint_topic;
        record::send_parts(&self.producer, topic, -1, Some(key.as_bytes()), value, None).await
    }

    /// At least once: the records are durable, now the position.
    async fn store_after(&self, config: &WriterConfig, checkpoint: (&str, &[u8])) -> Outcome {
        if let Err(error) = self.send_checkpoint(config, checkpoint).await {
            return failed(config, &self.producer, code_of(&error));
        }
        let (producer, config) = (Arc::clone(&self.producer), config.clone());
        match blocking(move || deliver(&config, &producer).1).await {
            Ok(outcome) => outcome,
            Err(trouble) => Outcome::Failed(trouble),
        }
    }
}

/// Wait for all records without a transaction. An idempotent producer that lost one is no more
/// use: those behind it may be out of order.
fn deliver(config: &WriterConfig, producer: &BaseProducer<Context>) -> (bool, Outcome) {
    let flushed = outstanding::flush(producer, Instant::now() + WRITE_TIMEOUT);
    match producer.context().take_undelivered() {
        None if flushed => (true, Outcome::Committed),
        lost => {
            let topic = lost
                .as_ref()
                .map_or(config.topic.as_str(), |record| &record.topic);
            let code = lost
                .as_ref()
                .map_or(Code::MessageTimedOut, |record| record.code);
            (false, explain(config, topic, code))
        }
    }
}
