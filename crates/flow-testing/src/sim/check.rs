//! The invariants.

use std::collections::{BTreeMap, BTreeSet};

use gristmill_flow::header;
use gristmill_record::{Lane, Position};

use super::broker::{EDITS, LETTERS, PARTITIONS, Stored};
use super::stream::{BREAKABLE, Kind, event_id, event_kind};
use super::stream_source::STREAM;
use super::topic_writer::stream_position;
use super::world::State;

/// What a `read_committed` reader of all topics has seen.
#[derive(Default)]
pub(super) struct Check {
    /// Events in the topic.
    edits: BTreeSet<usize>,
    /// Dead letters by topic, partition and offset of their origin.
    letters: BTreeSet<(String, i32, i64)>,
    /// Every event below this one has had its effect, says the stream's checkpoint.
    ingested: usize,
}

impl State {
    /// After a transaction: nothing doubled, and the position not ahead.
    pub(super) fn check_commit(
        &mut self,
        committed: Vec<(&'static str, i32, usize)>,
        lane: &Lane,
        position: &Position,
    ) {
        for place @ (topic, _, _) in committed {
            let Some(record) = self.record(place).cloned() else {
                continue;
            };
            match topic {
                EDITS => self.check_edit(&record),
                _ => self.check_letter(&record),
            }
        }
        if &*lane.topic != STREAM {
            return;
        }
        let Some((next, _)) = stream_position(position) else {
            return self.violate(|| format!("unreadable stream position {position}"));
        };
        let before = self.check.ingested;
        if next < before {
            self.violate(|| format!("the stream's position went back from {before} to {next}"));
        }
        for id in before..next {
            if !self.accounted(id) {
                self.violate(|| format!("position ahead of effect: event {id} is lost, the stream's position is {next}"));
            }
        }
        self.check.ingested = next;
    }

    /// After a change of the store: the counts are what the topic's records below the offsets
    /// give, and the letters of these are written.
    pub(super) fn check_store(&mut self) {
        let mut expected: BTreeMap<&str, u64> = BTreeMap::new();
        let mut lost = None;
        for (partition, end) in &self.store.offsets {
            for (offset, record) in self.committed_below(*partition, *end) {
                let origin = (EDITS.to_owned(), *partition, offset);
                let letter = self.check.letters.contains(&origin);
                match event_id(&record.value).map(|id| self.stream.events[id].kind) {
                    Some(Kind::Counted(name)) if !letter => *expected.entry(name).or_default() += 1,
                    Some(kind) if kind.rejected() && !letter => lost = Some(origin),
                    _ => {}
                }
            }
        }
        let counts = &self.store.counts;
        let same = expected.len() == counts.len()
            && expected
                .iter()
                .zip(counts)
                .all(|((a, n), (b, m))| a == b && n == m);
        let offsets = &self.store.offsets;
        let wrong = (!same).then(|| {
            format!(
                "counts and position apart: {counts:?} at {offsets:?}, the topic gives {expected:?}"
            )
        });
        if let Some((topic, partition, offset)) = lost {
            self.violate(|| {
                format!("position ahead of effect: the dead letter of {topic}[{partition}]@{offset} is lost")
            });
        }
        if let Some(wrong) = wrong {
            self.violate(|| wrong);
        }
    }

    /// Whether everything has arrived.
    pub(super) fn arrived(&mut self) -> bool {
        self.check.ingested == self.stream.events.len()
            && (0..PARTITIONS).all(|partition| {
                let stored = self.store.offsets.get(&partition).copied().unwrap_or(0);
                stored == self.end_offset(partition)
            })
    }

    /// In the end: what the stream sent is what there is.
    pub(super) fn check_end(&mut self) {
        self.check_store();
        let mut expected: BTreeMap<String, u64> = BTreeMap::new();
        let mut letters = 0;
        for (id, event) in self.stream.events.clone().into_iter().enumerate() {
            if !self.accounted(id) {
                self.violate(|| format!("event {id} is lost"));
            }
            if let Kind::Counted(name) = event.kind {
                *expected.entry(name.to_owned()).or_default() += 1;
            }
            letters += usize::from(event.kind.rejected() || event.kind == Kind::Oversize);
        }
        // What the store took first and refused when it was counted again is a dead letter.
        for partition in 0..PARTITIONS {
            for (offset, record) in self.committed_below(partition, i64::MAX) {
                let kind = event_kind(&record.value).unwrap_or_default();
                let origin = (EDITS.to_owned(), partition, offset);
                if let Some(count) = expected.get_mut(kind)
                    && self.check.letters.contains(&origin)
                {
                    *count -= 1;
                    letters += 1;
                }
            }
        }
        expected.retain(|_, count| *count > 0);
        if expected != self.store.counts {
            let counts = self.store.counts.clone();
            self.violate(|| format!("wrong counts: {counts:?}, the stream has {expected:?}"));
        }
        let written = self.check.letters.len();
        if written != letters {
            self.violate(|| format!("{written} dead letters of {letters} rejects"));
        }
    }

    fn check_edit(&mut self, record: &Stored) {
        match event_id(&record.value) {
            Some(id) if !self.check.edits.insert(id) => {
                self.violate(|| format!("event {id} is doubled in the topic"));
            }
            Some(_) => {}
            None => self.violate(|| "an unreadable record in the topic".to_owned()),
        }
    }

    fn check_letter(&mut self, record: &Stored) {
        let text = |name: &str| {
            let found = record.headers.iter().find(|(header, _)| header == name);
            found.map(|(_, value)| String::from_utf8_lossy(value).into_owned())
        };
        let number = |name: &str| text(name)?.parse::<i64>().ok();
        let (Some(topic), Some(partition), Some(offset)) = (
            text(header::TOPIC),
            number(header::PARTITION),
            number(header::OFFSET),
        ) else {
            return self.violate(|| format!("a dead letter of no origin in {LETTERS}"));
        };
        let kind: Option<String> = if topic == STREAM {
            self.stream
                .events
                .get(offset as usize)
                .map(|event| event.kind.name().to_owned())
        } else {
            let origin = self.record((EDITS, partition as i32, offset as usize));
            origin
                .and_then(|origin| event_kind(&origin.value))
                .map(str::to_owned)
        };
        let rejected = [Kind::Malformed, Kind::Uncountable, Kind::Oversize].map(Kind::name);
        let refused = self.store.broken && kind.as_deref() == Some(BREAKABLE);
        if !refused && !kind.as_deref().is_some_and(|kind| rejected.contains(&kind)) {
            self.violate(|| {
                format!("a dead letter of {topic}[{partition}]@{offset}, which is {kind:?}")
            });
        }
        if !self
            .check
            .letters
            .insert((topic.clone(), partition as i32, offset))
        {
            self.violate(|| format!("the dead letter of {topic}[{partition}]@{offset} is doubled"));
        }
    }

    fn accounted(&self, id: usize) -> bool {
        match self.stream.events[id].kind {
            Kind::Canary => true,
            Kind::Oversize => self
                .check
                .letters
                .contains(&(STREAM.to_owned(), 0, id as i64)),
            _ => self.check.edits.contains(&id),
        }
    }
}
