//! Records out of librdkafka, without what rdkafka's `poll` adds to each: an event, an `Arc`, four
//! readings of the clock.
//!
//! The group's queue is no place to take them from so (librdkafka would answer rebalances by
//! itself), so partitions are forwarded to a queue of their own:
//!
//! ```text
//! partition ─┐ adopt
//! partition ─┴─▶ MessageQueue ─▶ take: records, ends of partitions, a partition's errors
//! group     ───▶ consumer.poll: rebalances, commits, the client's errors
//! ```
//!
//! One record a call, although librdkafka has a call for many: `rd_kafka_consume_batch_queue` also
//! takes a partition's end for a record and moves the consumer's position past it, so that the
//! next pause (each rebalance is one) skips the record that comes there (2.12.1;
//! `members_that_come_and_go_double_nothing` loses records with it).

use std::ffi::CStr;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::time::Duration;

use gristmill_record::RecordRef;
use rdkafka::bindings as rdsys;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::RDKafkaErrorCode as Code;

use crate::native::Headers;

/// Messages taken between two looks at the group: enough to make those cheap, and few, so that the
/// reader's own bounds are looked at often.
const TAKEN_MAX: usize = 256;

type Native = rdsys::rd_kafka_message_t;

/// A queue that partitions of one consumer are forwarded to.
pub(crate) struct MessageQueue<C: ConsumerContext + 'static> {
    queue: NonNull<rdsys::rd_kafka_queue_t>,
    /// The queue's client, which must outlive it.
    consumer: Arc<BaseConsumer<C>>,
}

// SAFETY: librdkafka's queues may be used from any thread.
#[allow(unsafe_code)]
unsafe impl<C: ConsumerContext> Send for MessageQueue<C> {}

impl<C: ConsumerContext> MessageQueue<C> {
    /// A queue that nothing is forwarded to yet. `None` if librdkafka has no memory for it.
    #[allow(unsafe_code)]
    pub(crate) fn new(consumer: &Arc<BaseConsumer<C>>) -> Option<Self> {
        // SAFETY: the client lives as long as `consumer`, of which a reference is kept.
        let queue = unsafe { rdsys::rd_kafka_queue_new(consumer.client().native_ptr()) };
        Some(Self {
            queue: NonNull::new(queue)?,
            consumer: Arc::clone(consumer),
        })
    }

    /// Forward a partition that is assigned and started. Stopping it (a rebalance) ends that.
    #[allow(unsafe_code)]
    pub(crate) fn adopt(&self, topic: &CStr, partition: i32) {
        // SAFETY: client and queue are alive, the name is a C string; the reference to the
        // partition's queue is given back at once.
        unsafe {
            let client = self.consumer.client().native_ptr();
            let source = rdsys::rd_kafka_queue_get_partition(client, topic.as_ptr(), partition);
            if !source.is_null() {
                rdsys::rd_kafka_queue_forward(source, self.queue.as_ptr());
                rdsys::rd_kafka_queue_destroy(source);
            }
        }
    }

    /// Hand what is there to `each`, waiting up to `timeout` for the first. Returns how many.
    pub(crate) fn take(&mut self, timeout: Duration, mut each: impl FnMut(&Taken<'_>)) -> usize {
        let mut timeout = timeout;
        for count in 0..TAKEN_MAX {
            let Some(message) = self.next(timeout) else {
                return count;
            };
            each(&message);
            timeout = Duration::ZERO;
        }
        TAKEN_MAX
    }

    #[allow(unsafe_code)]
    fn next(&mut self, timeout: Duration) -> Option<Taken<'_>> {
        let timeout_ms = timeout.as_millis().try_into().unwrap_or(i32::MAX);
        // SAFETY: the queue is alive; what comes out of it is ours to destroy.
        let message = unsafe { rdsys::rd_kafka_consume_queue(self.queue.as_ptr(), timeout_ms) };
        NonNull::new(message).map(|message| Taken(message, PhantomData))
    }
}

impl<C: ConsumerContext> Drop for MessageQueue<C> {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        // SAFETY: ours, alive, and not used again.
        unsafe { rdsys::rd_kafka_queue_destroy(self.queue.as_ptr()) };
    }
}

/// A record, or what librdkafka says in place of one. Let go when it is dropped.
#[derive(Debug)]
pub(crate) struct Taken<'q>(NonNull<Native>, PhantomData<&'q Native>);

impl Taken<'_> {
    #[allow(unsafe_code)]
    fn native(&self) -> &Native {
        // SAFETY: `take` got it from librdkafka, and it is destroyed only by our `drop`.
        unsafe { self.0.as_ref() }
    }

    pub(crate) fn partition(&self) -> i32 {
        self.native().partition
    }

    /// The record's offset; of a partition's end, the end.
    pub(crate) fn offset(&self) -> i64 {
        self.native().offset
    }

    /// What happened, where this is no record.
    pub(crate) fn error(&self) -> Option<Code> {
        let error = self.native().err;
        (error != rdsys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR).then(|| error.into())
    }

    /// The record without its headers.
    pub(crate) fn record(&self) -> RecordRef<'_> {
        let native = self.native();
        RecordRef::new(
            native.offset,
            self.timestamp_ms(),
            bytes(native.key, native.key_len),
            bytes(native.payload, native.len).unwrap_or_default(),
        )
    }

    /// The record's headers. librdkafka parses them here and not before.
    #[allow(unsafe_code)]
    pub(crate) fn headers(&self) -> Headers<'_> {
        let mut list = ptr::null_mut();
        // SAFETY: the message is alive; the list that is handed out belongs to it, and stays null
        // without headers.
        unsafe {
            rdsys::rd_kafka_message_headers(self.0.as_ptr(), &mut list);
            Headers::new(list)
        }
    }

    #[allow(unsafe_code)]
    fn timestamp_ms(&self) -> i64 {
        let mut kind = rdsys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message is alive, the out-parameter is ours.
        unsafe { rdsys::rd_kafka_message_timestamp(self.0.as_ptr(), &mut kind) }
    }
}

/// Key or value; a null one is `None`.
#[allow(unsafe_code)]
fn bytes<'m>(at: *mut std::ffi::c_void, len: usize) -> Option<&'m [u8]> {
    // SAFETY: librdkafka's pair of pointer and length, valid as long as the message; both callers
    // bind the result to it.
    (!at.is_null()).then(|| unsafe { std::slice::from_raw_parts(at.cast::<u8>(), len) })
}

impl Drop for Taken<'_> {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        // SAFETY: ours since `take`, and destroyed once.
        unsafe { rdsys::rd_kafka_message_destroy(self.0.as_ptr()) };
    }
}
