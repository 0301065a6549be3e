//! WHATWG HTML, section 9.2.6, as it is written, for a whole body in memory.

/// One dispatched event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub name: String,
    pub data: String,
    /// Bytes of its data on the wire, before bad UTF-8 was replaced.
    pub wire_bytes: usize,
    pub last_id: String,
}

/// What a body says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stream {
    pub events: Vec<Event>,
    pub retry_ms: Option<u64>,
    pub last_id: String,
}

/// Reads a body that was asked for with `last_id`.
pub fn parse(bytes: &[u8], last_id: &str) -> Stream {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let mut stream = Stream {
        last_id: last_id.to_owned(),
        ..Stream::default()
    };
    let mut id = last_id.to_owned();
    let (mut name, mut data, mut wire_bytes) = (String::new(), String::new(), 0);
    for raw in lines(bytes) {
        // CR and LF are part of no longer UTF-8 sequence: lines can be decoded one by one.
        let line = String::from_utf8_lossy(raw);
        if line.is_empty() {
            stream.last_id.clone_from(&id);
            if let Some(data) = data.strip_suffix('\n') {
                stream.events.push(Event {
                    name: if name.is_empty() { "message" } else { &name }.to_owned(),
                    data: data.to_owned(),
                    wire_bytes: wire_bytes - 1,
                    last_id: id.clone(),
                });
            }
            (name, data, wire_bytes) = (String::new(), String::new(), 0);
            continue;
        }
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => name = value.to_owned(),
            "data" => {
                data.push_str(value);
                data.push('\n');
                // The field's name is ASCII: what precedes the value has the same length in both.
                wire_bytes += raw.len() - prefix(raw) + 1;
            }
            "id" if !value.contains('\0') => id = value.to_owned(),
            "retry" if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) => {
                stream.retry_ms = Some(value.parse().unwrap_or(u64::MAX));
            }
            _ => {}
        }
    }
    stream
}

/// Complete lines: what follows the last line end is none.
fn lines(bytes: &[u8]) -> Vec<&[u8]> {
    let mut lines = Vec::new();
    let (mut start, mut at) = (0, 0);
    while at < bytes.len() {
        match bytes[at] {
            b'\n' => lines.push(&bytes[start..at]),
            b'\r' => {
                lines.push(&bytes[start..at]);
                at += usize::from(bytes.get(at + 1) == Some(&b'\n'));
            }
            _ => {
                at += 1;
                continue;
            }
        }
        at += 1;
        start = at;
    }
    lines
}

/// Bytes before a line's value: name, colon, one space.
fn prefix(line: &[u8]) -> usize {
    match line.iter().position(|byte| *byte == b':') {
        None => line.len(),
        Some(colon) => colon + 1 + usize::from(line.get(colon + 1) == Some(&b' ')),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_specifications_example() {
        let body = b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n";
        let stream = parse(body, "0");
        let seen: Vec<_> = stream
            .events
            .iter()
            .map(|e| (e.name.as_str(), e.data.as_str(), e.last_id.as_str()))
            .collect();
        assert_eq!(
            seen,
            [
                ("message", "first event", "1"),
                ("message", "second event", "")
            ]
        );
    }

    #[test]
    fn every_line_end_and_bytes_of_the_wire() {
        let stream = parse(b"data: a\rdata:\xff\r\ndata\n\r\nretry: 5\n\n", "7");
        let event = &stream.events[0];
        assert_eq!(
            (event.data.as_str(), event.wire_bytes),
            ("a\n\u{fffd}\n", 4)
        );
        assert_eq!((event.last_id.as_str(), stream.retry_ms), ("7", Some(5)));
    }
}
