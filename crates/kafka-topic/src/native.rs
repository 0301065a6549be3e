//! The places where rdkafka's own wrapper does not do.

use std::borrow::Cow;
use std::ffi::{CStr, CString};
use std::marker::PhantomData;
use std::ptr;

use rdkafka::bindings as rdsys;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
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

/// A topic's name for the calls above; a name with a NUL byte names no topic.
pub(crate) fn c_name(topic: &str) -> CString {
    CString::new(topic).unwrap_or_default()
}
