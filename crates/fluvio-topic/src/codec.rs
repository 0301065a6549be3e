//! Records in Fluvio's form: encoded into one buffer, decoded in place.
//!
//! A batch's records are a count (i32, big-endian) and, for each, its length and fields as zigzag varints
//! (`fluvio_protocol::record::Record`). Fluvio's own decoder allocates for each record what a length says,
//! and gives fewer records where bytes are missing; here that is an error.

use fluvio::Compression;
use fluvio_protocol::record::{Batch, RawRecords};
use gristmill_record::{RecordRef, Records};

/// Fluvio's "no timestamp" is -1, and its readers take 0 for it too.
const TIMESTAMP_MIN: i64 = 1;

/// `records` as one batch, their timestamps kept.
///
/// # Errors
/// The compressor's.
pub(crate) fn encode<'a>(
    records: impl ExactSizeIterator<Item = RecordRef<'a>> + Clone,
    compression: Compression,
) -> Result<Batch<RawRecords>, String> {
    let count = i32::try_from(records.len()).map_err(|_| "too many records for a batch")?;
    let times = records.clone().map(|record| record.timestamp_ms);
    let first = times.clone().next().unwrap_or(-1).max(TIMESTAMP_MIN);
    let mut bytes = count.to_be_bytes().to_vec();
    for (index, record) in (0_i64..).zip(records) {
        put_record(&mut bytes, index, first, &record);
    }
    let mut batch = Batch::<RawRecords>::default();
    let header = batch.get_mut_header();
    header.last_offset_delta = count - 1;
    header.first_timestamp = first;
    header.max_time_stamp = times.max().unwrap_or(-1).max(first);
    header.set_compression(compression);
    let bytes = match compression {
        Compression::None => bytes.into(),
        other => other
            .compress(&bytes)
            .map_err(|error| format!("cannot compress: {error}"))?,
    };
    *batch.mut_records() = RawRecords(bytes);
    Ok(batch)
}

fn put_record(into: &mut Vec<u8>, index: i64, first_ms: i64, record: &RecordRef<'_>) {
    let delta = record.timestamp_ms.max(TIMESTAMP_MIN) - first_ms;
    let key = record.key;
    let key_size = 1 + key.map_or(0, |key| varint_size(key.len() as i64) + key.len());
    let value_size = varint_size(record.value.len() as i64) + record.value.len();
    let size = 1 + varint_size(delta) + varint_size(index) + key_size + value_size + 1;
    put_varint(into, size as i64);
    into.push(0);
    put_varint(into, delta);
    put_varint(into, index);
    into.push(u8::from(key.is_some()));
    for bytes in key.into_iter().chain([record.value]) {
        put_varint(into, bytes.len() as i64);
        into.extend_from_slice(bytes);
    }
    // No headers.
    into.push(0);
}

/// Copy the records of `batch` from offset `from` on to `into`. Returns the offset behind the batch.
///
/// # Errors
/// Bytes that are no such records.
pub(crate) fn decode(
    batch: &Batch<RawRecords>,
    from: i64,
    into: &mut Records,
) -> Result<i64, String> {
    let base = batch.get_base_offset();
    let next = base + batch.records_len() as i64;
    if next <= from {
        return Ok(next);
    }
    let raw = &batch.records().0[..];
    let compression = batch.get_compression().map_err(|error| error.to_string())?;
    let plain = compression
        .uncompress(raw)
        .map_err(|error| format!("the batch at offset {base} does not decompress: {error}"))?;
    let mut rest = Bytes(plain.as_deref().unwrap_or(raw));
    let broken = || format!("the batch at offset {base} is damaged");
    let count = rest.count().ok_or_else(broken)?;
    for offset in (base..).take(count) {
        let (delta, key, value) = rest.record().ok_or_else(broken)?;
        let timestamp_ms = match batch.get_base_timestamp() {
            ..=0 => -1,
            first => first.saturating_add(delta),
        };
        if offset >= from {
            into.push(RecordRef::new(offset, timestamp_ms, key, value));
        }
    }
    Ok(next)
}

/// A record's timestamp delta, key and value.
type Fields<'a> = (i64, Option<&'a [u8]>, &'a [u8]);

/// What is left of a batch's bytes.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|byte| byte[0])
    }

    fn count(&mut self) -> Option<usize> {
        let count = i32::from_be_bytes(self.take(4)?.try_into().ok()?);
        usize::try_from(count).ok()
    }

    /// Zigzag, seven bits a byte, the low ones first.
    fn varint(&mut self) -> Option<i64> {
        let mut bits = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            bits |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some((bits >> 1) as i64 ^ -((bits & 1) as i64));
            }
        }
        None
    }

    fn sized(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.varint()?).ok()?;
        self.take(len)
    }

    fn record(&mut self) -> Option<Fields<'a>> {
        let mut fields = Bytes(self.sized()?);
        fields.byte()?;
        let delta = fields.varint()?;
        fields.varint()?;
        let key = match fields.byte()? {
            0 => None,
            _ => Some(fields.sized()?),
        };
        Some((delta, key, fields.sized()?))
    }
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn varint_size(value: i64) -> usize {
    let bits = 64 - (zigzag(value) | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

fn put_varint(into: &mut Vec<u8>, value: i64) {
    let mut bits = zigzag(value);
    while bits >= 0x80 {
        into.push(bits as u8 | 0x80);
        bits >>= 7;
    }
    into.push(bits as u8);
}

#[cfg(test)]
mod tests {
    use fluvio_protocol::record::{Record, RecordData};
    use fluvio_protocol::{Decoder, Encoder};

    use super::*;

    type Row = (i64, Option<Vec<u8>>, Vec<u8>);

    fn rows() -> Vec<Row> {
        vec![
            (1_700_000_000_000, Some(b"k".to_vec()), b"v".to_vec()),
            // Earlier than the first, and an empty key, which is not none.
            (1_699_999_999_000, Some(Vec::new()), vec![0xff; 300]),
            (1_700_000_000_001, None, Vec::new()),
        ]
    }

    fn records(rows: &[Row]) -> Records {
        let mut records = Records::default();
        for (time, key, value) in rows {
            records.push(RecordRef::new(0, *time, key.as_deref(), value));
        }
        records
    }

    fn shown(records: &Records) -> Vec<(i64, Row)> {
        let row = |r: RecordRef<'_>| {
            let row = (r.timestamp_ms, r.key.map(<[u8]>::to_vec), r.value.to_vec());
            (r.offset, row)
        };
        records.iter().map(row).collect()
    }

    #[test]
    fn records_survive_in_every_compression() {
        for compression in [
            Compression::None,
            Compression::Gzip,
            Compression::Snappy,
            Compression::Lz4,
            Compression::Zstd,
        ] {
            let mut batch = encode(records(&rows()).iter(), compression).unwrap();
            batch.set_base_offset(40);
            let mut read = Records::default();
            assert_eq!(decode(&batch, 41, &mut read).unwrap(), 43);
            let expect: Vec<(i64, Row)> = (41..).zip(rows().into_iter().skip(1)).collect();
            assert_eq!(shown(&read), expect, "{compression}");
        }
    }

    #[test]
    fn fluvio_reads_what_we_write() {
        let batch = encode(records(&rows()).iter(), Compression::None).unwrap();
        let first = batch.get_base_timestamp();
        let (max, last) = (batch.header.max_time_stamp, batch.last_offset_delta());
        assert_eq!(
            (first, max, last),
            (1_700_000_000_000, 1_700_000_000_001, 2)
        );
        let theirs = batch.memory_records().unwrap();
        let mut read = Vec::new();
        for (index, record) in theirs.into_iter().enumerate() {
            assert_eq!(record.offset_delta(), index as i64);
            let key = record.key.as_ref().map(|key| key.to_vec());
            read.push((first + record.timestamp_delta(), key, record.value.to_vec()));
        }
        assert_eq!(read, rows());
    }

    #[test]
    fn we_read_what_fluvio_writes() {
        let theirs = rows().into_iter().map(|(time, key, value)| {
            let mut record = Record::new(value);
            record.key = key.map(RecordData::from);
            record
                .preamble
                .set_timestamp_delta(time - 1_700_000_000_000);
            record
        });
        let mut batch = Batch::from(theirs.collect::<Vec<Record>>());
        batch.header.first_timestamp = 1_700_000_000_000;
        let batch = Batch::<RawRecords>::try_from(batch).unwrap();
        let mut bytes = Vec::new();
        batch.encode(&mut bytes, 0).unwrap();
        let batch = Batch::<RawRecords>::decode_from(&mut &bytes[..], 0).unwrap();
        let mut read = Records::default();
        assert_eq!(decode(&batch, 0, &mut read).unwrap(), 3);
        let expect: Vec<(i64, Row)> = (0..).zip(rows()).collect();
        assert_eq!(shown(&read), expect);
    }

    #[test]
    fn damage_is_an_error_at_every_byte() {
        let whole = encode(records(&rows()).iter(), Compression::None).unwrap();
        let bytes = whole.records().0.clone();
        for len in 0..bytes.len() {
            let mut cut = whole.clone();
            *cut.mut_records() = RawRecords(bytes.slice(..len));
            let result = decode(&cut, 0, &mut Records::default());
            assert!(result.is_err(), "{len} of {} bytes", bytes.len());
        }
        for at in 0..bytes.len() {
            let mut changed = bytes.to_vec();
            changed[at] = 0xff;
            let mut batch = whole.clone();
            *batch.mut_records() = RawRecords(changed.into());
            // Whatever it gives: no panic, and no allocation of what a length claims.
            let _ = decode(&batch, 0, &mut Records::default());
        }
    }
}
