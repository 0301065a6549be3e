use std::collections::BTreeMap;

use super::{Event, Generator, GeneratorOptions, event::Kind};

/// What a generator made: what a consumer's counts must come to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tally {
    /// All events, canaries and malformed ones included.
    pub events: u64,
    /// Events by the value of their key `type`. Sums to
    /// `events - untyped - canaries - malformed`.
    pub by_type: BTreeMap<String, u64>,
    /// Events without `type` that are not canaries: a count by type leaves them out.
    pub untyped: u64,
    /// Canary events, to be dropped.
    pub canaries: u64,
    /// Events that are not JSON, to be rejected.
    pub malformed: u64,
}

impl Tally {
    /// The tally of the first `events` events that a generator with `options` makes, without
    /// writing them.
    pub fn of(options: &GeneratorOptions, events: u64) -> Self {
        let generator = Generator::new(options.clone());
        let mut tally = Self::default();
        for index in 0..events {
            let mut rng = generator.rng(index);
            generator.timestamp(index, &mut rng);
            let kind = generator.kind(index, &mut rng);
            tally.count(
                kind.event_type(),
                matches!(kind, Kind::Canary),
                matches!(kind, Kind::Malformed),
            );
        }
        tally
    }

    /// Counts one event in.
    pub fn add(&mut self, event: &Event) {
        self.count(event.event_type, event.canary, event.malformed);
    }

    fn count(&mut self, event_type: Option<&str>, canary: bool, malformed: bool) {
        self.events += 1;
        if malformed {
            self.malformed += 1;
        } else if canary {
            self.canaries += 1;
        } else if let Some(name) = event_type {
            match self.by_type.get_mut(name) {
                Some(count) => *count += 1,
                None => {
                    self.by_type.insert(name.to_owned(), 1);
                }
            }
        } else {
            self.untyped += 1;
        }
    }
}
