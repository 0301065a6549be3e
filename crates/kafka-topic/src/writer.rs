//! A topic as a sink: records, dead letters and the position in one transaction.
//!
//! ```text
//! positions ─▶ init_transactions (fences other copies, settles what they left) ─▶ read checkpoints
//! write     ─▶ begin ─▶ records, dead letters, checkpoint ─▶ commit
//!                          │ error that passes: abort, Retry
//!                          └ outcome unknown: drop the producer; the next call makes a new one
//!                            and compares the stored checkpoint with the batch's
//! ```
//!
//! Calls that wait for brokers run on the blocking pool.

mod completion;
mod live;
mod outstanding;
mod record;

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use gristmill_flow::{Sink, SinkError, dead_letter_records};
use gristmill_record::{Batch, Lane, Position, Positions};

use crate::{KafkaConfig, checkpoint};
use completion::Reminder;
use live::{Live, Outcome};

/// What a record is compressed with on its way and on disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip.
    Gzip,
    /// Snappy.
    Snappy,
    /// LZ4: fast, and small enough.
    #[default]
    Lz4,
    /// Zstandard: smaller, slower.
    Zstd,
}

impl Compression {
    fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

/// What a crash may do to the topic.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Delivery {
    /// Nothing: records and position in one transaction.
    #[default]
    ExactlyOnce,
    /// Records may come twice: first they, then the position. For brokers without transactions;
    /// a second copy of the connector is not fenced.
    AtLeastOnce,
}

/// What to do with a record that is larger than its topic takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Oversize {
    /// Refuse it ([`SinkError::Reject`]): it becomes a dead letter.
    #[default]
    Reject,
    /// Cut its value and say so in its `dead-letter.reason` header: for dead-letter topics, where
    /// nothing comes after.
    Cut,
}

/// Where and how to write.
#[derive(Debug, Clone)]
pub struct WriterConfig {
    /// The cluster.
    pub kafka: KafkaConfig,
    /// Where records go.
    pub topic: String,
    /// Where rejects go, in the same transaction. `None`: the writer takes no rejects.
    pub dead_letter_topic: Option<String>,
    /// The compacted topic that positions are kept on; see [`TopicSpec::checkpoint`].
    ///
    /// [`TopicSpec::checkpoint`]: crate::TopicSpec::checkpoint
    pub checkpoint_topic: String,
    /// Names this writer across restarts: pipeline and connector (and lane, for dead letters of
    /// one). A second writer of the same name shuts the first one out.
    pub transactional_id: String,
    /// Compression of what is written.
    pub compression: Compression,
    /// What a crash may do.
    pub delivery: Delivery,
    /// What to do with records too large for `topic`.
    pub oversize: Oversize,
}

/// Times in a row that a writer may be shut out while it connects, and how long it then waits.
const SHUT_OUT_MAX: u32 = 3;
const SHUT_OUT_DELAY: Duration = Duration::from_secs(1);

/// Writes batches to a topic.
pub struct TopicWriter {
    config: WriterConfig,
    /// Names this copy of the writer: different at every start.
    instance: String,
    writes: u64,
    /// The connected producer. Taken out for each write and put back if its state is known
    /// afterwards.
    live: Option<Live>,
    /// What the coordinator is asked after the last commit, unless a write comes first.
    reminder: Option<Reminder>,
    /// A write that may or may not have been committed.
    in_doubt: Option<(Lane, String)>,
    /// The coordinator shut this producer out: for a second copy, or for a transaction that took
    /// too long (a process that was suspended). Who opened the writer last tells them apart, and
    /// must be known before a new producer shuts out whoever that is.
    check_owner: bool,
    /// Times in a row that this copy was shut out before it was connected.
    shut_out: u32,
    /// The topics' limits when a record was last found too large for them.
    too_large_at: Option<(usize, usize)>,
    fenced: Option<String>,
}

impl TopicWriter {
    /// Check the configuration; connects on first use, so that a broker that is down is a
    /// [`SinkError::Retry`] of [`positions`](Sink::positions).
    ///
    /// # Errors
    /// [`SinkError::Fatal`] for a configuration that librdkafka does not take.
    pub fn open(config: WriterConfig) -> Result<Self, SinkError> {
        live::producer(&config).map_err(SinkError::from)?;
        // Seeded by the system's randomness: two copies must not get the same.
        let instance = format!("{:016x}", RandomState::new().hash_one(std::process::id()));
        Ok(Self {
            config,
            instance,
            writes: 0,
            live: None,
            reminder: None,
            in_doubt: None,
            check_owner: false,
            shut_out: 0,
            too_large_at: None,
            fenced: None,
        })
    }

    async fn live(&mut self) -> Result<Live, SinkError> {
        if let Some(reason) = &self.fenced {
            return Err(SinkError::Fenced(reason.clone()));
        }
        if let Some(live) = self.live.take() {
            return Ok(live);
        }
        if self.check_owner {
            match live::owner(&self.config).await? {
                Some(owner) if owner != self.instance => return Err(self.fence()),
                _ => self.check_owner = false,
            }
        }
        match live::connect(&self.config, &self.instance).await {
            Ok(live) => {
                self.shut_out = 0;
                Ok(live)
            }
            // Who was suspended here until the transaction timed out hears the same as who was
            // shut out by another copy. If there is one, it goes on doing so, or ends by our next
            // attempt: one of them is left.
            Err(Outcome::Fenced) if self.shut_out < SHUT_OUT_MAX => {
                self.shut_out += 1;
                Err(SinkError::Retry {
                    after: SHUT_OUT_DELAY,
                    reason: format!("shut out while connecting to `{}`", self.config.topic),
                })
            }
            Err(Outcome::Fenced) => Err(self.fence()),
            Err(outcome) => Err(outcome.into_error()),
        }
    }

    fn fence(&mut self) -> SinkError {
        let reason = format!(
            "another copy of this connector took over writing to `{}` (transactional id `{}`): \
             this one stops; run one copy, or give the other pipeline another name",
            self.config.topic, self.config.transactional_id
        );
        self.fenced = Some(reason.clone());
        SinkError::Fenced(reason)
    }

    /// After a new producer settled what the old one left: whether the write in doubt was `batch`,
    /// and was applied.
    fn settle(&mut self, live: &Live, batch: &Batch) -> bool {
        let Some((lane, write)) = self.in_doubt.take() else {
            return false;
        };
        let stored = live.stored.get(&lane.to_string());
        lane == batch.lane
            && stored.is_some_and(|stored| stored.write == write && stored.position == batch.next)
    }

    /// A batch goes on where the stored position is. The fence keeps other copies out; this keeps
    /// out what was read before another copy went on, or for another checkpoint.
    fn check(&self, live: &Live, batch: &Batch) -> Result<(), SinkError> {
        let stored = live.stored.get(&batch.lane.to_string());
        let stored = stored.map(|stored| &stored.position);
        let fits = stored.is_none() || stored == batch.from.as_ref();
        if fits || self.config.delivery == Delivery::AtLeastOnce {
            return Ok(());
        }
        Err(SinkError::Misaligned {
            lane: batch.lane.clone(),
            stored: stored.cloned(),
            reason: "another copy of this connector wrote meanwhile, or the batch was read twice"
                .to_owned(),
        })
    }

    async fn transact(&mut self, live: Live, batch: &Batch) -> Result<(), SinkError> {
        let rejects = if self.takes_rejects() && !batch.rejects.is_empty() {
            Some(dead_letter_records(&batch.lane, &batch.rejects))
        } else {
            None
        };
        let oversize = live.oversize(&self.config, &batch.records);
        if !oversize.is_empty() {
            self.live = Some(live);
            return Err(SinkError::Reject(oversize));
        }
        self.reminder = None;
        self.writes += 1;
        let write = format!("{}-{}", self.instance, self.writes);
        let value = checkpoint::lane_value(&batch.next, &write);
        // From here on a dropped future, too, leaves a write in doubt.
        self.in_doubt = Some((batch.lane.clone(), write.clone()));
        let limits = live.limits;
        let key = checkpoint::lane_key(&self.config.transactional_id, &batch.lane);
        let outcome = live
            .write(
                &self.config,
                &batch.records,
                rejects.as_ref(),
                (&key, &value),
            )
            .await;
        match outcome {
            (Some(mut live), Outcome::Committed) => {
                let stored = checkpoint::Checkpoint {
                    position: batch.next.clone(),
                    write,
                };
                live.stored.insert(batch.lane.to_string(), stored);
                self.reminder = live.remind();
                self.in_doubt = None;
                self.too_large_at = None;
                self.live = Some(live);
                Ok(())
            }
            // A fresh connection reads the limits anew. If that changed nothing, it never will.
            (_, Outcome::LimitLowered(reason)) if self.too_large_at == Some(limits) => {
                Err(SinkError::Fatal(format!(
                    "{reason} and than its `max.message.bytes` says, as far as that can be read: \
                     raise it to more than {} bytes, or allow the user DescribeConfigs on the topic",
                    limits.0
                )))
            }
            (live, Outcome::Fenced) => {
                drop(live);
                self.check_owner = true;
                Err(SinkError::Retry {
                    after: Duration::ZERO,
                    reason: format!(
                        "the transaction on `{}` was ended by others",
                        self.config.topic
                    ),
                })
            }
            (live, outcome) => {
                if let Outcome::LimitLowered(_) = &outcome {
                    self.too_large_at = Some(limits);
                }
                if live.is_some() {
                    // Aborted: nothing of it was applied.
                    self.in_doubt = None;
                }
                self.live = live;
                Err(outcome.into_error())
            }
        }
    }
}

impl Sink for TopicWriter {
    async fn positions(&mut self, lanes: &[Lane]) -> Result<Positions, SinkError> {
        let live = self.live().await?;
        let stored = lanes.iter().filter_map(|lane| {
            let stored = live.stored.get(&lane.to_string())?;
            Some((lane.clone(), stored.position.clone()))
        });
        let positions: BTreeMap<Lane, Position> = stored.collect();
        self.in_doubt = None;
        self.live = Some(live);
        Ok(positions)
    }

    async fn write(&mut self, batch: &Batch) -> Result<(), SinkError> {
        let live = self.live().await?;
        if self.settle(&live, batch) {
            tracing::debug!(lane = %batch.lane, "the write in doubt was committed");
            self.live = Some(live);
            return Ok(());
        }
        if let Err(error) = self.check(&live, batch) {
            self.live = Some(live);
            return Err(error);
        }
        self.transact(live, batch).await
    }

    fn takes_rejects(&self) -> bool {
        self.config.dead_letter_topic.is_some()
    }

    async fn close(&mut self) {
        if let Some(live) = self.live.take() {
            // Dropping waits for librdkafka's threads.
            let _ = tokio::task::spawn_blocking(move || drop(live)).await;
        }
    }
}
