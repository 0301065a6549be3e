//! The two places where rdkafka's own wrapper does not do.

use std::ffi::{CStr, CString};
use std::ptr;

use rdkafka::bindings as rdsys;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::message::{BorrowedHeaders, BorrowedMessage, Message};

/// A message's headers. rdkafka's own accessor panics on a name that is not UTF-8, which anyone
/// who may write to the topic can produce; here such a name is read with replacement characters,
/// and a null value as an empty one.
#[allow(unsafe_code)]
pub(crate) fn headers(message: &BorrowedMessage<'_>) -> Vec<(String, Vec<u8>)> {
    let Some(headers) = message.headers() else {
        return Vec::new();
    };
    // rdkafka hands out librdkafka's list under a type of no size.
    let list = ptr::from_ref::<BorrowedHeaders>(headers).cast::<rdsys::rd_kafka_headers_t>();
    let mut pairs = Vec::new();
    loop {
        let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0);
        // SAFETY: `list` lives as long as `message`, which is borrowed here; librdkafka fills the
        // three out-parameters whenever it returns no error, and returns one past the last header.
        let pair = unsafe {
            let error =
                rdsys::rd_kafka_header_get_all(list, pairs.len(), &mut name, &mut value, &mut size);
            if error != rdsys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                return pairs;
            }
            let bytes = if value.is_null() {
                Vec::new()
            } else {
                std::slice::from_raw_parts(value.cast::<u8>(), size).to_vec()
            };
            (CStr::from_ptr(name).to_string_lossy().into_owned(), bytes)
        };
        pairs.push(pair);
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
