//! What the topic already holds.

use gristmill_flow::{SourceError, TopicTail};
use gristmill_record::RecordRef;

use crate::{FollowConfig, Follower, From, KafkaConfig, Until};

/// Looks back into a topic: every committed record from a point in time on, to the end as of now.
#[derive(Debug, Clone)]
pub struct KafkaTail {
    kafka: KafkaConfig,
    topic: String,
}

impl KafkaTail {
    /// The tail of `topic`; connects when it is read.
    pub fn new(kafka: KafkaConfig, topic: impl Into<String>) -> Self {
        Self {
            kafka,
            topic: topic.into(),
        }
    }
}

impl TopicTail for KafkaTail {
    async fn read(
        &mut self,
        since_ms: i64,
        visit: &mut (dyn FnMut(RecordRef<'_>) + Send),
    ) -> Result<u64, SourceError> {
        let config = FollowConfig {
            kafka: self.kafka.clone(),
            topic: self.topic.clone(),
            from: From::Timestamp(since_ms.max(0)),
            until: Until::End,
        };
        // Also where the topic is missing: a broker that has just come up may not know of it yet,
        // and what it holds would be taken for new.
        let mut follower = Follower::open(config).await?;
        let mut visited = 0;
        while let Some(batch) = follower.next().await? {
            for record in batch.records.iter() {
                visit(record);
                visited += 1;
            }
        }
        Ok(visited)
    }
}
