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

/// Counts by record key that the typed ones of `records` must come to.
pub(crate) fn expected_by_key(records: &Records) -> BTreeMap<String, i64> {
    let mut counts = BTreeMap::new();
    let mut keyed = Keyed::new(records.clone());
    for _ in 0..records.events {
        keyed.advance();
        if let (Some(key), Some(_)) = (&keyed.key, keyed.event.event_type) {
            *counts.entry(key.clone()).or_default() += 1;
        }
    }
    counts
}

/// What a topic holds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Records {
    pub(crate) events: u64,
    /// Bytes that an event has at least; 0 leaves it as generated.
    pub(crate) event_bytes_min: usize,
    /// So many keys in turn; `None`: the event's `/id`, as in the shipped pipeline.
    pub(crate) distinct_keys: Option<u64>,
}

impl Records {
    /// The topic that holds them, of so many partitions.
    pub(crate) fn topic(&self, partitions: i32) -> String {
        let mut name = format!("bench-count-{}-{partitions}", self.events);
        if self.event_bytes_min > 0 {
            name += &format!("-{}-bytes", self.event_bytes_min);
        }
        if let Some(keys) = self.distinct_keys {
            name += &format!("-{keys}-keys");
        }
        name
    }
}

impl std::fmt::Display for Records {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} events", self.events)?;
        if self.event_bytes_min > 0 {
            write!(f, " of at least {} bytes", self.event_bytes_min)?;
        }
        if let Some(keys) = self.distinct_keys {
            write!(f, ", {keys} keys")?;
        }
        Ok(())
    }
}

/// Events with their record keys, one after the other.
pub(crate) struct Keyed {
    generator: Generator,
    records: Records,
    pub(crate) event: Event,
    pub(crate) key: Option<String>,
}

impl Keyed {
    pub(crate) fn new(records: Records) -> Self {
        Self {
            generator: Generator::new(options()),
            records,
            event: Event::default(),
            key: None,
        }
    }

    pub(crate) fn advance(&mut self) {
        let index = self.generator.index();
        self.generator.fill(&mut self.event);
        self.key = match self.records.distinct_keys {
            Some(keys) => Some(format!("key-{}", index % keys)),
            None => id(&self.event.data),
        };
        pad(&mut self.event.data, self.records.event_bytes_min, index);
    }
}

fn id(event: &str) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Id {
        id: Option<i64>,
    }
    let id = serde_json::from_str::<Id>(event).ok()?.id?;
    Some(id.to_string())
}

/// Give the object `event` one more member, so that it has `bytes_min` bytes; other text for each
/// `seed`.
fn pad(event: &mut String, bytes_min: usize, seed: u64) {
    const EMPTY: &str = ",\"padding\":\"\"";
    if event.len() + EMPTY.len() > bytes_min || !event.ends_with('}') {
        return;
    }
    event.pop();
    event.push_str(&EMPTY[..EMPTY.len() - 1]);
    // Knuth's MMIX generator: repeated text would compress to nothing on its way through the brokers.
    let mut state = seed;
    while event.len() + 2 < bytes_min {
        state = state.wrapping_mul(6_364_136_223_846_793_005);
        state = state.wrapping_add(1_442_695_040_888_963_407);
        event.push_str(&format!("{state:016x}"));
    }
    event.truncate(bytes_min - 2);
    event.push_str("\"}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_gives_whole_json_of_the_bytes_asked_for() {
        let mut keyed = Keyed::new(Records {
            event_bytes_min: 4_000,
            ..Records::default()
        });
        for _ in 0..100 {
            keyed.advance();
            assert_eq!(keyed.event.data.len(), 4_000);
            serde_json::from_str::<serde_json::Value>(&keyed.event.data).unwrap();
        }
        let mut short = "{\"a\":1}".to_owned();
        pad(&mut short, 10, 0);
        assert_eq!(short, "{\"a\":1}");
    }

    #[test]
    fn keys_in_turn_count_the_typed_events() {
        let records = Records {
            events: 5_000,
            distinct_keys: Some(7),
            ..Records::default()
        };
        let counts = expected_by_key(&records);
        assert_eq!(counts.len(), 7);
        let typed = expected(records.events).values().sum::<i64>();
        assert_eq!(counts.values().sum::<i64>(), typed);
    }
}
