//! Reads a recording event by event, from any event on, and writes each as an SSE frame.

use std::{
    borrow::Cow,
    fs::File,
    io::{self, BufRead, BufReader, Seek, SeekFrom},
};

use super::Place;
use crate::event_id::{self, Point};

/// No single event may be larger: reading it must not exhaust memory.
const EVENT_BYTES_MAX: usize = 256 << 20;
const READ_BUFFER_BYTES: usize = 128 << 10;
const BOM: &[u8] = b"\xef\xbb\xbf";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Sse,
    Ndjson(IdForm),
}

/// Which ids lines of JSON get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IdForm {
    /// Wikimedia's, from the line's own topic and time.
    Timestamp,
    /// The number of the line's event.
    Offset,
}

/// A reader and the event that it read last.
#[derive(Debug)]
pub(crate) struct Reader {
    input: BufReader<File>,
    format: Format,
    /// Of the event that comes next.
    next: Place,
    /// SSE: the event's bytes as recorded, blank line included. NDJSON: the line without its end.
    raw: Vec<u8>,
    /// The event's data, lines joined by LF. Used for SSE alone.
    data: Vec<u8>,
    /// The last event id as a client has it after this event.
    id: Option<String>,
    /// The event names its id itself.
    own_id: bool,
    /// The input ended within an event.
    pending: bool,
}

/// What an event's data says about where it comes from.
#[derive(serde::Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    meta: Option<Meta<'a>>,
    timestamp: Option<i64>,
}

#[derive(serde::Deserialize)]
struct Meta<'a> {
    #[serde(borrow)]
    dt: Option<Cow<'a, str>>,
    #[serde(borrow)]
    topic: Option<Cow<'a, str>>,
    partition: Option<i64>,
}

impl Reader {
    pub(super) fn new(mut file: File, format: Format, from: Place) -> io::Result<Self> {
        // The end of a recording has no byte offset: the file may have grown since.
        file.seek(match from.byte {
            u64::MAX => SeekFrom::End(0),
            byte => SeekFrom::Start(byte),
        })?;
        let mut reader = Self {
            input: BufReader::with_capacity(READ_BUFFER_BYTES, file),
            format,
            next: from,
            raw: Vec::new(),
            data: Vec::new(),
            id: None,
            own_id: false,
            pending: false,
        };
        if from.byte == 0 && reader.input.fill_buf()?.starts_with(BOM) {
            reader.consume(BOM.len());
        }
        Ok(reader)
    }

    /// Reads the next event and returns its place; `None` at the end.
    pub(crate) fn next_event(&mut self) -> io::Result<Option<Place>> {
        let place = self.next;
        let found = match self.format {
            Format::Sse => self.next_block()?,
            Format::Ndjson(_) => self.next_json_line()?,
        };
        if found {
            self.next.index += 1;
        }
        Ok(found.then_some(place))
    }

    /// The place of the event that comes next.
    pub(super) fn place(&self) -> Place {
        self.next
    }

    /// The last event id after this event; `None` if there is none.
    pub(super) fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Read from here on, this event has the id that it has when read from the start.
    pub(super) fn may_start_here(&self) -> bool {
        self.own_id || self.id.is_none()
    }

    /// The input ended within an event, which a client would never see.
    pub(super) fn pending(&self) -> bool {
        self.pending
    }

    /// When the event happened, in milliseconds of the epoch: by its id, which is one ahead, else
    /// by `meta.dt`, else by `timestamp`.
    pub(super) fn timestamp_ms(&self) -> Option<i64> {
        let of_id = || {
            let entries = event_id::parse(self.id.as_deref()?).ok()?;
            let times = entries.iter().filter_map(|entry| match entry.point()? {
                Point::Timestamp(timestamp) => Some(timestamp - 1),
                Point::Offset(_) => None,
            });
            times.max()
        };
        of_id().or_else(|| envelope_timestamp_ms(&envelope(self.document())?))
    }

    /// The event's data names a topic that can stand in an id.
    pub(super) fn has_topic(&self) -> bool {
        let topic = envelope(self.document()).and_then(|envelope| envelope.meta?.topic);
        topic.is_some_and(|topic| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            !topic.is_empty() && topic.bytes().all(plain)
        })
    }

    /// Appends the event as it goes on the wire, its data byte for byte.
    pub(crate) fn write_frame(&self, out: &mut Vec<u8>) {
        let Format::Ndjson(form) = self.format else {
            out.extend_from_slice(&self.raw);
            return;
        };
        let mut id = String::with_capacity(128);
        match (form, envelope(&self.raw)) {
            (IdForm::Timestamp, Some(envelope)) => {
                let timestamp_ms = envelope_timestamp_ms(&envelope).unwrap_or_default();
                let meta = envelope.meta.as_ref();
                let topic = meta
                    .and_then(|meta| meta.topic.as_deref())
                    .unwrap_or_default();
                let partition = meta.and_then(|meta| meta.partition).unwrap_or(0);
                event_id::write_timestamp(&mut id, topic, partition, timestamp_ms + 1);
            }
            // `next` is already the place behind this event, where its id resumes.
            _ => event_id::write_offset(&mut id, self.next.index),
        }
        write_frame(out, "message", &id, &self.raw);
    }

    fn document(&self) -> &[u8] {
        match self.format {
            Format::Sse => &self.data,
            Format::Ndjson(_) => &self.raw,
        }
    }

    /// Up to and with the blank line of a block that has data. Comments and blocks that are
    /// nothing else are left out, blocks with an id or a retry alone go along with the next event.
    fn next_block(&mut self) -> io::Result<bool> {
        self.raw.clear();
        self.data.clear();
        self.own_id = false;
        let mut has_data = false;
        let mut has_field = false;
        loop {
            let start = self.raw.len();
            let Some(end_bytes) = self.read_line()? else {
                self.pending = has_data || self.raw.len() > start;
                return Ok(false);
            };
            let line = &self.raw[start..self.raw.len() - end_bytes];
            if line.is_empty() {
                if has_data {
                    return Ok(true);
                }
                if !has_field {
                    self.raw.clear();
                }
                continue;
            }
            let (name, value) = split_field(line);
            has_field |= !name.is_empty();
            match name {
                b"data" => {
                    if has_data {
                        self.data.push(b'\n');
                    }
                    has_data = true;
                    self.data.extend_from_slice(value);
                }
                b"id" if !value.contains(&0) => {
                    self.own_id = true;
                    let id = String::from_utf8_lossy(value).into_owned();
                    self.id = (!id.is_empty()).then_some(id);
                }
                _ => {}
            }
        }
    }

    fn next_json_line(&mut self) -> io::Result<bool> {
        loop {
            self.raw.clear();
            let read = self.read_until_lf()?;
            if read == 0 {
                return Ok(false);
            }
            if self.raw.last() == Some(&b'\n') {
                self.raw.pop();
                if self.raw.last() == Some(&b'\r') {
                    self.raw.pop();
                }
            }
            if !self.raw.trim_ascii().is_empty() {
                return Ok(true);
            }
        }
    }

    fn read_until_lf(&mut self) -> io::Result<usize> {
        let mut read = 0;
        loop {
            let buffer = self.input.fill_buf()?;
            let end = buffer.iter().position(|&byte| byte == b'\n');
            let taken = end.map_or(buffer.len(), |end| end + 1);
            self.raw.extend_from_slice(&buffer[..taken]);
            self.consume(taken);
            read += taken;
            if end.is_some() || taken == 0 {
                return Ok(read);
            }
            self.check_size()?;
        }
    }

    /// Appends a line and its end (CRLF, LF or CR) to `raw` and returns the length of the end;
    /// `None` if the input ends before the line does.
    fn read_line(&mut self) -> io::Result<Option<usize>> {
        loop {
            let buffer = self.input.fill_buf()?;
            if buffer.is_empty() {
                return Ok(None);
            }
            let end = buffer
                .iter()
                .position(|&byte| byte == b'\n' || byte == b'\r');
            let taken = end.map_or(buffer.len(), |end| end + 1);
            let last = buffer[taken - 1];
            self.raw.extend_from_slice(&buffer[..taken]);
            self.consume(taken);
            self.check_size()?;
            if end.is_none() {
                continue;
            }
            if last == b'\r' && self.input.fill_buf()?.first() == Some(&b'\n') {
                self.raw.push(b'\n');
                self.consume(1);
                return Ok(Some(2));
            }
            return Ok(Some(1));
        }
    }

    fn consume(&mut self, bytes: usize) {
        self.input.consume(bytes);
        self.next.byte += bytes as u64;
    }

    fn check_size(&self) -> io::Result<()> {
        if self.raw.len() <= EVENT_BYTES_MAX {
            return Ok(());
        }
        Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!(
                "event {} is larger than {EVENT_BYTES_MAX} bytes",
                self.next.index
            ),
        ))
    }
}

/// Appends one event. Data that holds line ends, which SSE cannot carry within a line, becomes
/// several data lines; a client joins them with LF.
pub(crate) fn write_frame(out: &mut Vec<u8>, event: &str, id: &str, data: &[u8]) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(event.as_bytes());
    out.extend_from_slice(b"\nid: ");
    out.extend_from_slice(id.as_bytes());
    for line in data.split(|&byte| byte == b'\n' || byte == b'\r') {
        out.extend_from_slice(b"\ndata: ");
        out.extend_from_slice(line);
    }
    out.extend_from_slice(b"\n\n");
}

/// Name and value of a field line; a comment has an empty name.
fn split_field(line: &[u8]) -> (&[u8], &[u8]) {
    match line.iter().position(|&byte| byte == b':') {
        Some(colon) => {
            let value = &line[colon + 1..];
            (&line[..colon], value.strip_prefix(b" ").unwrap_or(value))
        }
        None => (line, b""),
    }
}

fn envelope(document: &[u8]) -> Option<Envelope<'_>> {
    serde_json::from_slice(document).ok()
}

fn envelope_timestamp_ms(envelope: &Envelope<'_>) -> Option<i64> {
    let dt = envelope.meta.as_ref().and_then(|meta| meta.dt.as_deref());
    dt.and_then(|dt| dt.parse::<jiff::Timestamp>().ok())
        .map(|time| time.as_millisecond())
        .or_else(|| envelope.timestamp?.checked_mul(1000))
}
