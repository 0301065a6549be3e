//! Many records in one stored value.
//!
//! ```text
//! chunk  = version u8 | count u32 | high_ts i64 | record*
//! record = timestamp i64 | key length + 1 (0 = null) | value length | header count
//!          | key | value | header*
//! header = name length | name | value length | value
//! ```
//! Integers are little-endian, lengths LEB128. Offsets are not stored: a chunk's records follow its
//! base offset one by one. `high_ts` is the highest timestamp of the partition up to and including
//! this chunk, so it never falls and a search by time can stop.

use gristmill_record::{RecordRef, Records};

const VERSION: u8 = 1;
const HEADER_BYTES: usize = 13;

/// A chunk is closed when it holds this much. The database rounds a large value up to a power of
/// two of its 4 KiB pages, so this is a little under one: 256 KiB less room for a common record.
const CLOSE_BYTES: usize = 250 * 1024;

/// A chunk on its way into the log.
#[derive(Debug)]
pub(crate) struct Chunk {
    bytes: Vec<u8>,
    count: u32,
    newest_ms: i64,
}

impl Chunk {
    pub(crate) fn new() -> Self {
        Self {
            bytes: vec![0; HEADER_BYTES],
            count: 0,
            newest_ms: i64::MIN,
        }
    }

    pub(crate) fn push(&mut self, record: &RecordRef<'_>) {
        let out = &mut self.bytes;
        out.extend_from_slice(&record.timestamp_ms.to_le_bytes());
        put_len(out, record.key.map_or(0, |key| key.len() + 1));
        put_len(out, record.value.len());
        put_len(out, record.headers.iter().count());
        out.extend_from_slice(record.key.unwrap_or_default());
        out.extend_from_slice(record.value);
        for (name, value) in record.headers.iter() {
            put_len(out, name.len());
            out.extend_from_slice(name.as_bytes());
            put_len(out, value.len());
            out.extend_from_slice(value);
        }
        self.count += 1;
        self.newest_ms = self.newest_ms.max(record.timestamp_ms);
    }

    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    pub(crate) fn is_full(&self) -> bool {
        self.bytes.len() >= CLOSE_BYTES
    }

    /// The stored form, and the partition's highest timestamp with it; `high_ms` is the one before.
    pub(crate) fn seal(&mut self, high_ms: i64) -> (&[u8], i64) {
        let high_ms = high_ms.max(self.newest_ms);
        self.bytes[0] = VERSION;
        self.bytes[1..5].copy_from_slice(&self.count.to_le_bytes());
        self.bytes[5..13].copy_from_slice(&high_ms.to_le_bytes());
        (&self.bytes, high_ms)
    }
}

/// A stored chunk, borrowed from the database.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ChunkRef<'a> {
    base: i64,
    count: u32,
    high_ms: i64,
    body: &'a [u8],
}

impl<'a> ChunkRef<'a> {
    /// `None` if these are no bytes of a chunk.
    pub(crate) fn parse(base: i64, bytes: &'a [u8]) -> Option<Self> {
        let (header, body) = bytes.split_first_chunk::<HEADER_BYTES>()?;
        let (version, rest) = header.split_first()?;
        let (count, high_ms) = rest.split_first_chunk::<4>()?;
        (*version == VERSION).then_some(Self {
            base,
            count: u32::from_le_bytes(*count),
            high_ms: i64::from_le_bytes(high_ms.try_into().ok()?),
            body,
        })
    }

    /// Highest timestamp of the partition up to the end of this chunk.
    pub(crate) fn high_ms(&self) -> i64 {
        self.high_ms
    }

    /// Copy records from `offset` on into `records`, until those hold `records_max` or
    /// `bytes_max`; at least one. False if the chunk was cut short by a limit, `None` if it is
    /// damaged.
    pub(crate) fn read(
        &self,
        offset: i64,
        records_max: usize,
        bytes_max: usize,
        records: &mut Records,
    ) -> Option<bool> {
        let mut body = self.body;
        for at in self.base..self.base.checked_add(i64::from(self.count))? {
            if at < offset {
                skip(&mut body)?;
                continue;
            }
            let full = records.len() >= records_max || records.bytes() >= bytes_max;
            if full && !records.is_empty() {
                return Some(false);
            }
            take(&mut body, at, records)?;
        }
        Some(true)
    }
}

struct Sizes {
    timestamp_ms: i64,
    key: Option<usize>,
    value: usize,
    headers: usize,
}

fn sizes(body: &mut &[u8]) -> Option<Sizes> {
    let (timestamp, rest) = body.split_first_chunk::<8>()?;
    *body = rest;
    Some(Sizes {
        timestamp_ms: i64::from_le_bytes(*timestamp),
        key: get_len(body)?.checked_sub(1),
        value: get_len(body)?,
        headers: get_len(body)?,
    })
}

fn skip(body: &mut &[u8]) -> Option<()> {
    let sizes = sizes(body)?;
    get_bytes(body, sizes.key.unwrap_or(0))?;
    get_bytes(body, sizes.value)?;
    for _ in 0..sizes.headers {
        get_header(body)?;
    }
    Some(())
}

fn take(body: &mut &[u8], offset: i64, records: &mut Records) -> Option<()> {
    let sizes = sizes(body)?;
    let key = get_bytes(body, sizes.key.unwrap_or(0))?;
    let key = sizes.key.map(|_| key);
    let record = RecordRef::new(
        offset,
        sizes.timestamp_ms,
        key,
        get_bytes(body, sizes.value)?,
    );
    if sizes.headers == 0 {
        records.push(record);
        return Some(());
    }
    let mut whole = true;
    let headers = (0..sizes.headers).map_while(|_| {
        let header = get_header(body);
        whole &= header.is_some();
        header
    });
    records.push_with_headers(record, headers);
    whole.then_some(())
}

fn get_header<'a>(body: &mut &'a [u8]) -> Option<(&'a str, &'a [u8])> {
    let len = get_len(body)?;
    let name = std::str::from_utf8(get_bytes(body, len)?).ok()?;
    let len = get_len(body)?;
    Some((name, get_bytes(body, len)?))
}

fn get_bytes<'a>(body: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (bytes, rest) = body.split_at_checked(len)?;
    *body = rest;
    Some(bytes)
}

fn get_len(body: &mut &[u8]) -> Option<usize> {
    let mut len = 0_usize;
    for shift in (0..usize::BITS).step_by(7) {
        let (byte, rest) = body.split_first()?;
        *body = rest;
        len |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(len);
        }
    }
    None
}

fn put_len(out: &mut Vec<u8>, mut len: usize) {
    while len >= 0x80 {
        out.push(len as u8 | 0x80);
        len >>= 7;
    }
    out.push(len as u8);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Owned = (i64, Option<Vec<u8>>, Vec<u8>, Vec<(String, Vec<u8>)>);

    fn owned() -> impl Strategy<Value = Owned> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..300);
        let headers = prop::collection::vec((".{0,8}", bytes()), 0..3);
        (any::<i64>(), prop::option::of(bytes()), bytes(), headers)
    }

    fn records(input: &[Owned], base: i64) -> Records {
        let mut records = Records::default();
        for (at, (timestamp, key, value, headers)) in (base..).zip(input) {
            records.push_with_headers(
                RecordRef::new(at, *timestamp, key.as_deref(), value),
                headers.iter().map(|(n, v)| (n.as_str(), v.as_slice())),
            );
        }
        records
    }

    fn stored(records: &Records) -> Vec<u8> {
        let mut chunk = Chunk::new();
        records.iter().for_each(|record| chunk.push(&record));
        chunk.seal(i64::MIN).0.to_vec()
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(
            input in prop::collection::vec(owned(), 1..12),
            base in 0..1_i64 << 40,
            skipped in 0..12_usize,
            records_max in 1..12_usize,
        ) {
            let all = records(&input, base);
            let bytes = stored(&all);
            let chunk = ChunkRef::parse(base, &bytes).unwrap();
            let mut read = Records::default();
            let whole = chunk.read(base + skipped as i64, records_max, usize::MAX, &mut read);
            let expect: Vec<_> = all.iter().skip(skipped).take(records_max).collect();
            prop_assert_eq!(whole, Some(skipped + records_max >= input.len()));
            prop_assert_eq!(read.len(), expect.len());
            for (read, expect) in read.iter().zip(expect) {
                prop_assert_eq!(read.offset, expect.offset);
                prop_assert_eq!(read.timestamp_ms, expect.timestamp_ms);
                prop_assert_eq!((read.key, read.value), (expect.key, expect.value));
                prop_assert!(read.headers.iter().eq(expect.headers.iter()));
            }
        }

        #[test]
        fn damaged_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some(chunk) = ChunkRef::parse(0, &bytes) {
                let _ = chunk.read(0, 100, 1000, &mut Records::default());
            }
        }

        #[test]
        fn a_chunk_cut_short_is_noticed(input in prop::collection::vec(owned(), 1..4), cut in 1..50_usize) {
            let bytes = stored(&records(&input, 0));
            let cut = &bytes[..bytes.len().saturating_sub(cut)];
            if let Some(chunk) = ChunkRef::parse(0, cut) {
                prop_assert_eq!(chunk.read(0, 100, usize::MAX, &mut Records::default()), None);
            }
        }
    }

    #[test]
    fn the_highest_timestamp_never_falls() {
        let mut chunk = Chunk::new();
        chunk.push(&RecordRef::new(0, 50, None, b""));
        assert_eq!(chunk.seal(70).1, 70);
        assert_eq!(chunk.seal(20).1, 50);
    }
}
