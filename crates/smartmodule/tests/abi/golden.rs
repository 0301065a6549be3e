//! Bytes written down by hand, from `docs/smartmodules.md`.

use gristmill_smartmodule::abi::{self, Buffers};
use gristmill_smartmodule::{Error, Params, Record, Result};

use crate::{VERSION, run};

#[rustfmt::skip]
const INPUT: &[u8] = &[
    0, 0, 0, 0, 0, 0, 3, 0xe8,          // base offset 1000
    0, 0, 0, 23,                        // bytes of records
    0, 0, 0, 2,                         // records
    22, 0, 0, 0, 1, 2, b'k', 6, b'o', b'n', b'e', 0, // length 11, attributes, deltas, key, value, headers
    12, 0, 1, 4, 0, 0, 0,               // length 6, timestamp -1, offset +2, no key, empty value
    0, 0, 0, 0, 0, 0, 0,                // no params, no lookback, no join record
    0, 0, 0, 0, 0, 0, 0x13, 0x88,       // base timestamp 5000
];

type Keyed<'a> = (Option<&'a [u8]>, &'a [u8]);

fn same(record: Record<'_>) -> Result<Keyed<'_>> {
    Ok((record.key(), record.value()))
}

#[test]
fn records_are_read_where_they_lie() {
    let mut seen = Vec::new();
    let mut buffers = Buffers::new();
    let call = abi::look_back(INPUT, VERSION, &mut buffers, |record| {
        seen.push(record);
        Ok(())
    });
    assert_eq!((call.code, call.output(INPUT, &buffers)), (0, None));
    let first = Record::new("one").with_key("k").at(1000, 5000);
    assert_eq!(seen, [first, Record::new("").at(1002, 4999)]);
    assert!(INPUT.as_ptr_range().contains(&seen[0].value().as_ptr()));
}

#[test]
fn outputs_byte_for_byte() {
    let (code, map) = run(INPUT, |input, buffers| {
        abi::map(input, VERSION, buffers, same)
    });
    #[rustfmt::skip]
    let expect = [
        0, 0, 0, 2,
        22, 0, 0, 0, 1, 2, b'k', 6, b'o', b'n', b'e', 0,
        12, 0, 1, 4, 0, 0, 0,
        0, // no error
    ];
    assert_eq!((code, map), (2, Some(expect.to_vec())));
    let (code, kept) = run(INPUT, |input, buffers| {
        abi::filter(input, VERSION, buffers, |_| Ok(true))
    });
    assert_eq!((code, kept), (2, Some(expect.to_vec())));

    let (code, last) = run(INPUT, |input, buffers| {
        abi::filter(input, VERSION, buffers, |record| Ok(record.key().is_none()))
    });
    assert_eq!(
        (code, last),
        (1, Some(vec![0, 0, 0, 1, 12, 0, 1, 4, 0, 0, 0, 0]))
    );
    let (code, none) = run(INPUT, |input, buffers| {
        abi::filter(input, VERSION, buffers, |_| Ok(false))
    });
    assert_eq!((code, none), (0, Some(vec![0, 0, 0, 0, 0])));

    let (code, split) = run(INPUT, |input, buffers| {
        abi::array_map(input, VERSION, buffers, |record| {
            Ok(record
                .value()
                .chunks(2)
                .map(|part| (Some("x"), part))
                .collect::<Vec<_>>())
        })
    });
    #[rustfmt::skip]
    let expect = [
        0, 0, 0, 2,
        20, 0, 0, 0, 1, 2, b'x', 4, b'o', b'n', 0, // deltas 0: the host numbers them
        18, 0, 0, 0, 1, 2, b'x', 2, b'e', 0,
        0,
    ];
    assert_eq!((code, split), (2, Some(expect.to_vec())));

    // For a host that asked for it, with attributes and deltas of the record they are made from.
    let (code, split) = run(INPUT, |input, buffers| {
        buffers.keep_origins = true;
        abi::array_map_into(input, VERSION, buffers, |record, outputs| {
            outputs.push(None, record.key().unwrap_or(b"?"));
            Ok(())
        })
    });
    #[rustfmt::skip]
    let expect = [
        0, 0, 0, 2,
        14, 0, 0, 0, 0, 2, b'k', 0,
        14, 0, 1, 4, 0, 2, b'?', 0,
        0,
    ];
    assert_eq!((code, split), (2, Some(expect.to_vec())));
}

#[test]
fn an_error_byte_for_byte() {
    for (kind, (code, output)) in [
        (
            1,
            run(INPUT, |input, buffers| {
                abi::map(input, VERSION, buffers, |record| match record.key() {
                    Some(_) => same(record),
                    None => Err(Error::new("no")),
                })
            }),
        ),
        (
            0,
            run(INPUT, |input, buffers| {
                abi::filter(input, VERSION, buffers, |record| match record.key() {
                    Some(_) => Ok(true),
                    None => Err(Error::new("no")),
                })
            }),
        ),
    ] {
        #[rustfmt::skip]
        let expect = [
            0, 0, 0, 1,
            22, 0, 0, 0, 1, 2, b'k', 6, b'o', b'n', b'e', 0,
            1, 0, 2, b'n', b'o',                // an error: its hint
            0, 0, 0, 0, 0, 0, 3, 0xea,          // at offset 1002
            kind, 0, 0,                         // no key, empty value
        ];
        assert_eq!((code, output), (1, Some(expect.to_vec())));
    }
}

#[test]
fn aggregates_byte_for_byte() {
    let mut input = INPUT.to_vec();
    input.extend_from_slice(&[0, 0, 0, 2, b'a', b'c']);
    let (code, output) = run(&input, |input, buffers| {
        abi::aggregate(input, VERSION, buffers, |accumulator, record| {
            Ok([accumulator, record.value(), b"."].concat())
        })
    });
    #[rustfmt::skip]
    let expect = [
        0, 0, 0, 2,
        28, 0, 0, 0, 1, 2, b'k', 12, b'a', b'c', b'o', b'n', b'e', b'.', 0,
        26, 0, 1, 4, 0, 14, b'a', b'c', b'o', b'n', b'e', b'.', b'.', 0,
        0,
        0, 0, 0, 7, b'a', b'c', b'o', b'n', b'e', b'.', b'.',
    ];
    assert_eq!((code, output), (2, Some(expect.to_vec())));
}

#[test]
fn init_byte_for_byte() {
    let input = [0, 1, 0, 1, b'a', 0, 2, b'b', b'c', 0];
    let mut given = None;
    let mut keep = |params: Params| {
        given = Some(params);
        Ok(())
    };
    let ended = run(&input, |input, buffers| {
        abi::init(input, "m", buffers, &mut keep)
    });
    assert_eq!(
        (ended, given),
        ((0, None), Some(Params::new("m", [("a", "bc")])))
    );
    let refuse = |params: Params| params.finish();
    let (code, output) = run(&input, |input, buffers| {
        abi::init(input, "m", buffers, refuse)
    });
    let text = "unknown parameter `a`; m takes none";
    let expect = [&[0, text.len() as u8], text.as_bytes()].concat();
    assert_eq!((code, output), (-2, Some(expect)));
    for cut in 0..9 {
        let ended = run(&input[..cut], |input, buffers| {
            abi::init(input, "m", buffers, refuse)
        });
        assert_eq!(ended, (-10, None), "cut at {cut}");
    }
}

#[test]
fn a_look_back_that_refuses() {
    let ended = run(INPUT, |input, buffers| {
        abi::look_back(input, VERSION, buffers, |_| Err(Error::new("no")))
    });
    #[rustfmt::skip]
    let expect = [
        0, 2, b'n', b'o',
        0, 0, 0, 0, 0, 0, 3, 0xe8,
        1, 2, b'k', 6, b'o', b'n', b'e',
    ];
    assert_eq!(ended, (-99, Some(expect.to_vec())));
}

#[test]
fn inputs_that_are_cut_off_are_told_by_their_code() {
    for cut in 0..INPUT.len() {
        let input = &INPUT[..cut];
        let filter = run(input, |input, buffers| {
            abi::filter(input, VERSION, buffers, |_| Ok(true))
        });
        let map = run(input, |input, buffers| {
            abi::map(input, VERSION, buffers, same)
        });
        assert_eq!(
            (&filter, &map),
            (&(-11, None), &(-11, None)),
            "cut at {cut}"
        );
    }
    // Whole, but its records say more than there is.
    for (at, byte) in [
        (11, 22),
        (15, 3),
        (16, 24),
        (16, 20),
        (20, 2),
        (21, 9),
        (28, 14),
        (33, 4),
    ] {
        let mut input = INPUT.to_vec();
        input[at] = byte;
        let (code, _) = run(&input, |input, buffers| {
            abi::map(input, VERSION, buffers, same)
        });
        assert!(matches!(code, -22 | -11), "byte {at}: {code}");
    }
}

#[test]
fn a_hint_is_cut_where_the_encoding_ends() {
    let long = "é".repeat(20_000);
    let (_, output) = run(INPUT, |input, buffers| {
        abi::map(input, VERSION, buffers, |_| {
            Err::<Keyed<'_>, _>(Error::new(&long))
        })
    });
    let output = output.unwrap();
    assert_eq!(
        output[5..7],
        32_766_u16.to_be_bytes(),
        "a whole character less than 32,767"
    );
    assert!(std::str::from_utf8(&output[7..7 + 32_766]).is_ok());
}
