//! What the topic's tail tells of the events that are in it.

use std::collections::HashSet;

use gristmill_record::RecordRef;

use crate::dedupe::{Dedupe, Identity, Sighting};
use crate::inspect::Inspector;
use crate::lanes::Lanes;
use crate::mark::Mark;
use crate::resume::stamp_ms;
use crate::session::header;

/// Sees the records of a topic as the session saw their events, so that the two know an event by
/// the same identity.
pub(crate) struct Recall<'a> {
    pub(crate) dedupe: &'a mut Dedupe,
    pub(crate) lanes: &'a mut Lanes,
    pub(crate) inspector: &'a Inspector,
    /// Whether events without an id of their own are told apart, too.
    pub(crate) rewinds: bool,
    /// The name of our stream, if there are several.
    pub(crate) stream: Option<&'a str>,
    /// Events without an id of their own that some record has told of.
    pub(crate) told: HashSet<(Identity, i64)>,
}

impl Recall<'_> {
    /// Take note of the event behind `record`.
    pub(crate) fn visit(&mut self, record: &RecordRef<'_>) {
        // An id may be unique in its stream only: another stream's says nothing of ours.
        if let (Some(own), Some(stream)) = (self.stream, text(record, header::STREAM))
            && own != stream
        {
            return;
        }
        let id = text(record, header::ID).unwrap_or_default();
        // The value comes second: a transform may have made it.
        let mark = text(record, header::IDENTITY).and_then(Mark::parse);
        let Some(mark) = mark.or_else(|| self.read(record, id)) else {
            return;
        };
        if let Some(ordinal) = mark.ordinal
            && !mark.own_id
            && !self.told.insert((mark.identity, ordinal))
        {
            return;
        }
        let origin = mark.origin.as_ref();
        let origin = origin.map(|(topic, partition)| (&**topic, *partition));
        let lane = origin.and_then(|(topic, partition)| self.lanes.index(topic, partition));
        self.dedupe.first(Sighting {
            identity: mark.identity,
            own_id: mark.own_id,
            lane: lane.map_or(0, |lane| lane + 1),
            stamp_ms: stamp_ms(id, origin).unwrap_or(record.timestamp_ms),
            record_ms: record.timestamp_ms,
        });
    }

    /// The same of a record whose value is its event's data; `id` is the SSE id that it came with.
    fn read<'r>(&self, record: &RecordRef<'r>, id: &str) -> Option<Mark<'r>> {
        let event = self
            .inspector
            .inspect(std::str::from_utf8(record.value).ok()?);
        let (identity, own_id) = match event.id() {
            Some(own) => (Identity::of_id(&own), true),
            None if self.rewinds && stamp_ms(id, None).is_some() => {
                (Identity::of_content(id, record.value), false)
            }
            None => return None,
        };
        Some(Mark {
            identity,
            own_id,
            ordinal: None,
            origin: event.lane(),
        })
    }
}

fn text<'r>(record: &RecordRef<'r>, name: &str) -> Option<&'r str> {
    std::str::from_utf8(record.headers.get(name)?).ok()
}
