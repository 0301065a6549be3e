//! What the connector wants to know of an event's data.

use std::borrow::Cow;

use crate::config::Settings;
use crate::extract::{Extractor, Found, Pointer, text, timestamp_ms};

/// Where recentchange and its siblings number their events (schema `/meta`).
const META: [&str; 3] = ["/meta/topic", "/meta/partition", "/meta/offset"];

/// The pointers of one configuration, compiled.
#[derive(Debug)]
pub(crate) struct Inspector {
    extractor: Extractor,
    key: Option<usize>,
    timestamp: Option<usize>,
    id: Option<usize>,
    drop: Vec<(usize, String)>,
    meta: [Option<usize>; 3],
}

/// One event's data, looked into. Everything is absent in what is not JSON: whether that is to be
/// refused is for the transforms to say.
#[derive(Debug)]
pub(crate) struct Insight<'j, 'i> {
    inspector: &'i Inspector,
    found: Option<Found<'j>>,
}

impl Inspector {
    pub(crate) fn new(settings: &Settings) -> Self {
        let mut extractor = Extractor::default();
        Self {
            key: settings.key.as_ref().map(|key| extractor.add(key)),
            timestamp: settings.timestamp.as_ref().map(|at| extractor.add(at)),
            id: settings
                .dedupe
                .as_ref()
                .map(|dedupe| extractor.add(&dedupe.id)),
            drop: settings
                .drop
                .iter()
                .map(|(at, value)| (extractor.add(at), value.clone()))
                .collect(),
            meta: META.map(|at| Some(extractor.add(&Pointer::parse(at)?))),
            extractor,
        }
    }

    pub(crate) fn inspect<'j>(&self, data: &'j str) -> Insight<'j, '_> {
        Insight {
            inspector: self,
            found: self.extractor.extract(data),
        }
    }
}

impl<'j> Insight<'j, '_> {
    /// The record's key.
    pub(crate) fn key(&self) -> Option<Cow<'j, str>> {
        self.text(self.inspector.key)
    }

    /// The record's timestamp.
    pub(crate) fn timestamp_ms(&self) -> Option<i64> {
        timestamp_ms(&self.text(self.inspector.timestamp)?)
    }

    /// The event's own id, for deduplication.
    pub(crate) fn id(&self) -> Option<Cow<'j, str>> {
        self.text(self.inspector.id)
    }

    /// Whether a rule says to leave it out.
    pub(crate) fn is_dropped(&self) -> bool {
        let mut rules = self.inspector.drop.iter();
        rules.any(|(slot, value)| self.text(Some(*slot)).is_some_and(|text| text == *value))
    }

    /// Topic and partition that the event came through on its way.
    pub(crate) fn lane(&self) -> Option<(Cow<'j, str>, i64)> {
        let [topic, partition, _] = self.inspector.meta;
        Some((self.text(topic)?, self.text(partition)?.parse().ok()?))
    }

    /// Its number there.
    pub(crate) fn offset(&self) -> Option<i64> {
        self.text(self.inspector.meta[2])?.parse().ok()
    }

    fn text(&self, slot: Option<usize>) -> Option<Cow<'j, str>> {
        let raw = self.found.as_ref()?.get(slot?)?.as_ref()?;
        text(raw)
    }
}
