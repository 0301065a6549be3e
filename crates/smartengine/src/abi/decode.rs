//! From what a guest handed over to records and errors. Every length is checked.

/// Bytes that are not the encoding they should be, or that contradict the call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Garbage(pub(crate) String);

/// Length, attributes, two deltas, no key, an empty value, no headers.
const RECORD_BYTES_MIN: usize = 7;

/// What a transform handed over (`SmartModuleOutput`, `SmartModuleAggregateOutput`).
#[derive(Debug, PartialEq)]
pub(crate) struct Output<'a> {
    records: Vec<OutputRecord<'a>>,
    /// The error that stopped the batch, if one did.
    pub(crate) error: Option<OutputError<'a>>,
    /// The new accumulator; only where one was asked for.
    pub(crate) accumulator: Option<&'a [u8]>,
}

/// `SmartModuleTransformRuntimeError`; key and value repeat the record, which the host has.
#[derive(Debug, PartialEq)]
pub(crate) struct OutputError<'a> {
    pub(crate) hint: &'a [u8],
    pub(crate) offset: i64,
}

/// One record of an output.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct OutputRecord<'a> {
    pub(crate) offset_delta: i64,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: &'a [u8],
}

impl<'a> Output<'a> {
    /// The successes, in order.
    pub(crate) fn records(&self) -> impl ExactSizeIterator<Item = OutputRecord<'a>> {
        self.records.iter().copied()
    }

    /// Number of successes.
    pub(crate) fn count(&self) -> usize {
        self.records.len()
    }

    /// The list of records, emptied, for the next output.
    pub(crate) fn into_spare(mut self) -> Spare {
        self.records.clear();
        // Collected in place: the memory stays.
        self.records
            .into_iter()
            .map(|_| OutputRecord::NONE)
            .collect()
    }
}

/// Room for the records of an output.
pub(crate) type Spare = Vec<OutputRecord<'static>>;

impl OutputRecord<'static> {
    const NONE: Self = Self {
        offset_delta: 0,
        key: None,
        value: &[],
    };
}

/// Check an output from its first byte to its last. `spare` is an earlier output's, or new.
///
/// # Errors
/// It is not the encoding, or bytes are left over.
pub(crate) fn decode_output(
    bytes: &[u8],
    aggregate: bool,
    spare: Spare,
) -> Result<Output<'_>, Garbage> {
    let mut reader = Reader { bytes, at: 0 };
    // Vec's length is an i32 in Fluvio, and a negative one means none.
    let count = i32::from_be_bytes(reader.array()?).max(0) as usize;
    // A count may lie: there cannot be more records than the bytes have room for.
    let mut records: Vec<OutputRecord<'_>> = spare;
    records.reserve(count.min(bytes.len() / RECORD_BYTES_MIN));
    for _ in 0..count {
        records.push(reader.record()?);
    }
    let error = match reader.boolean()? {
        false => None,
        true => {
            let hint = reader.string()?;
            let offset = i64::from_be_bytes(reader.array()?);
            reader.take(1)?; // the kind, which the host knows
            if reader.boolean()? {
                reader.data()?;
            }
            reader.data()?;
            Some(OutputError { hint, offset })
        }
    };
    let accumulator = if aggregate { Some(reader.vec()?) } else { None };
    reader.end()?;
    Ok(Output {
        records,
        error,
        accumulator,
    })
}

/// The hint of a `SmartModuleInitOutput`.
pub(crate) fn decode_init_error(bytes: &[u8]) -> Result<&[u8], Garbage> {
    let mut reader = Reader { bytes, at: 0 };
    let hint = reader.string()?;
    reader.end()?;
    Ok(hint)
}

/// Hint and offset of a `SmartModuleLookbackOutput`.
pub(crate) fn decode_look_back_error(bytes: &[u8]) -> Result<OutputError<'_>, Garbage> {
    let mut reader = Reader { bytes, at: 0 };
    let hint = reader.string()?;
    let offset = i64::from_be_bytes(reader.array()?);
    if reader.boolean()? {
        reader.data()?;
    }
    reader.data()?;
    reader.end()?;
    Ok(OutputError { hint, offset })
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], Garbage> {
        let end = self.at.checked_add(len);
        match end.and_then(|end| self.bytes.get(self.at..end)) {
            Some(bytes) => {
                self.at += len;
                Ok(bytes)
            }
            None => Err(Garbage(format!(
                "{len} bytes wanted at byte {} of an output of {}",
                self.at,
                self.bytes.len()
            ))),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Garbage> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn boolean(&mut self) -> Result<bool, Garbage> {
        match self.array()? {
            [0] => Ok(false),
            [1] => Ok(true),
            [other] => Err(Garbage(format!(
                "{other} for a boolean at byte {}",
                self.at - 1
            ))),
        }
    }

    fn varint(&mut self) -> Result<i64, Garbage> {
        let start = self.at;
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        Err(Garbage(format!("a number beyond 64 bits at byte {start}")))
    }

    fn len(&mut self) -> Result<usize, Garbage> {
        let start = self.at;
        let len = self.varint()?;
        usize::try_from(len).map_err(|_| Garbage(format!("length {len} at byte {start}")))
    }

    /// `RecordData`: a varint length and bytes.
    fn data(&mut self) -> Result<&'a [u8], Garbage> {
        let len = self.len()?;
        self.take(len)
    }

    /// `String`: a 16-bit length and bytes.
    fn string(&mut self) -> Result<&'a [u8], Garbage> {
        let len = u16::from_be_bytes(self.array()?);
        self.take(usize::from(len))
    }

    /// `Vec<u8>`: a 32-bit length and bytes.
    fn vec(&mut self) -> Result<&'a [u8], Garbage> {
        let len = i32::from_be_bytes(self.array()?).max(0);
        self.take(len as usize)
    }

    fn record(&mut self) -> Result<OutputRecord<'a>, Garbage> {
        let len = self.len()?;
        let start = self.at;
        self.take(1)?; // attributes
        self.varint()?; // timestamp delta: a record keeps its origin's timestamp
        let offset_delta = self.varint()?;
        let key = if self.boolean()? {
            Some(self.data()?)
        } else {
            None
        };
        let value = self.data()?;
        self.varint()?; // header count, which Fluvio follows with nothing
        if self.at - start != len {
            return Err(Garbage(format!(
                "a record at byte {start} says it has {len} bytes and has {}",
                self.at - start
            )));
        }
        Ok(OutputRecord {
            offset_delta,
            key,
            value,
        })
    }

    fn end(&self) -> Result<(), Garbage> {
        match self.bytes.len() - self.at {
            0 => Ok(()),
            left => Err(Garbage(format!("{left} bytes left over after the output"))),
        }
    }
}
