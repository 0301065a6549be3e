//! Lets a quiet cluster complete a transaction before the next one begins.
//!
//! The coordinator answers a commit once it is decided, and completes it in its log when every
//! partition has the marker. It does the latter outside of any request, and so its followers are
//! not told before the broker has handled its next request, whosever (Kafka's
//! `DelayedActionQueue`, KAFKA-8334). Without other traffic that is the next transaction's first
//! request, which is refused as coming too early (`CONCURRENT_TRANSACTIONS`) and repeated by
//! librdkafka after 20 ms: one transaction in two took 25 ms longer.
//!
//! So between two transactions the coordinator is asked for something small.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use rdkafka::bindings as rdsys;
use rdkafka::producer::{BaseProducer, Producer};
use rdkafka::{Offset, TopicPartitionList};

use crate::context::Context;

/// Kafka's log of transactions; each of its partitions is led by the coordinator of some.
const LOG: &str = "__transaction_state";
/// When the markers are written, of a cluster that has nothing else to do. Its transactions begin
/// later than that, and those of one that has much to do need no help.
const AFTER: Duration = Duration::from_millis(30);
/// How long the answer, which nobody needs, is waited for.
const TIMEOUT: Duration = Duration::from_millis(100);
/// How long the number of the log's partitions is waited for.
const LOOK_TIMEOUT: Duration = Duration::from_secs(1);

/// The coordinator of a transactional id.
#[derive(Debug, Clone, Copy)]
pub(super) struct Coordinator {
    partition: i32,
}

/// A request that is due soon. Dropped, it is not sent any more.
#[derive(Debug)]
pub(super) struct Reminder(Arc<AtomicBool>);

impl Drop for Reminder {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

impl Coordinator {
    /// `None` where it cannot be asked: no right to see the log (Describe), or no such log
    /// (Redpanda). Blocks.
    pub(super) fn find(producer: &BaseProducer<Context>, transactional_id: &str) -> Option<Self> {
        let metadata = producer.client().fetch_metadata(Some(LOG), LOOK_TIMEOUT);
        let metadata = metadata.ok()?;
        let log = metadata.topics().first()?;
        let partitions = i32::try_from(log.partitions().len()).ok()?;
        if log.error().is_some() || partitions == 0 {
            return None;
        }
        // As the broker does: `Utils.abs(transactionalId.hashCode) % partitions`.
        let partition = (java_hash(transactional_id) & i32::MAX) % partitions;
        Some(Self { partition })
    }

    /// Ask it for something soon.
    pub(super) fn remind(self, producer: Arc<BaseProducer<Context>>) -> Reminder {
        let cancelled = Arc::new(AtomicBool::new(false));
        let reminder = Reminder(Arc::clone(&cancelled));
        tokio::task::spawn_blocking(move || {
            #[allow(clippy::disallowed_methods, reason = "a thread of its own")]
            std::thread::sleep(AFTER);
            if !cancelled.load(Relaxed) {
                self.ask(&producer);
            }
        });
        reminder
    }

    #[allow(unsafe_code)]
    fn ask(self, producer: &BaseProducer<Context>) {
        let mut list = TopicPartitionList::new();
        // A time that no record has: nothing is looked up.
        let added = list.add_partition_offset(LOG, self.partition, Offset::Offset(i64::MAX));
        if added.is_err() {
            return;
        }
        let timeout = i32::try_from(TIMEOUT.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: client and list outlive the call, which fills in the list. That it came is all
        // that counts.
        unsafe {
            rdsys::rd_kafka_offsets_for_times(producer.client().native_ptr(), list.ptr(), timeout);
        }
    }
}

/// Java's `String.hashCode`.
fn java_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0, |hash: i32, unit| {
        hash.wrapping_mul(31).wrapping_add(i32::from(unit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_as_java_does() {
        // `"…".hashCode()` in jshell.
        assert_eq!(java_hash(""), 0);
        assert_eq!(java_hash("gristmill"), 1_729_104_987);
        assert_eq!(java_hash("polygenelubricants"), i32::MIN);
    }
}
