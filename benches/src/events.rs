//! The events of a run, the same in each: seed 1 of the generator.

use std::collections::BTreeMap;

use gristmill_replay::{Event, Generator, GeneratorOptions, Tally};

/// What is generated.
pub(crate) fn options() -> GeneratorOptions {
    GeneratorOptions {
        seed: 1,
        ..GeneratorOptions::default()
    }
}

/// Counts by type that `events` events must come to.
pub(crate) fn expected(events: u64) -> BTreeMap<String, i64> {
    let tally = Tally::of(&options(), events);
    let by_type = tally.by_type.into_iter();
    by_type.map(|(name, count)| (name, count as i64)).collect()
}

/// Events with their record keys (`/id`, as in the shipped pipeline), one after the other.
pub(crate) struct Keyed {
    generator: Generator,
    pub(crate) event: Event,
    pub(crate) key: Option<String>,
}

impl Keyed {
    pub(crate) fn new() -> Self {
        Self {
            generator: Generator::new(options()),
            event: Event::default(),
            key: None,
        }
    }

    pub(crate) fn advance(&mut self) {
        #[derive(serde::Deserialize)]
        struct Id {
            id: Option<i64>,
        }
        self.generator.fill(&mut self.event);
        let id = serde_json::from_str::<Id>(&self.event.data);
        self.key = id.ok().and_then(|id| id.id).map(|id| id.to_string());
    }
}
