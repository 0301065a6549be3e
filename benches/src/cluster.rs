//! Topics and Redis, as the harness sees them.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::types::RDKafkaErrorCode as Code;

const TIMEOUT: Duration = Duration::from_secs(20);

/// A client of the cluster under the benchmark.
pub(crate) struct Kafka {
    pub(crate) brokers: String,
    admin: AdminClient<DefaultClientContext>,
    asker: BaseConsumer,
    runtime: tokio::runtime::Runtime,
}

impl Kafka {
    pub(crate) fn new(brokers: &str) -> Result<Self> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let _guard = runtime.enter();
        Ok(Self {
            brokers: brokers.to_owned(),
            admin: config.create()?,
            asker: config.create()?,
            runtime,
        })
    }

    /// Records in each partition of `topic`; empty if there is no such topic.
    pub(crate) fn ends(&self, topic: &str) -> Result<Vec<i64>> {
        let metadata = self.asker.fetch_metadata(Some(topic), TIMEOUT)?;
        let topic = metadata.topics().first().context("no metadata")?;
        if topic.error().is_some() {
            return Ok(Vec::new());
        }
        let ends = topic.partitions().iter().map(|partition| {
            let (_, high) = self
                .asker
                .fetch_watermarks(topic.name(), partition.id(), TIMEOUT)?;
            Ok(high)
        });
        ends.collect()
    }

    /// Make `topic`, with three copies as in the shipped pipeline, and wait until it has leaders.
    pub(crate) fn create(
        &self,
        topic: &str,
        partitions: i32,
        config: &[(&str, &str)],
    ) -> Result<()> {
        let copies = self.brokers.split(',').count().min(3) as i32;
        let mut new = NewTopic::new(topic, partitions, TopicReplication::Fixed(copies));
        for (key, value) in config {
            new = new.set(key, value);
        }
        let made = self.admin.create_topics([&new], &AdminOptions::new());
        for result in self.runtime.block_on(made)? {
            if let Err((name, code)) = result
                && code != Code::TopicAlreadyExists
            {
                bail!("cannot create `{name}`: {code}");
            }
        }
        let deadline = Instant::now() + TIMEOUT;
        while self.ends(topic).map_or(0, |ends| ends.len()) != partitions as usize {
            if Instant::now() > deadline {
                bail!("`{topic}` has no leaders yet");
            }
            pause(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Delete `topic`, if it is there.
    pub(crate) fn delete(&self, topic: &str) -> Result<()> {
        let deleted = self.admin.delete_topics(&[topic], &AdminOptions::new());
        self.runtime.block_on(deleted)?;
        Ok(())
    }
}

/// Sleep, on a thread that has nothing else to do.
pub(crate) fn pause(length: Duration) {
    #[allow(clippy::disallowed_methods, reason = "no runtime worker")]
    std::thread::sleep(length);
}
