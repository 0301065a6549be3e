//! Which events were seen before.
//!
//! A rewound connection brings events again, and so does the first one after a restart. An event
//! is known by its id, looked up anywhere. An event without one (malformed JSON, no such field) is
//! known by the SSE id it came with and its data, and only as often as it was seen on earlier
//! connections: two equal ones on one connection are two events.
//!
//! An id is held for as long as a rewind can bring it back, by the stream's own clock, and by that
//! of its own partition: a datacentre that fell silent hours ago is rewound from its last event.

use std::collections::{HashMap, VecDeque};

use sha2::{Digest, Sha256};

use crate::config::DedupeSettings;

/// Beyond window and rewind: timestamps run backward by up to 15 s, both where the rewind starts
/// and before the first event that it finds.
const DISORDER_MS: i64 = 30_000;

/// What an event is known by: the start of a SHA-256, so that no sender can make two events one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Identity(u128);

impl Identity {
    /// By the event's own id.
    pub(crate) fn of_id(id: &str) -> Self {
        Self::digest(b"id", &[id.as_bytes()])
    }

    /// By what it came with, for an event without an id of its own.
    pub(crate) fn of_content(sse_id: &str, data: &[u8]) -> Self {
        Self::digest(
            b"content",
            &[
                &(sse_id.len() as u64).to_le_bytes(),
                sse_id.as_bytes(),
                data,
            ],
        )
    }

    fn digest(kind: &[u8], parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        hash.update(kind);
        parts.iter().for_each(|part| hash.update(part));
        let digest: [u8; 32] = hash.finalize().into();
        let (start, _) = digest.split_at(16);
        Self(
            start
                .iter()
                .fold(0, |all, byte| all << 8 | u128::from(*byte)),
        )
    }

    pub(crate) fn print(self) -> String {
        format!("{:032x}", self.0)
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        u128::from_str_radix(text, 16).ok().map(Self)
    }
}

/// An event, as far as deduplication goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sighting {
    pub(crate) identity: Identity,
    /// Whether the identity is the event's own id, unique for ever.
    pub(crate) own_id: bool,
    /// Index of its partition.
    pub(crate) lane: usize,
    /// Its time by the stream's clock, which the rewind goes by.
    pub(crate) stamp_ms: i64,
    /// Its record's timestamp, which the topic's tail is read by.
    pub(crate) record_ms: i64,
}

impl Sighting {
    /// An event that went to the dead-letter topic: the tail does not tell of it.
    pub(crate) fn not_in_topic(identity: Identity, stamp_ms: i64) -> Self {
        Self {
            identity,
            own_id: false,
            lane: 0,
            stamp_ms,
            record_ms: i64::MAX,
        }
    }
}

/// The memory.
#[derive(Debug)]
pub(crate) struct Dedupe {
    retention_ms: i64,
    entries_max: usize,
    seen: HashMap<Identity, Seen>,
    lanes: Vec<Lane>,
    /// Number of the connection; 0 is the topic's tail.
    connection: u64,
    full: bool,
}

#[derive(Debug, Default)]
struct Lane {
    newest_ms: i64,
    /// In order of arrival. Among events out of order, one leaves only after all before it.
    held: VecDeque<(Identity, i64, i64)>,
}

/// How often an identity was seen: before this connection, and on it.
#[derive(Debug)]
struct Seen {
    connection: u64,
    before: u32,
    now: u32,
}

impl Dedupe {
    pub(crate) fn new(settings: &DedupeSettings, rewind_ms: i64) -> Self {
        Self {
            retention_ms: settings.window_ms + rewind_ms + DISORDER_MS,
            entries_max: settings.entries_max,
            seen: HashMap::new(),
            lanes: Vec::new(),
            connection: 0,
            full: false,
        }
    }

    /// A new connection stands: what was seen so far was seen before.
    pub(crate) fn connected(&mut self) {
        self.connection += 1;
    }

    /// Whether the event is new. It counts as seen from now on.
    pub(crate) fn first(&mut self, event: Sighting) -> bool {
        let connection = self.connection;
        if let Some(seen) = self.seen.get_mut(&event.identity) {
            if event.own_id {
                return false;
            }
            if seen.connection != connection {
                seen.before = seen.before.max(seen.now);
                (seen.connection, seen.now) = (connection, 0);
            }
            seen.now += 1;
            return seen.now > seen.before;
        }
        let seen = Seen {
            connection,
            before: 0,
            now: 1,
        };
        self.seen.insert(event.identity, seen);
        let held = (event.identity, event.stamp_ms, event.record_ms);
        self.lane(event.lane).held.push_back(held);
        self.advance(event.lane, event.stamp_ms);
        true
    }

    /// The lane's clock has come to `stamp_ms`: forget what no rewind can bring back.
    pub(crate) fn advance(&mut self, lane: usize, stamp_ms: i64) {
        let retention_ms = self.retention_ms;
        let lane = self.lane(lane);
        lane.newest_ms = lane.newest_ms.max(stamp_ms);
        let oldest_ms = lane.newest_ms.saturating_sub(retention_ms);
        let mut gone = Vec::new();
        while let Some((identity, _, _)) = lane
            .held
            .pop_front_if(|(_, stamp_ms, _)| *stamp_ms < oldest_ms)
        {
            gone.push(identity);
        }
        for identity in gone {
            self.seen.remove(&identity);
        }
        while self.seen.len() > self.entries_max {
            self.forget_one();
        }
    }

    /// Oldest record timestamp among what is held: the topic's tail from there holds all of it.
    pub(crate) fn tail_ms(&self) -> Option<i64> {
        let held = self.lanes.iter().flat_map(|lane| &lane.held);
        held.map(|(_, _, record_ms)| *record_ms)
            .min()
            .filter(|ms| *ms < i64::MAX)
    }

    fn lane(&mut self, lane: usize) -> &mut Lane {
        if self.lanes.len() <= lane {
            self.lanes.resize_with(lane + 1, Lane::default);
        }
        &mut self.lanes[lane]
    }

    /// Memory is bounded even against the window; say so, as duplicates may pass from now on.
    fn forget_one(&mut self) {
        if !std::mem::replace(&mut self.full, true) {
            tracing::warn!(
                max = self.entries_max,
                "sse.dedupe.max ids are held and the window is not over: older ones are forgotten, \
                 and would pass if they came again; raise it"
            );
        }
        let longest = self.lanes.iter_mut().max_by_key(|lane| lane.held.len());
        if let Some((identity, _, _)) = longest.and_then(|lane| lane.held.pop_front()) {
            self.seen.remove(&identity);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dedupe(entries_max: usize) -> Dedupe {
        let settings = DedupeSettings {
            id: crate::extract::Pointer::parse("/id").unwrap(),
            window_ms: 120_000,
            entries_max,
        };
        Dedupe::new(&settings, 60_000)
    }

    fn own(id: &str, stamp_ms: i64) -> Sighting {
        Sighting {
            identity: Identity::of_id(id),
            own_id: true,
            lane: 0,
            stamp_ms,
            record_ms: stamp_ms,
        }
    }

    fn content(data: &str) -> Sighting {
        Sighting {
            identity: Identity::of_content("[1]", data.as_bytes()),
            own_id: false,
            ..own("", 0)
        }
    }

    #[test]
    fn an_id_is_new_once_anywhere() {
        let mut dedupe = dedupe(100);
        assert!(dedupe.first(own("a", 0)));
        assert!(!dedupe.first(own("a", 0)), "on one connection");
        dedupe.connected();
        assert!(!dedupe.first(own("a", 0)), "on the next");
    }

    #[test]
    fn equal_garbage_passes_as_often_as_it_is_new() {
        let mut dedupe = dedupe(100);
        assert!(dedupe.first(content("x")), "from the tail");
        dedupe.connected();
        assert!(!dedupe.first(content("x")), "read again");
        assert!(dedupe.first(content("x")), "a second one, new");
        dedupe.connected();
        assert!(!dedupe.first(content("x")));
        dedupe.connected();
        assert!(
            !dedupe.first(content("x")),
            "a shorter read between changes nothing"
        );
        assert!(!dedupe.first(content("x")));
        assert!(dedupe.first(content("x")), "a third");
        assert!(dedupe.first(content("y")));
    }

    #[test]
    fn ids_are_held_for_as_long_as_a_rewind_reaches() {
        let mut dedupe = dedupe(100);
        assert!(dedupe.first(own("old", 0)));
        assert!(dedupe.first(own("new", 210_000)));
        assert!(!dedupe.first(own("old", 0)));
        let other = Sighting {
            lane: 1,
            ..own("quiet", 0)
        };
        assert!(dedupe.first(other));
        dedupe.advance(0, 211_000);
        assert!(dedupe.first(own("old", 0)), "forgotten");
        assert!(!dedupe.first(other), "its own partition has not moved");
        assert_eq!(dedupe.tail_ms(), Some(0));
    }

    #[test]
    fn memory_is_bounded() {
        let mut dedupe = dedupe(10);
        for n in 0..1000 {
            assert!(dedupe.first(own(&n.to_string(), 0)));
        }
        assert_eq!(dedupe.seen.len(), 10);
        assert_eq!(dedupe.lanes[0].held.len(), 10);
        assert!(!dedupe.first(own("999", 0)));
    }

    #[test]
    fn identities_survive_their_text() {
        let identity = Identity::of_id("x");
        assert_eq!(Identity::parse(&identity.print()), Some(identity));
        assert_ne!(
            Identity::of_content("ab", b"c"),
            Identity::of_content("a", b"bc")
        );
    }
}
