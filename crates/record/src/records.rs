//! Many records in one buffer.

use crate::Pool;

/// Records of one batch: their bytes in one buffer, an index beside it.
///
/// Offsets into the buffer are `u32`: a batch is bounded far below 4 GiB by every source.
#[derive(Debug, Default)]
pub struct Records {
    buffers: Buffers,
    /// Where the buffers go when the records are dropped.
    pool: Option<Pool>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Buffers {
    data: Vec<u8>,
    index: Vec<Entry>,
}

impl Buffers {
    /// Bytes that are taken up, used or not.
    pub(crate) fn bytes(&self) -> usize {
        self.data.capacity() + self.index.capacity() * size_of::<Entry>()
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Entry {
    offset: i64,
    timestamp_ms: i64,
    key: Option<(u32, u32)>,
    value: (u32, u32),
    headers: (u32, u32),
}

/// One record, borrowed from its batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RecordRef<'a> {
    /// Offset in its lane; a transform keeps the offset of the record it made this one from.
    pub offset: i64,
    /// Milliseconds since the epoch; -1 where there is none.
    pub timestamp_ms: i64,
    /// The key; `None` is Kafka's null key, which is not the same as an empty one.
    pub key: Option<&'a [u8]>,
    /// The value; a tombstone's null value reads as empty.
    pub value: &'a [u8],
    /// Headers, in order.
    pub headers: Headers<'a>,
}

impl<'a> RecordRef<'a> {
    /// A record without headers.
    pub fn new(offset: i64, timestamp_ms: i64, key: Option<&'a [u8]>, value: &'a [u8]) -> Self {
        Self {
            offset,
            timestamp_ms,
            key,
            value,
            headers: Headers::default(),
        }
    }
}

impl Records {
    /// An empty set with room for `records` records of `bytes` bytes in all.
    pub fn with_capacity(records: usize, bytes: usize) -> Self {
        let buffers = Buffers {
            data: Vec::with_capacity(bytes),
            index: Vec::with_capacity(records),
        };
        Self {
            buffers,
            pool: None,
        }
    }

    pub(crate) fn pooled(buffers: Buffers, pool: Pool) -> Self {
        let mut records = Self {
            buffers,
            pool: Some(pool),
        };
        records.clear();
        records
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.buffers.index.len()
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.buffers.index.is_empty()
    }

    /// Bytes of keys, values and headers in all.
    pub fn bytes(&self) -> usize {
        self.buffers.data.len()
    }

    /// Forget the records and keep the buffers.
    pub fn clear(&mut self) {
        self.buffers.data.clear();
        self.buffers.index.clear();
    }

    /// Copy a record in, headers included.
    pub fn push(&mut self, record: RecordRef<'_>) {
        self.append(record.offset, record.timestamp_ms, record.key, record.value);
        if !record.headers.0.is_empty() {
            let headers = self.put(record.headers.0);
            if let Some(last) = self.buffers.index.last_mut() {
                last.headers = headers;
            }
        }
    }

    /// Copy a record in whose headers are given as pairs.
    pub fn push_with_headers<'h, N: AsRef<str>>(
        &mut self,
        record: RecordRef<'_>,
        headers: impl IntoIterator<Item = (N, &'h [u8])>,
    ) {
        self.append(record.offset, record.timestamp_ms, record.key, record.value);
        let start = self.buffers.data.len();
        for (name, value) in headers {
            let name = name.as_ref();
            self.buffers
                .data
                .extend_from_slice(&(name.len() as u32).to_le_bytes());
            self.buffers.data.extend_from_slice(name.as_bytes());
            self.buffers
                .data
                .extend_from_slice(&(value.len() as u32).to_le_bytes());
            self.buffers.data.extend_from_slice(value);
        }
        let len = self.buffers.data.len() - start;
        if let Some(last) = self.buffers.index.last_mut() {
            last.headers = (start as u32, len as u32);
        }
    }

    /// The record at `index`.
    pub fn get(&self, index: usize) -> Option<RecordRef<'_>> {
        self.buffers
            .index
            .get(index)
            .map(|entry| self.record(entry))
    }

    /// The records in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = RecordRef<'_>> + Clone {
        self.buffers.index.iter().map(|entry| self.record(entry))
    }

    fn record(&self, entry: &Entry) -> RecordRef<'_> {
        RecordRef {
            offset: entry.offset,
            timestamp_ms: entry.timestamp_ms,
            key: entry.key.map(|range| self.slice(range)),
            value: self.slice(entry.value),
            headers: Headers(self.slice(entry.headers)),
        }
    }

    fn append(&mut self, offset: i64, timestamp_ms: i64, key: Option<&[u8]>, value: &[u8]) {
        let key = key.map(|key| self.put(key));
        let value = self.put(value);
        self.buffers.index.push(Entry {
            offset,
            timestamp_ms,
            key,
            value,
            headers: (0, 0),
        });
    }

    fn put(&mut self, bytes: &[u8]) -> (u32, u32) {
        let start = self.buffers.data.len() as u32;
        self.buffers.data.extend_from_slice(bytes);
        (start, bytes.len() as u32)
    }

    fn slice(&self, (start, len): (u32, u32)) -> &[u8] {
        &self.buffers.data[start as usize..(start + len) as usize]
    }
}

/// A copy belongs to no pool.
impl Clone for Records {
    fn clone(&self) -> Self {
        Self {
            buffers: self.buffers.clone(),
            pool: None,
        }
    }
}

impl PartialEq for Records {
    fn eq(&self, other: &Self) -> bool {
        self.buffers == other.buffers
    }
}

impl Drop for Records {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.take() {
            pool.give_back(std::mem::take(&mut self.buffers));
        }
    }
}

/// A record's headers, borrowed from its batch.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Headers<'a>(&'a [u8]);

impl<'a> Headers<'a> {
    /// Whether there is no header.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Name and value of each header, in order; names may repeat.
    pub fn iter(&self) -> HeadersIter<'a> {
        HeadersIter(self.0)
    }

    /// The last header of that name (Kafka's convention for repeated names).
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.iter()
            .filter(|(n, _)| *n == name)
            .map(|(_, value)| value)
            .last()
    }
}

/// Iterator over [`Headers`].
#[derive(Debug, Clone)]
pub struct HeadersIter<'a>(&'a [u8]);

impl<'a> HeadersIter<'a> {
    fn take(&mut self) -> Option<&'a [u8]> {
        let (len, rest) = self.0.split_first_chunk::<4>()?;
        let (bytes, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
        self.0 = rest;
        Some(bytes)
    }
}

impl<'a> Iterator for HeadersIter<'a> {
    type Item = (&'a str, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let name = std::str::from_utf8(self.take()?).ok()?;
        Some((name, self.take()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Owned = (i64, i64, Option<Vec<u8>>, Vec<u8>, Vec<(String, Vec<u8>)>);

    fn owned() -> impl Strategy<Value = Owned> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..40);
        (
            any::<i64>(),
            any::<i64>(),
            prop::option::of(bytes()),
            bytes(),
            prop::collection::vec((".{0,8}", bytes()), 0..4),
        )
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(input in prop::collection::vec(owned(), 0..20)) {
            let mut records = Records::default();
            for (offset, ts, key, value, headers) in &input {
                records.push_with_headers(
                    RecordRef::new(*offset, *ts, key.as_deref(), value),
                    headers.iter().map(|(n, v)| (n.as_str(), v.as_slice())),
                );
            }
            // Through `push` once more: copying a record between batches keeps its headers.
            let mut copy = Records::with_capacity(records.len(), records.bytes());
            records.iter().for_each(|record| copy.push(record));
            let output: Vec<Owned> = copy
                .iter()
                .map(|r| {
                    let headers =
                        r.headers.iter().map(|(n, v)| (n.to_owned(), v.to_vec())).collect();
                    (r.offset, r.timestamp_ms, r.key.map(<[u8]>::to_vec), r.value.to_vec(), headers)
                })
                .collect();
            prop_assert_eq!(output, input);
            prop_assert_eq!(copy.bytes(), records.bytes());
        }
    }

    #[test]
    fn a_null_key_is_not_an_empty_key() {
        let mut records = Records::default();
        records.push(RecordRef::new(0, 0, None, b"v"));
        records.push(RecordRef::new(1, 0, Some(b""), b"v"));
        assert_eq!(records.get(0).unwrap().key, None);
        assert_eq!(records.get(1).unwrap().key, Some(&b""[..]));
    }

    #[test]
    fn the_last_of_repeated_headers_counts() {
        let mut records = Records::default();
        let headers: [(&str, &[u8]); 2] = [("a", b"1"), ("a", b"2")];
        records.push_with_headers(RecordRef::new(0, 0, None, b""), headers);
        assert_eq!(records.get(0).unwrap().headers.get("a"), Some(&b"2"[..]));
        assert_eq!(records.get(0).unwrap().headers.get("b"), None);
    }
}
