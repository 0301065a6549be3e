//! What a guest hands over, whatever it is: the decoder reads nothing beyond it, what it makes of
//! it survives being encoded again, and Fluvio's own decoder makes the same of it.
//!
//! Input: one byte that says whether the call was an aggregate's, the output.
#![no_main]

#[allow(
    dead_code,
    reason = "the engine's file, of which this target uses what it fuzzes"
)]
#[path = "../../crates/smartengine/src/abi/decode.rs"]
mod decode;

use decode::{Output, OutputError, decode_init_error, decode_look_back_error, decode_output};
use fluvio_protocol::Decoder;
use fluvio_smartmodule::dataplane::smartmodule::{SmartModuleAggregateOutput, SmartModuleOutput};
use libfuzzer_sys::fuzz_target;
use yardsticks::lies_in;

const VERSION: i16 = 22;

fuzz_target!(|input: &[u8]| {
    let &[flags, ref bytes @ ..] = input else {
        return;
    };
    let aggregate = flags & 1 == 1;
    if let Ok(output) = decode_output(bytes, aggregate, Vec::new()) {
        let found = found(&output, bytes);
        let again = encode(&found);
        let output = decode_output(&again, aggregate, Vec::new()).expect("our own encoding");
        assert_eq!(found, self::found(&output, &again));
        by_fluvio(bytes, &found);
    }
    if let Ok(hint) = decode_init_error(bytes) {
        assert!(lies_in(hint, bytes));
    }
    if let Ok(error) = decode_look_back_error(bytes) {
        assert!(lies_in(error.hint, bytes));
    }
});

#[derive(Debug, PartialEq)]
struct Found {
    records: Vec<(i64, Option<Vec<u8>>, Vec<u8>)>,
    error: Option<(Vec<u8>, i64)>,
    accumulator: Option<Vec<u8>>,
}

fn found(output: &Output<'_>, bytes: &[u8]) -> Found {
    let records: Vec<_> = output
        .records()
        .map(|record| {
            assert!(lies_in(record.value, bytes));
            assert!(record.key.is_none_or(|key| lies_in(key, bytes)));
            let key = record.key.map(<[u8]>::to_vec);
            (record.offset_delta, key, record.value.to_vec())
        })
        .collect();
    assert_eq!(
        records.len(),
        output.count(),
        "records that were counted and are not there"
    );
    let error = output.error.as_ref().map(|OutputError { hint, offset }| {
        assert!(lies_in(hint, bytes));
        (hint.to_vec(), *offset)
    });
    let accumulator = output.accumulator.map(|accumulator| {
        assert!(lies_in(accumulator, bytes));
        accumulator.to_vec()
    });
    Found {
        records,
        error,
        accumulator,
    }
}

/// The shortest form.
fn encode(found: &Found) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(&(found.records.len() as u32).to_be_bytes());
    for (offset_delta, key, value) in &found.records {
        let mut body = vec![0]; // attributes
        varint(&mut body, 0); // timestamp
        varint(&mut body, *offset_delta);
        body.push(u8::from(key.is_some()));
        if let Some(key) = key {
            varint(&mut body, key.len() as i64);
            body.extend_from_slice(key);
        }
        varint(&mut body, value.len() as i64);
        body.extend_from_slice(value);
        varint(&mut body, 0); // headers
        varint(&mut out, body.len() as i64);
        out.extend_from_slice(&body);
    }
    out.push(u8::from(found.error.is_some()));
    if let Some((hint, offset)) = &found.error {
        out.extend_from_slice(&(hint.len() as u16).to_be_bytes());
        out.extend_from_slice(hint);
        out.extend_from_slice(&offset.to_be_bytes());
        out.extend_from_slice(&[4, 0, 0]); // filter_map, no key, an empty value
    }
    if let Some(accumulator) = &found.accumulator {
        out.extend_from_slice(&(accumulator.len() as u32).to_be_bytes());
        out.extend_from_slice(accumulator);
    }
    out
}

/// Zigzag, seven bits a byte.
fn varint(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Where Fluvio reads an output that we accept, it reads the same. It refuses more (texts that are
/// not UTF-8, kinds it does not know), and is asked only what is known to be whole: it reserves
/// memory for whatever length it is told.
fn by_fluvio(bytes: &[u8], found: &Found) {
    // Fluvio undoes the zigzag with a signed shift, which is wrong from 62 bits on.
    let wide = |delta: i64| delta.unsigned_abs() >= 1 << 62;
    if found.records.iter().any(|(delta, _, _)| wide(*delta)) {
        return;
    }
    let mut rest = bytes;
    let (output, accumulator) = if found.accumulator.is_some() {
        match SmartModuleAggregateOutput::decode_from(&mut rest, VERSION) {
            Ok(output) => (output.base, Some(output.accumulator)),
            Err(_) => return,
        }
    } else {
        match SmartModuleOutput::decode_from(&mut rest, VERSION) {
            Ok(output) => (output, None),
            Err(_) => return,
        }
    };
    let records: Vec<_> = output
        .successes
        .iter()
        .map(|record| {
            let key = record.key().map(|key| key.as_ref().to_vec());
            let delta = record.preamble.offset_delta();
            (delta, key, record.value().as_ref().to_vec())
        })
        .collect();
    let theirs = Found {
        records,
        error: output
            .error
            .map(|error| (error.hint.into_bytes(), error.offset)),
        accumulator,
    };
    assert_eq!(*found, theirs);
    assert!(rest.is_empty());
}
