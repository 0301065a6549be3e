//! The stream's server: its events, and where a connection starts.

use std::time::Duration;

use super::ms;

/// The name of a count that the store may come to refuse.
pub(super) const BREAKABLE: &str = "log";

/// An event of the stream; its id is its index.
#[derive(Debug, Clone, Copy)]
pub(super) struct Event {
    /// Its timestamp; those of neighbours may be out of order.
    pub(super) stamp_ms: i64,
    pub(super) kind: Kind,
}

/// What becomes of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Counted by this name.
    Counted(&'static str),
    /// The source drops it by rule.
    Canary,
    /// The source refuses it.
    Oversize,
    /// The transform filters it.
    Untyped,
    /// The transform refuses it.
    Malformed,
    /// The store refuses it.
    Uncountable,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Counted(name) => name,
            Self::Canary => "canary",
            Self::Oversize => "oversize",
            Self::Untyped => "untyped",
            Self::Malformed => "malformed",
            Self::Uncountable => "uncountable",
        }
    }

    /// Whether the topic's record ends in the dead-letter topic.
    pub(super) fn rejected(self) -> bool {
        matches!(self, Self::Malformed | Self::Uncountable)
    }
}

/// How far timestamps run out of order, to either side.
pub(super) const DISORDER_MS: i64 = 40;
/// How far a resumption of an inexact stream goes back.
pub(super) const REWIND_MS: i64 = 3 * DISORDER_MS;

/// All events that there will be.
pub(super) struct Stream {
    pub(super) events: Vec<Event>,
    /// When the last event comes.
    pub(super) length: Duration,
}

const STEP_MS: u64 = 12;
/// Events that come when the faults are over, one or more for each partition: a lane in which
/// nothing happens does not notice that its store was taken back.
const LAST: usize = 6;

impl Stream {
    pub(super) fn generate(rng: &mut fastrand::Rng, inexact: bool) -> Self {
        let events = (0..rng.i64(20..60)).map(|index| Event {
            stamp_ms: 1_000
                + index * STEP_MS as i64
                + if inexact {
                    rng.i64(-DISORDER_MS..=DISORDER_MS)
                } else {
                    0
                },
            kind: match rng.u32(0..20) {
                0..=5 => Kind::Counted("edit"),
                6..=9 => Kind::Counted("categorize"),
                10..=11 => Kind::Counted(BREAKABLE),
                12 => Kind::Canary,
                13 => Kind::Oversize,
                14 => Kind::Untyped,
                15..=17 => Kind::Malformed,
                _ => Kind::Uncountable,
            },
        });
        let mut events: Vec<Event> = events.collect();
        let last = events.len() - LAST;
        events[last..]
            .iter_mut()
            .for_each(|event| event.kind = Kind::Counted("edit"));
        Self {
            length: ms(last as u64 * STEP_MS),
            events,
        }
    }

    /// Number of events that have happened.
    pub(super) fn available(&self, now_ms: u64, calm: bool) -> usize {
        match calm {
            true => self.events.len(),
            false => (self.events.len() - LAST).min((now_ms / STEP_MS) as usize),
        }
    }

    /// Where a connection starts that asks for `stamp_ms` and later: as Kafka's
    /// `offsetsForTimes` has it, at the first event with such a timestamp, whatever follows.
    pub(super) fn index_at(&self, stamp_ms: i64) -> usize {
        self.events
            .iter()
            .position(|event| event.stamp_ms >= stamp_ms)
            .unwrap_or(self.events.len())
    }

    /// What the event's data is: its id and its kind.
    pub(super) fn data(&self, id: usize) -> String {
        format!("{id}:{}", self.events[id].kind.name())
    }
}

/// The event that `data` tells of.
pub(super) fn event_id(data: &[u8]) -> Option<usize> {
    std::str::from_utf8(data)
        .ok()?
        .split_once(':')?
        .0
        .parse()
        .ok()
}

/// The name of its kind.
pub(super) fn event_kind(data: &[u8]) -> Option<&str> {
    Some(std::str::from_utf8(data).ok()?.split_once(':')?.1)
}
