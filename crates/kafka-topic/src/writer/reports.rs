//! A producer whose delivery reports are waited for without looking again and again.
//!
//! rdkafka's own flush looks every 100 ms, and its `poll` with a timeout reads the clock in a circle
//! for the timeout's last millisecond. Here librdkafka says when a report has come.

use std::ffi::c_void;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::bindings as rdsys;
use rdkafka::producer::{BaseProducer, Producer};

use crate::context::Context;

/// How long a wait lasts at most: librdkafka speaks up only when its queue was empty before, and
/// what is not a report (a log line) may have been left in it.
const WAIT_MAX: Duration = Duration::from_millis(20);

/// A producer, and when it has something to tell.
pub(super) struct Reporting {
    // Before the producer: the callback ends, and the queue is let go, while the client lives.
    arrivals: Arrivals,
    producer: BaseProducer<Context>,
}

impl Reporting {
    pub(super) fn new(producer: BaseProducer<Context>) -> Self {
        Self {
            arrivals: Arrivals::of(&producer),
            producer,
        }
    }

    /// Wait until every record is delivered or failed; false if it takes until `deadline`. Blocks.
    pub(super) fn flush(&self, deadline: Instant) -> bool {
        loop {
            let before = self.producer.in_flight_count();
            if before == 0 {
                return true;
            }
            // One report, of many records.
            self.producer.poll(Duration::ZERO);
            if self.producer.in_flight_count() < before {
                continue;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            self.arrivals.signal.wait(left.min(WAIT_MAX));
        }
    }
}

impl Deref for Reporting {
    type Target = BaseProducer<Context>;

    fn deref(&self) -> &Self::Target {
        &self.producer
    }
}

/// librdkafka's call when its queue of reports is no longer empty.
struct Arrivals {
    /// `None` if there is no such queue: then waits just time out.
    queue: Option<NonNull<rdsys::rd_kafka_queue_t>>,
    signal: Box<Signal>,
}

// SAFETY: librdkafka's queues may be used from any thread, and `Signal` is `Sync`.
#[allow(unsafe_code)]
unsafe impl Send for Arrivals {}
// SAFETY: as above; nothing changes `queue` before it is dropped.
#[allow(unsafe_code)]
unsafe impl Sync for Arrivals {}

impl Arrivals {
    #[allow(unsafe_code)]
    fn of(producer: &BaseProducer<Context>) -> Self {
        let signal = Box::new(Signal::default());
        // SAFETY: the client lives as long as `producer`, and the queue is a reference of its own
        // that `drop` gives back. The signal stays where it is (boxed) until `drop` has taken the
        // callback away, which waits for one that is under way.
        let queue = unsafe {
            let queue = NonNull::new(rdsys::rd_kafka_queue_get_main(
                producer.client().native_ptr(),
            ));
            if let Some(queue) = queue {
                let signal = std::ptr::from_ref::<Signal>(&signal).cast_mut();
                rdsys::rd_kafka_queue_cb_event_enable(
                    queue.as_ptr(),
                    Some(arrived),
                    signal.cast::<c_void>(),
                );
            }
            queue
        };
        Self { queue, signal }
    }
}

impl Drop for Arrivals {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        if let Some(queue) = self.queue {
            // SAFETY: the queue is ours, and the client lives: it is dropped after us.
            unsafe {
                rdsys::rd_kafka_queue_cb_event_enable(queue.as_ptr(), None, std::ptr::null_mut());
                rdsys::rd_kafka_queue_destroy(queue.as_ptr());
            }
        }
    }
}

#[allow(unsafe_code)]
unsafe extern "C" fn arrived(_: *mut rdsys::rd_kafka_t, signal: *mut c_void) {
    // SAFETY: it is the signal that `Arrivals::of` gave, which outlives the callback.
    let signal = unsafe { &*signal.cast::<Signal>() };
    signal.set();
}

/// Set by one thread, waited for and taken by another.
#[derive(Default)]
struct Signal {
    set: Mutex<bool>,
    changed: Condvar,
}

impl Signal {
    fn set(&self) {
        *self.set.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_one();
    }

    fn wait(&self, most: Duration) {
        let set = self.set.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut set, _) = self
            .changed
            .wait_timeout_while(set, most, |set| !*set)
            .unwrap_or_else(PoisonError::into_inner);
        *set = false;
    }
}
