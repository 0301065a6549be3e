//! For any records and any module: byte for byte what Fluvio's SDK hands over.

use fluvio_protocol::link::smartmodule::SmartModuleKind;
use fluvio_protocol::record::{Record, RecordData, RecordKey};
use fluvio_smartmodule::SmartModuleRecord;
use fluvio_smartmodule::dataplane::smartmodule::{SmartModuleAggregateInput, SmartModuleInput};
use gristmill_smartmodule::abi;
use gristmill_smartmodule::{Error, Record as Ours, Result};
use proptest::prelude::*;

use crate::stock::{self, Made};
use crate::{VERSION, encoded, run};

type Owned = (i64, i64, Option<Vec<u8>>, Vec<u8>);

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..20),
        prop::collection::vec(any::<u8>(), 60..70),
        prop::collection::vec(any::<u8>(), 0..400),
    ]
}

/// Records of any deltas that Fluvio's own encoding survives.
fn input() -> impl Strategy<Value = SmartModuleInput> {
    let one = (
        any::<i32>(),
        any::<i32>(),
        prop::option::of(bytes()),
        bytes(),
    );
    let records = prop::collection::vec(one, 0..12);
    let base = i64::from(i32::MIN) * 4..i64::from(i32::MAX) * 4;
    (records, base.clone(), base).prop_map(|(records, offset, timestamp)| {
        let records: Vec<Record> = records
            .into_iter()
            .map(|(offset, timestamp, key, value)| {
                let key = RecordKey::from_option(key.map(RecordData::from));
                let mut record = Record::new_key_value(key, value);
                record.preamble.set_offset_delta(offset.into());
                record.preamble.set_timestamp_delta(timestamp.into());
                record
            })
            .collect();
        SmartModuleInput::new(encoded(&records), offset, timestamp)
    })
}

/// What a module makes of a record: by the sum of its bytes, so that all ways are taken.
fn way(key: Option<&[u8]>, value: &[u8], offset: i64) -> u32 {
    let bytes = key.unwrap_or_default().iter().chain(value);
    bytes.map(|byte| u32::from(*byte)).sum::<u32>() + offset.rem_euclid(7) as u32
}

fn way_of(record: &SmartModuleRecord) -> u32 {
    way(
        record.key().map(AsRef::as_ref),
        record.value(),
        record.offset(),
    )
}

fn ours(record: &Ours<'_>) -> u32 {
    way(record.key(), record.value(), record.offset())
}

/// A new key and value, of which some are borrowed by ours.
fn made(way: u32, key: Option<Vec<u8>>, value: Vec<u8>) -> (Option<Vec<u8>>, Vec<u8>) {
    match way % 5 {
        0 => (None, value),
        1 => (key, Vec::new()),
        2 => (Some(value.clone()), value),
        3 => (
            Some(way.to_string().into_bytes()),
            way.to_string().into_bytes(),
        ),
        _ => (key, value),
    }
}

fn made_of(record: &SmartModuleRecord) -> Made {
    let key = record.key().map(|key| key.to_vec());
    let (key, value) = made(way_of(record), key, record.value().to_vec());
    (key.map(RecordData::from), RecordData::from(value))
}

fn ours_made(record: &Ours<'_>) -> (Option<Vec<u8>>, Vec<u8>) {
    made(
        ours(record),
        record.key().map(<[u8]>::to_vec),
        record.value().to_vec(),
    )
}

fn refuse(way: u32) -> std::result::Result<(), String> {
    match way % 11 {
        0 => Err(format!("refused: {way}")),
        _ => Ok(()),
    }
}

fn refused(way: u32) -> Result<()> {
    refuse(way).map_err(Error::new)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn filters(input in input()) {
        let input = encoded(&input);
        let theirs = stock::filter(&input, |record| {
            refuse(way_of(record)).map(|()| !way_of(record).is_multiple_of(3))
        });
        let own = run(&input, |input, buffers| {
            abi::filter(input, VERSION, buffers, |record| {
                refused(ours(&record)).map(|()| !ours(&record).is_multiple_of(3))
            })
        });
        prop_assert_eq!(own, theirs);
    }

    #[test]
    fn maps(input in input()) {
        let input = encoded(&input);
        let theirs = stock::map(&input, |record| refuse(way_of(record)).map(|()| made_of(record)));
        let own = run(&input, |input, buffers| {
            abi::map(input, VERSION, buffers, |record| {
                refused(ours(&record)).map(|()| ours_made(&record))
            })
        });
        prop_assert_eq!(&own, &theirs);
        let own = run(&input, |input, buffers| {
            abi::map_into(input, VERSION, buffers, |record, output| {
                let (key, value) = ours_made(&record);
                output.push(&value);
                if key.as_deref() != record.key() {
                    output.set_key(key.as_deref());
                }
                refused(ours(&record))
            })
        });
        prop_assert_eq!(own, theirs);
    }

    #[test]
    fn filter_maps(input in input()) {
        let input = encoded(&input);
        let keep = |way: u32| !way.is_multiple_of(4);
        let theirs = stock::filter_map(&input, |record| {
            refuse(way_of(record)).map(|()| keep(way_of(record)).then(|| made_of(record)))
        });
        let own = run(&input, |input, buffers| {
            abi::filter_map(input, VERSION, buffers, |record| {
                refused(ours(&record)).map(|()| keep(ours(&record)).then(|| ours_made(&record)))
            })
        });
        prop_assert_eq!(&own, &theirs);
        let own = run(&input, |input, buffers| {
            abi::filter_map_into(input, VERSION, buffers, |record, output| {
                let (key, value) = ours_made(&record);
                output.set_key(key.as_deref());
                output.value().extend_from_slice(&value);
                refused(ours(&record)).map(|()| keep(ours(&record)))
            })
        });
        prop_assert_eq!(own, theirs);
    }

    #[test]
    fn array_maps(input in input()) {
        let input = encoded(&input);
        let theirs = stock::array_map(&input, |record| {
            let parts = vec![made_of(record); (way_of(record) % 4) as usize];
            refuse(way_of(record)).map(|()| parts)
        });
        let own = run(&input, |input, buffers| {
            abi::array_map(input, VERSION, buffers, |record| {
                let parts = vec![ours_made(&record); (ours(&record) % 4) as usize];
                refused(ours(&record)).map(|()| parts)
            })
        });
        prop_assert_eq!(&own, &theirs);
        let own = run(&input, |input, buffers| {
            abi::array_map_into(input, VERSION, buffers, |record, outputs| {
                let (key, value) = ours_made(&record);
                for _ in 0..ours(&record) % 4 {
                    outputs.push(key.as_deref(), &value);
                }
                refused(ours(&record))
            })
        });
        prop_assert_eq!(own, theirs);
    }

    #[test]
    fn aggregates(input in input(), accumulator in bytes()) {
        let input = encoded(&SmartModuleAggregateInput { base: input, accumulator });
        // What is new, and a bit of what was.
        let add = |accumulator: &[u8], value: &[u8]| {
            [value, &accumulator[..accumulator.len().min(30)]].concat()
        };
        let theirs = stock::aggregate(&input, |accumulator, record| {
            let sum = add(&accumulator, record.value());
            refuse(way_of(record)).map(|()| RecordData::from(sum))
        });
        let own = run(&input, |input, buffers| {
            abi::aggregate(input, VERSION, buffers, |accumulator, record| {
                refused(ours(&record)).map(|()| add(accumulator, record.value()))
            })
        });
        prop_assert_eq!(own, theirs);
    }

    #[test]
    fn records_are_what_fluvio_reads(input in input()) {
        let bytes = encoded(&input);
        let mut read: Vec<Owned> = Vec::new();
        let (code, _) = run(&bytes, |input, buffers| {
            abi::look_back(input, VERSION, buffers, |record| {
                let key = record.key().map(<[u8]>::to_vec);
                read.push((record.offset(), record.timestamp_ms(), key, record.value().to_vec()));
                Ok(())
            })
        });
        let theirs = input.try_into_smartmodule_records(VERSION as i16).unwrap();
        let theirs: Vec<Owned> = theirs
            .iter()
            .map(|r| (r.offset(), r.timestamp(), r.key().map(|k| k.to_vec()), r.value().to_vec()))
            .collect();
        prop_assert_eq!((code, read), (0, theirs));
    }

    #[test]
    fn any_input_is_read_without_a_panic(
        input in input(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
        version in prop_oneof![Just(22), 14..24_i32],
    ) {
        let mut bytes = encoded(&input);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let (filter, kept) = run(&bytes, |input, buffers| {
            abi::filter(input, version, buffers, |record| Ok(!ours(&record).is_multiple_of(2)))
        });
        let (map, _) = run(&bytes, |input, buffers| {
            abi::map(input, version, buffers, |record| Ok(ours_made(&record)))
        });
        prop_assert!(filter.min(0) == map.min(0), "{filter} {map}");
        prop_assert_eq!(kept.is_some(), filter >= 0);
        let (aggregate, _) = run(&bytes, |input, buffers| {
            abi::aggregate(input, version, buffers, |_, record| Ok(ours_made(&record).1))
        });
        prop_assert!(aggregate >= 0 || [-11, -22].contains(&aggregate));
        run(&bytes, |input, buffers| abi::init(input, "m", buffers, |params| params.finish()));
    }
}

#[test]
fn kinds_have_fluvios_numbers() {
    for (kind, number) in [
        (SmartModuleKind::Filter, 0),
        (SmartModuleKind::Map, 1),
        (SmartModuleKind::ArrayMap, 2),
        (SmartModuleKind::Aggregate, 3),
        (SmartModuleKind::FilterMap, 4),
    ] {
        assert_eq!(encoded(&kind), [number]);
    }
}
