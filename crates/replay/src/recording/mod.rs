//! Recordings on disk: read once from end to end to index them, then streamed from any event.
//!
//! ```text
//! open:   file ─▶ reader ─▶ every event ─▶ blocks (sparse index, bounded)
//! serve:  id or time ─▶ block ─▶ reader from the block's start ─▶ frames
//! ```

mod index;
mod reader;

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

pub(crate) use index::Place;
use index::{Index, id_key};
use reader::{Format, IdForm};
pub(crate) use reader::{Reader, write_frame};

use crate::ReplayError;

/// A recording and its index. The file must not change while it is served; bytes appended to it
/// later are not served.
#[derive(Debug)]
pub(crate) struct Recording {
    path: PathBuf,
    format: Format,
    index: Index,
}

impl Recording {
    /// Indexes a file of raw SSE bytes. Reads all of it.
    pub(crate) fn open_sse(path: &Path) -> Result<Self, ReplayError> {
        let mut index = Index::default();
        let read = |source| ReplayError::Read {
            path: path.to_owned(),
            source,
        };
        let mut reader = Reader::new(open(path)?, Format::Sse, Place::default()).map_err(read)?;
        while let Some(place) = reader.next_event().map_err(read)? {
            index.add(
                place,
                reader.timestamp_ms(),
                id_key(reader.id()),
                reader.may_start_here(),
            );
        }
        if reader.pending() {
            tracing::warn!(path = %path.display(), "the recording ends within an event, which is not served: an event ends with a blank line");
        }
        if index.events() == 0 {
            let remedy = "an event is one or more `data:` lines and a blank line";
            return Err(ReplayError::Empty {
                path: path.to_owned(),
                remedy,
            });
        }
        Ok(Self {
            path: path.to_owned(),
            format: Format::Sse,
            index,
        })
    }

    /// Indexes a file with one JSON document a line. Reads all of it.
    pub(crate) fn open_ndjson(path: &Path) -> Result<Self, ReplayError> {
        let mut index = Index::default();
        let read = |source| ReplayError::Read {
            path: path.to_owned(),
            source,
        };
        let format = Format::Ndjson(IdForm::Offset);
        let mut reader = Reader::new(open(path)?, format, Place::default()).map_err(read)?;
        // Ids made of timestamps resume exactly only where no two events share one.
        let mut last = Some(i64::MIN);
        while let Some(place) = reader.next_event().map_err(read)? {
            let timestamp_ms = reader.timestamp_ms();
            last = match (last, timestamp_ms, reader.has_topic()) {
                (Some(last), Some(now), true) if now > last => Some(now),
                _ => None,
            };
            index.add(place, timestamp_ms, None, true);
        }
        if index.events() == 0 {
            let remedy = "an event is a line that is not blank";
            return Err(ReplayError::Empty {
                path: path.to_owned(),
                remedy,
            });
        }
        let form = if last.is_some() {
            IdForm::Timestamp
        } else {
            IdForm::Offset
        };
        Ok(Self {
            path: path.to_owned(),
            format: Format::Ndjson(form),
            index,
        })
    }

    /// Number of events.
    pub(crate) fn events(&self) -> u64 {
        self.index.events()
    }

    /// A reader whose next event is the one of `place`.
    pub(crate) fn reader(&self, place: Place) -> io::Result<Reader> {
        Reader::new(File::open(&self.path)?, self.format, place)
    }

    /// The place behind the last event that carries exactly this id.
    pub(crate) fn behind(&self, id: &str) -> io::Result<Option<Place>> {
        let Some(key) = id_key(Some(id)) else {
            return Ok(None);
        };
        match self.format {
            // Made-up ids: arithmetic, or a strictly increasing time.
            Format::Ndjson(_) => Ok(None),
            Format::Sse => {
                for block in self.index.blocks_with_key(key).rev() {
                    let mut reader = self.reader(block.first)?;
                    let mut found = None;
                    let mut events = 0;
                    while events < block.events && reader.next_event()?.is_some() {
                        events += 1;
                        if reader.id() == Some(id) {
                            found = Some(reader.place());
                        }
                    }
                    if found.is_some() {
                        return Ok(found);
                    }
                }
                Ok(None)
            }
        }
    }

    /// The first event, in log order, whose timestamp is at least `timestamp_ms`; the end if there
    /// is none.
    pub(crate) fn first_at(&self, timestamp_ms: i64) -> io::Result<Place> {
        let Some(block) = self.index.block_reaching(timestamp_ms) else {
            return Ok(self.index.end());
        };
        let mut reader = self.reader(block.first)?;
        while let Some(place) = reader.next_event()? {
            if reader.timestamp_ms().is_some_and(|at| at >= timestamp_ms) {
                return Ok(place);
            }
        }
        Ok(self.index.end())
    }

    /// The event of `index`; the end if the recording is shorter.
    pub(crate) fn at(&self, index: u64) -> io::Result<Place> {
        if index >= self.events() {
            return Ok(self.index.end());
        }
        let block = self.index.block_of(index);
        let mut reader = self.reader(block.first)?;
        while reader.place().index < index && reader.next_event()?.is_some() {}
        Ok(reader.place())
    }
}

fn open(path: &Path) -> Result<File, ReplayError> {
    File::open(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => ReplayError::Missing {
            path: path.to_owned(),
        },
        _ => ReplayError::Read {
            path: path.to_owned(),
            source,
        },
    })
}
