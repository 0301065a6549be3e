//! The log that is served: an event has one index, one id, one sequence of bytes.

use std::{io, sync::Arc};

use crate::{
    Event, Generator, ReplayError, Resume, Source,
    event_id::{self, Point, REPLAY_TOPIC},
    generator::{OFFSET_FIRST, TOPIC},
    recording::{Place, Reader, Recording, write_frame},
};

/// A read adds frames until it has so many bytes: what a connection buffers, but for one event.
const CHUNK_BYTES: usize = 64 << 10;

#[derive(Debug, Clone)]
pub(crate) enum Log {
    /// The first `events` events of a generator.
    Generated {
        generator: Generator,
        events: u64,
    },
    Recorded(Arc<Recording>),
}

/// Where a client asks to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Start {
    /// At the first event: a recording has no "now".
    Beginning,
    /// Milliseconds of the epoch.
    Since(i64),
    /// `Last-Event-ID`.
    After(String),
}

/// Why there is no place for a [`Start`].
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error(
        "Last-Event-ID {id:?} is no id of this stream: {reason}; send one that the server sent, or a JSON array of {{\"topic\", \"partition\", \"timestamp\" or \"offset\"}}"
    )]
    Id { id: String, reason: String },
    #[error("cannot read the recording: {0}")]
    Read(#[from] io::Error),
}

/// Whole SSE events, ready to send.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    pub(crate) bytes: Vec<u8>,
    /// Where each event ends in `bytes`.
    pub(crate) ends: Vec<usize>,
}

/// Reads a log from some place on.
#[derive(Debug)]
pub(crate) enum Cursor {
    Generated {
        generator: Generator,
        end: u64,
        event: Event,
    },
    Recorded {
        reader: Reader,
        left: u64,
    },
}

impl Log {
    /// Opens a source. A recording is read from end to end: call it where blocking is allowed.
    pub(crate) fn open(source: Source) -> Result<Self, ReplayError> {
        Ok(match source {
            Source::Generate { options, events } => Self::Generated {
                generator: Generator::new(options),
                events: events.unwrap_or(u64::MAX),
            },
            Source::Sse(path) => Self::Recorded(Arc::new(Recording::open_sse(&path)?)),
            Source::Ndjson(path) => Self::Recorded(Arc::new(Recording::open_ndjson(&path)?)),
        })
    }

    pub(crate) fn events(&self) -> u64 {
        match self {
            Self::Generated { events, .. } => *events,
            Self::Recorded(recording) => recording.events(),
        }
    }

    /// Finds where to start. May read much of a recording: call it where blocking is allowed.
    pub(crate) fn place(&self, start: &Start, resume: Resume) -> Result<Place, StartError> {
        match start {
            Start::Beginning => Ok(self.at(0)?),
            Start::Since(timestamp_ms) => Ok(self.first_at(*timestamp_ms)?),
            Start::After(id) => {
                // An id of another form says nothing about time: it can only be looked up.
                if (resume == Resume::Exact || event_id::parse(id).is_err())
                    && let Some(place) = self.behind(id)?
                {
                    return Ok(place);
                }
                self.place_of_id(id)
            }
        }
    }

    pub(crate) fn cursor(&self, place: Place) -> io::Result<Cursor> {
        Ok(match self {
            Self::Generated { generator, events } => {
                let mut generator = generator.clone();
                generator.seek(place.index);
                Cursor::Generated {
                    generator,
                    end: *events,
                    event: Event::default(),
                }
            }
            Self::Recorded(recording) => Cursor::Recorded {
                reader: recording.reader(place)?,
                left: recording.events() - place.index,
            },
        })
    }

    /// The place behind the last event with exactly this id.
    fn behind(&self, id: &str) -> io::Result<Option<Place>> {
        let (generator, events) = match self {
            Self::Recorded(recording) => return recording.behind(id),
            Self::Generated { generator, events } => (generator, *events),
        };
        let entries = event_id::parse(id).unwrap_or_default();
        let Some(Point::Timestamp(timestamp_ms)) = entries.first().and_then(|it| it.point()) else {
            return Ok(None);
        };
        let mut own = String::with_capacity(id.len());
        event_id::write_timestamp(&mut own, TOPIC, 0, timestamp_ms);
        let index = (own == id)
            .then(|| generator.last_with(timestamp_ms - 1))
            .flatten();
        Ok(index.filter(|&index| index < events).map(|index| Place {
            index: index + 1,
            byte: 0,
        }))
    }

    /// The earliest of the places that an id's entries name. Entries of topics that this log does
    /// not hold count only if there is no other.
    fn place_of_id(&self, id: &str) -> Result<Place, StartError> {
        let wrong = |reason: String| StartError::Id {
            id: id.to_owned(),
            reason,
        };
        let entries = event_id::parse(id).map_err(wrong)?;
        let known = |topic: &str| matches!(self, Self::Generated { .. }) && topic == TOPIC;
        let any_known = entries
            .iter()
            .any(|it| known(&it.topic) && it.point().is_some());
        let mut earliest: Option<Place> = None;
        for entry in entries.iter().filter(|it| !any_known || known(&it.topic)) {
            let place = match entry.point() {
                None => continue,
                Some(Point::Timestamp(timestamp_ms)) => self.first_at(timestamp_ms)?,
                Some(Point::Offset(index)) if entry.topic == REPLAY_TOPIC => self.at(index)?,
                Some(Point::Offset(offset)) if known(&entry.topic) => {
                    self.at(offset.saturating_sub(OFFSET_FIRST))?
                }
                Some(Point::Offset(offset)) => {
                    return Err(wrong(format!(
                        "offset {offset} of topic {} cannot be looked up here, a timestamp can",
                        entry.topic
                    )));
                }
            };
            if earliest.is_none_or(|other| place.index < other.index) {
                earliest = Some(place);
            }
        }
        earliest.ok_or_else(|| wrong("it names no position".to_owned()))
    }

    fn first_at(&self, timestamp_ms: i64) -> io::Result<Place> {
        match self {
            Self::Generated { generator, events } => Ok(Place {
                index: generator.first_at(timestamp_ms).min(*events),
                byte: 0,
            }),
            Self::Recorded(recording) => recording.first_at(timestamp_ms),
        }
    }

    fn at(&self, index: u64) -> io::Result<Place> {
        match self {
            Self::Generated { events, .. } => Ok(Place {
                index: index.min(*events),
                byte: 0,
            }),
            Self::Recorded(recording) => recording.at(index),
        }
    }
}

impl Cursor {
    /// Reading it touches files, so it may block.
    pub(crate) fn blocks(&self) -> bool {
        matches!(self, Self::Recorded { .. })
    }

    /// Appends events to `frames` up to a chunk; nothing at the end of the log.
    pub(crate) fn read(&mut self, frames: &mut Frames) -> io::Result<()> {
        while frames.bytes.len() < CHUNK_BYTES {
            match self {
                Self::Generated {
                    generator,
                    end,
                    event,
                } => {
                    if generator.index() >= *end {
                        return Ok(());
                    }
                    generator.fill(event);
                    let data = event.data.as_bytes();
                    write_frame(&mut frames.bytes, event.event, &event.id, data);
                }
                Self::Recorded { reader, left } => {
                    if *left == 0 || reader.next_event()?.is_none() {
                        return Ok(());
                    }
                    *left -= 1;
                    reader.write_frame(&mut frames.bytes);
                }
            }
            frames.ends.push(frames.bytes.len());
        }
        Ok(())
    }
}
