//! The places where rdkafka's own wrapper does not do.

use std::borrow::Cow;
use std::ffi::{CStr, CString};
use std::marker::PhantomData;
use std::ptr;
use std::time::Duration;

use rdkafka::bindings as rdsys;
use rdkafka::client::{Client, ClientContext};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::message::{BorrowedHeaders, BorrowedMessage, Message};

/// A message's headers. rdkafka's own accessor panics on a name that is not UTF-8, which anyone
/// who may write to the topic can produce; here such a name is read with replacement characters,
/// and a null value as an empty one.
#[derive(Debug, Clone)]
pub(crate) struct Headers<'m> {
    /// Null for none.
    list: *const rdsys::rd_kafka_headers_t,
    next: usize,
    message: PhantomData<&'m ()>,
}

impl<'m> Headers<'m> {
    pub(crate) fn of(message: &'m BorrowedMessage<'_>) -> Self {
        // rdkafka hands out librdkafka's list under a type of no size.
        let list = message.headers().map_or(ptr::null(), |headers| {
            ptr::from_ref::<BorrowedHeaders>(headers).cast()
        });
        // SAFETY: the list lives as long as `message`, which is borrowed for `'m`.
        #[allow(unsafe_code)]
        unsafe {
            Self::new(list)
        }
    }

    /// # Safety
    /// `list` is null, or alive for `'m`.
    #[allow(unsafe_code)]
    pub(crate) unsafe fn new(list: *const rdsys::rd_kafka_headers_t) -> Self {
        Self {
            list,
            next: 0,
            message: PhantomData,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.clone().next().is_none()
    }
}

impl<'m> Iterator for Headers<'m> {
    type Item = (Cow<'m, str>, &'m [u8]);

    #[allow(unsafe_code)]
    fn next(&mut self) -> Option<Self::Item> {
        if self.list.is_null() {
            return None;
        }
        let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0);
        // SAFETY: whoever made `self` keeps the list alive for `'m`; librdkafka fills the three
        // out-parameters whenever it returns no error, with what the list owns, and returns one
        // past the last header.
        let pair = unsafe {
            let error = rdsys::rd_kafka_header_get_all(
                self.list, self.next, &mut name, &mut value, &mut size,
            );
            if error != rdsys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                return None;
            }
            let bytes = match value.is_null() {
                true => &[][..],
                false => std::slice::from_raw_parts(value.cast::<u8>(), size),
            };
            (CStr::from_ptr(name).to_string_lossy(), bytes)
        };
        self.next += 1;
        Some(pair)
    }
}

/// The partition's high watermark as of the last fetch; asks no broker.
#[allow(unsafe_code)]
pub(crate) fn cached_high_watermark<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &CStr,
    partition: i32,
) -> Option<i64> {
    let (mut low, mut high) = (-1, -1);
    // SAFETY: the client lives as long as `consumer`, the name is a C string, and the two
    // out-parameters are ours.
    let error = unsafe {
        rdsys::rd_kafka_get_watermark_offsets(
            consumer.client().native_ptr(),
            topic.as_ptr(),
            partition,
            &mut low,
            &mut high,
        )
    };
    let known = error == rdsys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR && high >= 0;
    known.then_some(high)
}

/// The id of the topic of this name, which a topic made anew under it does not share
/// (KIP-516); `None` from brokers that give none. Blocks for `timeout` at most.
#[allow(unsafe_code)]
pub(crate) fn topic_id<C: ClientContext>(
    client: &Client<C>,
    topic: &CStr,
    timeout: Duration,
) -> Result<Option<String>, Code> {
    use rdsys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR as OK;
    /// Frees what librdkafka made for us.
    struct Freed<T>(*mut T, unsafe extern "C" fn(*mut T));
    impl<T> Drop for Freed<T> {
        fn drop(&mut self) {
            // SAFETY: made by librdkafka for us alone, and its own function to free it, which all
            // take null too.
            unsafe { (self.1)(self.0) }
        }
    }
    let millis = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    let code = |error: rdsys::rd_kafka_resp_err_t| match Code::from(error) {
        // As good as none.
        Code::UnsupportedVersion | Code::UnsupportedFeature => Ok(None),
        code => Err(code),
    };
    // SAFETY: the client outlives the call; every pointer below was made just before and is freed
    // by its guard, in the reverse order; what an event holds is read while the event lives. The
    // admin client copies the options and the names.
    unsafe {
        let rk = client.native_ptr();
        let queue = Freed(rdsys::rd_kafka_queue_new(rk), rdsys::rd_kafka_queue_destroy);
        let options = Freed(
            rdsys::rd_kafka_AdminOptions_new(
                rk,
                rdsys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS,
            ),
            rdsys::rd_kafka_AdminOptions_destroy,
        );
        let mut text = [0; 128];
        let error = rdsys::rd_kafka_AdminOptions_set_request_timeout(
            options.0,
            millis,
            text.as_mut_ptr(),
            text.len(),
        );
        if error != OK {
            return code(error);
        }
        let mut name = topic.as_ptr();
        let topics = Freed(
            rdsys::rd_kafka_TopicCollection_of_topic_names(&mut name, 1),
            rdsys::rd_kafka_TopicCollection_destroy,
        );
        rdsys::rd_kafka_DescribeTopics(rk, topics.0, options.0, queue.0);
        // The request has its own timeout; its event comes in any case.
        let event = rdsys::rd_kafka_queue_poll(queue.0, millis.saturating_add(1000));
        if event.is_null() {
            return Err(Code::OperationTimedOut);
        }
        let event = Freed(event, rdsys::rd_kafka_event_destroy);
        let error = rdsys::rd_kafka_event_error(event.0);
        if error != OK {
            return code(error);
        }
        let result = rdsys::rd_kafka_event_DescribeTopics_result(event.0);
        if result.is_null() {
            return Err(Code::Fail);
        }
        let mut count = 0;
        let described = rdsys::rd_kafka_DescribeTopics_result_topics(result, &mut count);
        if described.is_null() || count != 1 {
            return Err(Code::Fail);
        }
        let error = rdsys::rd_kafka_TopicDescription_error(*described);
        if !error.is_null() && rdsys::rd_kafka_error_code(error) != OK {
            return code(rdsys::rd_kafka_error_code(error));
        }
        let id = rdsys::rd_kafka_TopicDescription_topic_id(*described);
        let is_zero = id.is_null()
            || rdsys::rd_kafka_Uuid_most_significant_bits(id) == 0
                && rdsys::rd_kafka_Uuid_least_significant_bits(id) == 0;
        if is_zero {
            return Ok(None);
        }
        let text = rdsys::rd_kafka_Uuid_base64str(id);
        Ok(Some(CStr::from_ptr(text).to_string_lossy().into_owned()))
    }
}

/// A topic's name for the calls above; a name with a NUL byte names no topic.
pub(crate) fn c_name(topic: &str) -> CString {
    CString::new(topic).unwrap_or_default()
}
