//! Waiting for what a producer has under way.
//!
//! librdkafka reports only records that were not delivered (`delivery.report.only.error`), so a wait
//! ends with one wake-up, however many records there are. rdkafka's own `flush` and
//! `commit_transaction` look again every 100 ms and wake every broker's thread each time.

use std::time::{Duration, Instant};

use rdkafka::bindings as rdsys;
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::producer::{BaseProducer, Producer};

use crate::context::Context;

/// How long a wait lasts at most before reports are taken: a record that was not delivered counts
/// as under way until its report is.
const SLICE: Duration = Duration::from_millis(500);

/// Why a transaction is not committed.
#[derive(Debug, Clone, Copy)]
pub(super) struct NotCommitted {
    pub(super) code: Code,
    /// The transaction must be aborted, and then the producer can go on.
    pub(super) requires_abort: bool,
    /// The call may be made again, to go on waiting.
    pub(super) is_retriable: bool,
}

/// Take reports, and whatever else the client has to say.
fn serve(producer: &BaseProducer<Context>) {
    loop {
        let before = producer.in_flight_count();
        producer.poll(Duration::ZERO);
        if producer.in_flight_count() >= before {
            return;
        }
    }
}

/// Wait until every record is delivered or failed; false if it takes until `deadline`. Blocks.
#[allow(unsafe_code)]
pub(super) fn flush(producer: &BaseProducer<Context>, deadline: Instant) -> bool {
    loop {
        serve(producer);
        if producer.in_flight_count() == 0 {
            return true;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        // SAFETY: the client lives as long as `producer`.
        unsafe { rdsys::rd_kafka_flush(producer.client().native_ptr(), millis(left)) };
    }
}

/// Wait for all records and commit. Blocks for half a second at most, and is then to be called
/// again.
#[allow(unsafe_code)]
pub(super) fn commit(producer: &BaseProducer<Context>) -> Result<(), NotCommitted> {
    // SAFETY: the client lives as long as `producer`; the error is ours, read while it lives, and
    // freed once.
    let result = unsafe {
        let client = producer.client().native_ptr();
        let error = rdsys::rd_kafka_commit_transaction(client, millis(SLICE));
        if error.is_null() {
            Ok(())
        } else {
            let why = NotCommitted {
                code: rdsys::rd_kafka_error_code(error).into(),
                requires_abort: rdsys::rd_kafka_error_txn_requires_abort(error) != 0,
                is_retriable: rdsys::rd_kafka_error_is_retriable(error) != 0,
            };
            rdsys::rd_kafka_error_destroy(error);
            Err(why)
        }
    };
    serve(producer);
    result
}

/// At least 1: librdkafka takes 0 for "do not wait".
fn millis(wait: Duration) -> i32 {
    let wait = wait.clamp(Duration::from_millis(1), SLICE);
    i32::try_from(wait.as_millis()).unwrap_or(i32::MAX)
}
