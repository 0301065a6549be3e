//! Against `fluvio-protocol`'s own types, both ways, and against bytes written down by hand.

use std::time::Duration;

use fluvio_protocol::link::smartmodule::{
    SmartModuleInitRuntimeError, SmartModuleKind, SmartModuleLookbackRuntimeError,
    SmartModuleTransformRuntimeError,
};
use fluvio_protocol::record::{Record, RecordData, RecordKey};
use fluvio_protocol::{Decoder, Encoder};
use fluvio_smartmodule::dataplane::smartmodule::{
    SmartModuleAggregateInput, SmartModuleAggregateOutput, SmartModuleInitInput,
    SmartModuleInitOutput, SmartModuleInput, SmartModuleLookbackOutput, SmartModuleOutput,
};
use gristmill_record::{RecordRef, Records};
use proptest::prelude::*;

use super::*;
use crate::Lookback;

type Owned = (i64, i64, Option<Vec<u8>>, Vec<u8>);

fn records(owned: &[Owned]) -> Records {
    let mut records = Records::default();
    for (offset, timestamp_ms, key, value) in owned {
        records.push(RecordRef::new(
            *offset,
            *timestamp_ms,
            key.as_deref(),
            value,
        ));
    }
    records
}

fn written(input: &Input<'_>) -> Vec<u8> {
    let mut bytes = vec![0xee; input.len()];
    input.write(&mut bytes);
    bytes
}

fn decoded<T: Decoder>(bytes: &[u8]) -> T {
    let mut rest = bytes;
    let value = T::decode_from(&mut rest, VERSION as i16).unwrap();
    assert!(rest.is_empty(), "{} bytes left", rest.len());
    value
}

fn encoded(value: &impl Encoder) -> Vec<u8> {
    let mut bytes = Vec::new();
    value.encode(&mut bytes, VERSION as i16).unwrap();
    bytes
}

/// A record as stock guests make it: the input's, with another key and value.
fn made(offset_delta: i64, key: Option<&[u8]>, value: &[u8]) -> Record {
    let key = key.map_or(RecordKey::NULL, RecordKey::from);
    let mut record = Record::new_key_value(key, value);
    record.preamble.set_offset_delta(offset_delta);
    record.preamble.set_timestamp_delta(-7);
    record
}

#[test]
fn the_input_byte_for_byte() {
    let records = records(&[
        (1000, 5_000, Some(b"k".to_vec()), b"one".to_vec()),
        (1002, 4_999, None, Vec::new()),
    ]);
    let input = Input::of(&records, 0..2, usize::MAX, None);
    #[rustfmt::skip]
    let expect = [
        0, 0, 0, 0, 0, 0, 3, 0xe8,          // base offset 1000
        0, 0, 0, 23,                        // bytes of records
        0, 0, 0, 2,                         // records
        22, 0, 0, 0, 1, 2, b'k', 6, b'o', b'n', b'e', 0, // length 11, attributes, deltas, key, value, headers
        12, 0, 1, 4, 0, 0, 0,               // length 6, timestamp -1, offset +2, no key, empty value
        0, 0, 0, 0, 0, 0, 0,                // no params, no lookback, no join record
        0, 0, 0, 0, 0, 0, 0x13, 0x88,       // base timestamp 5000
    ];
    assert_eq!(written(&input), expect);
}

#[test]
fn the_output_byte_for_byte() {
    #[rustfmt::skip]
    let bytes = [
        0, 0, 0, 1,                          // records
        18, 0, 0, 4, 1, 2, b'k', 2, b'v', 0, // a record of 9 bytes: offset +2
        1, 0, 2, b'n', b'o',                // an error: its hint
        0, 0, 0, 0, 0, 0, 3, 0xeb,          // at offset 1003
        4, 0, 2, b'x',                      // filter_map, no key, value
        0, 0, 0, 2, b'a', b'c',             // the accumulator
    ];
    let output = decode_output(&bytes, true, Vec::new()).unwrap();
    let record = output.records().next().unwrap();
    assert_eq!(
        (record.offset_delta, record.key, record.value),
        (2, Some(&b"k"[..]), &b"v"[..])
    );
    let error = output.error.as_ref().unwrap();
    assert_eq!((error.hint, error.offset), (&b"no"[..], 1003));
    assert_eq!(output.accumulator, Some(&b"ac"[..]));
    for len in 0..bytes.len() {
        assert!(
            decode_output(&bytes[..len], true, Vec::new()).is_err(),
            "cut at {len}"
        );
    }
    let mut long = bytes.to_vec();
    long.push(0);
    assert!(
        decode_output(&long, true, Vec::new()).is_err(),
        "a byte too much"
    );
}

#[test]
fn the_aggregates_input_byte_for_byte() {
    let records = records(&[(7, 1, None, b"v".to_vec())]);
    let input = Input::of(&records, 0..1, usize::MAX, Some(b"acc"));
    #[rustfmt::skip]
    let expect = [
        0, 0, 0, 0, 0, 0, 0, 7,             // base offset
        0, 0, 0, 12,                        // bytes of records
        0, 0, 0, 1,                         // records
        14, 0, 0, 0, 0, 2, b'v', 0,         // length 7, attributes, deltas, no key, value, headers
        0, 0, 0, 0, 0, 0, 0,                // no params, no lookback, no join record
        0, 0, 0, 0, 0, 0, 0, 1,             // base timestamp
        0, 0, 0, 3, b'a', b'c', b'c',       // the accumulator
    ];
    assert_eq!(written(&input), expect);
}

#[test]
fn the_init_input_byte_for_byte() {
    let params: Params = [("b", "two"), ("a", "1")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    let lookback = Lookback {
        last: 5,
        age: Some(Duration::new(90, 7)),
    };
    #[rustfmt::skip]
    let expect = [
        0, 2,                               // parameters, by name
        0, 1, b'a', 0, 1, b'1',
        0, 1, b'b', 0, 3, b't', b'w', b'o',
        1,                                  // a lookback
        0, 0, 0, 0, 0, 0, 0, 5,             // last
        1,                                  // an age: seconds and nanoseconds
        0, 0, 0, 0, 0, 0, 0, 90, 0, 0, 0, 7,
    ];
    assert_eq!(encode_init(&params, Some(&lookback)).unwrap(), expect);
    assert_eq!(encode_init(&Params::new(), None).unwrap(), [0, 0, 0]);
}

#[test]
fn errors_of_init_and_look_back_byte_for_byte() {
    assert_eq!(decode_init_error(&[0, 2, b'n', b'o']).unwrap(), b"no");
    #[rustfmt::skip]
    let bytes = [
        0, 2, b'n', b'o',                   // hint
        0, 0, 0, 0, 0, 0, 0, 9,             // offset
        1, 2, b'k',                         // key
        4, b'v', b'w',                      // value
    ];
    let error = decode_look_back_error(&bytes).unwrap();
    assert_eq!((error.hint, error.offset), (&b"no"[..], 9));
    for len in 0..bytes.len() {
        assert!(
            decode_look_back_error(&bytes[..len]).is_err(),
            "cut at {len}"
        );
    }
}

#[test]
fn init_input_as_fluvio_reads_it() {
    let params: Params = [("field", "/a/b"), ("x", "")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    for lookback in [
        None,
        Some(Lookback { last: 5, age: None }),
        Some(Lookback {
            last: 0,
            age: Some(Duration::from_millis(1500)),
        }),
    ] {
        let bytes = encode_init(&params, lookback.as_ref()).unwrap();
        let input: SmartModuleInitInput = decoded(&bytes);
        assert_eq!(input.params.get("field").unwrap(), "/a/b");
        assert_eq!(input.params.get("x").unwrap(), "");
        let read = input.params.lookback().map(|l| (l.last as usize, l.age));
        assert_eq!(read, lookback.map(|l| (l.last, l.age)));
    }
    let long = [("p".to_owned(), "v".repeat(70_000))].into();
    assert!(encode_init(&long, None).unwrap_err().contains("70000"));
}

#[test]
fn a_call_ends_where_deltas_leave_32_bits() {
    let far = i64::from(i32::MAX);
    let value = b"v".to_vec();
    for (second, ends) in [
        ((10 + far, 0), 2),
        ((11 + far, 0), 1),
        ((10, far), 2),
        ((10, far + 1), 1),
        ((i64::MIN, 0), 1),
        ((11, i64::MIN), 1),
    ] {
        let records = records(&[
            (10, 0, None, value.clone()),
            (second.0, second.1, None, value.clone()),
        ]);
        let input = Input::of(&records, 0..2, usize::MAX, None);
        assert_eq!(input.range(), 0..ends, "{second:?}");
    }
}

#[test]
fn a_call_ends_at_its_bytes_but_holds_one_record() {
    let records = records(&[(0, 0, None, vec![0; 100]), (1, 0, None, vec![0; 100])]);
    assert_eq!(Input::of(&records, 0..2, 150, None).range(), 0..1);
    assert_eq!(Input::of(&records, 0..2, 1, None).range(), 0..1);
    assert_eq!(Input::of(&records, 0..2, 300, None).range(), 0..2);
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..200)
}

fn owned() -> impl Strategy<Value = Vec<Owned>> {
    let one = (
        0..i64::from(i32::MAX),
        -5_000_000_i64..5_000_000,
        prop::option::of(bytes()),
        bytes(),
    );
    prop::collection::vec(one, 1..20)
}

proptest! {
    #[test]
    fn inputs_are_what_fluvio_decodes(owned in owned(), accumulator in prop::option::of(bytes())) {
        let records = records(&owned);
        let input = Input::of(&records, 0..records.len(), usize::MAX, accumulator.as_deref());
        let n = input.range().len();
        let (base, read) = match &accumulator {
            None => {
                let input: SmartModuleInput = decoded(&written(&input));
                (input.base_offset(), input)
            }
            Some(accumulator) => {
                let input: SmartModuleAggregateInput = decoded(&written(&input));
                prop_assert_eq!(&input.accumulator, accumulator);
                (input.base.base_offset(), input.base)
            }
        };
        prop_assert_eq!(base, owned[0].0);
        let read: Vec<Owned> = read
            .try_into_smartmodule_records(VERSION as i16)
            .unwrap()
            .iter()
            .map(|r| {
                (r.offset(), r.timestamp(), r.key().map(|k| k.to_vec()), r.value().to_vec())
            })
            .collect();
        prop_assert_eq!(&read[..], &owned[..n]);
    }

    #[test]
    fn what_fluvio_encodes_is_read(
        made_of in prop::collection::vec((0..i64::from(i32::MAX), prop::option::of(bytes()), bytes()), 0..20),
        failed in prop::option::of(("\\PC{0,50}", any::<u32>(), prop::option::of(bytes()), bytes())),
        accumulator in prop::option::of(bytes()),
    ) {
        let successes =
            made_of.iter().map(|(delta, key, value)| made(*delta, key.as_deref(), value)).collect();
        let error = failed.as_ref().map(|(hint, offset, key, value)| {
            SmartModuleTransformRuntimeError {
                hint: hint.clone(),
                offset: i64::from(*offset),
                kind: SmartModuleKind::Map,
                record_key: key.clone().map(RecordData::from),
                record_value: RecordData::from(value.clone()),
            }
        });
        let output = SmartModuleOutput { successes, error };
        let bytes = match &accumulator {
            None => encoded(&output),
            Some(accumulator) => encoded(&SmartModuleAggregateOutput::new(output, accumulator.clone())),
        };
        let read = decode_output(&bytes, accumulator.is_some(), Vec::new()).unwrap();
        let records: Vec<_> = read
            .records()
            .map(|r| (r.offset_delta, r.key.map(<[u8]>::to_vec), r.value.to_vec()))
            .collect();
        prop_assert_eq!(records, made_of);
        let error = read.error.as_ref().map(|e| (e.hint.to_vec(), e.offset));
        prop_assert_eq!(error, failed.map(|(hint, offset, ..)| (hint.into_bytes(), i64::from(offset))));
        prop_assert_eq!(read.accumulator.map(<[u8]>::to_vec), accumulator);
    }

    #[test]
    fn what_fluvio_encodes_of_init_and_look_back_is_read(
        hint in "\\PC{0,50}", offset: i64, key in prop::option::of(bytes()), value in bytes(),
    ) {
        let init = SmartModuleInitOutput {
            error: SmartModuleInitRuntimeError { hint: hint.clone() },
        };
        let bytes = encoded(&init);
        prop_assert_eq!(decode_init_error(&bytes).unwrap(), hint.as_bytes());
        let look_back = SmartModuleLookbackOutput {
            error: SmartModuleLookbackRuntimeError {
                hint: hint.clone(),
                offset,
                record_key: key.map(RecordData::from),
                record_value: RecordData::from(value),
            },
        };
        let bytes = encoded(&look_back);
        let error = decode_look_back_error(&bytes).unwrap();
        prop_assert_eq!((error.hint, error.offset), (hint.as_bytes(), offset));
    }

    #[test]
    fn a_flipped_byte_is_read_or_refused_and_never_read_past(
        made_of in prop::collection::vec((0..1000_i64, prop::option::of(bytes()), bytes()), 1..5),
        at: prop::sample::Index, flip in 1_u8..,
    ) {
        let successes =
            made_of.iter().map(|(delta, key, value)| made(*delta, key.as_deref(), value)).collect();
        let mut bytes = encoded(&SmartModuleOutput { successes, error: None });
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        if let Ok(output) = decode_output(&bytes, false, Vec::new()) {
            prop_assert_eq!(output.records().count(), output.count());
            let taken: usize = output.records().map(|r| r.key.map_or(0, <[u8]>::len) + r.value.len()).sum();
            prop_assert!(taken <= bytes.len());
        }
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in bytes(), aggregate: bool) {
        if let Ok(output) = decode_output(&bytes, aggregate, Vec::new()) {
            prop_assert_eq!(output.records().count(), output.count());
        }
        let _ = decode_init_error(&bytes);
        let _ = decode_look_back_error(&bytes);
    }
}
