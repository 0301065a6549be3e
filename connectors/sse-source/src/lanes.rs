//! The topics and partitions behind a stream, and gaps in their numbering.
//!
//! Wikimedia's streams are several Kafka partitions merged (one for each datacentre); each event
//! names its own in `meta`, and `meta.offset` is consecutive there.

use std::collections::BTreeMap;

/// Most partitions that are told apart: a server that invents topics must not fill the memory.
const LANES_MAX: usize = 64;

/// Partitions by the order in which they appeared.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    lanes: Vec<Lane>,
    /// Events that came without a number (malformed, cut) and may be what a gap lacks.
    unnumbered: i64,
}

#[derive(Debug)]
struct Lane {
    topic: String,
    partition: i64,
    last_offset: Option<i64>,
}

impl Lanes {
    /// As a token holds them: `topic/partition` → last offset.
    pub(crate) fn restore(offsets: &BTreeMap<String, i64>, unnumbered: i64) -> Self {
        let lane = |(name, offset): (&String, &i64)| {
            let (topic, partition) = name.rsplit_once('/')?;
            Some(Lane {
                topic: topic.to_owned(),
                partition: partition.parse().ok()?,
                last_offset: Some(*offset),
            })
        };
        Self {
            lanes: offsets.iter().filter_map(lane).take(LANES_MAX).collect(),
            unnumbered,
        }
    }

    /// For a token.
    pub(crate) fn offsets(&self) -> BTreeMap<String, i64> {
        let name = |lane: &Lane| {
            Some((
                format!("{}/{}", lane.topic, lane.partition),
                lane.last_offset?,
            ))
        };
        self.lanes.iter().filter_map(name).collect()
    }

    /// Events without a number that no gap has accounted for yet.
    pub(crate) fn unnumbered(&self) -> i64 {
        self.unnumbered
    }

    /// A new event came whose partition and number cannot be read.
    pub(crate) fn count_unnumbered(&mut self) {
        self.unnumbered += 1;
    }

    /// The index of a partition; `None` if there are too many.
    pub(crate) fn index(&mut self, topic: &str, partition: i64) -> Option<usize> {
        let same = |lane: &Lane| lane.partition == partition && lane.topic == topic;
        if let Some(at) = self.lanes.iter().position(same) {
            return Some(at);
        }
        (self.lanes.len() < LANES_MAX).then(|| {
            self.lanes.push(Lane {
                topic: topic.to_owned(),
                partition,
                last_offset: None,
            });
            self.lanes.len() - 1
        })
    }

    /// An event with `offset` came; how many are missing before it. A `duplicate` is no gap, and
    /// neither is the first. A new event with an offset that has passed is one that was missing
    /// before, or the partition was numbered anew: counting goes on from it.
    pub(crate) fn observe(&mut self, lane: usize, offset: i64, duplicate: bool) -> Option<Gap<'_>> {
        let lane = self.lanes.get_mut(lane)?;
        let last = lane.last_offset.replace(offset)?;
        if duplicate {
            lane.last_offset = Some(offset.max(last));
            return None;
        }
        let skipped = offset.checked_sub(last)?.checked_sub(1)?.max(0);
        let accounted = skipped.min(self.unnumbered);
        self.unnumbered -= accounted;
        let missing = Some(skipped - accounted).filter(|missing| *missing > 0)?;
        Some(Gap {
            topic: &lane.topic,
            partition: lane.partition,
            after: last,
            before: offset,
            missing: missing as usize,
        })
    }
}

/// Offsets that the stream skipped.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Gap<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: i64,
    pub(crate) after: i64,
    pub(crate) before: i64,
    pub(crate) missing: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_counted_once() {
        let mut lanes = Lanes::default();
        let a = lanes.index("a", 0).unwrap();
        let b = lanes.index("b", 0).unwrap();
        let mut missing = |lane, offset, duplicate| {
            lanes
                .observe(lane, offset, duplicate)
                .map_or(0, |gap| gap.missing)
        };
        assert_eq!(missing(a, 100, false), 0, "the first");
        assert_eq!(missing(b, 7, false), 0, "another partition");
        assert_eq!(missing(a, 101, false), 0);
        assert_eq!(missing(a, 105, false), 3);
        assert_eq!(missing(a, 103, true), 0, "rewound");
        assert_eq!(missing(a, 105, true), 0, "rewound");
        assert_eq!(missing(a, 106, false), 0, "after the rewind");
        assert_eq!(missing(a, 104, false), 0, "found again");
        assert_eq!(missing(a, 106, true), 0);
        assert_eq!(missing(a, 107, false), 0);
        assert_eq!(missing(a, 0, false), 0, "numbered anew");
        assert_eq!(missing(a, 1, false), 0);
        let mut restored = Lanes::restore(&lanes.offsets(), 0);
        let a = restored.index("a", 0).unwrap();
        assert_eq!(restored.observe(a, 5, false).unwrap().missing, 3);
    }

    #[test]
    fn an_event_without_a_number_is_no_gap() {
        let mut lanes = Lanes::default();
        let lane = lanes.index("a", 0).unwrap();
        lanes.observe(lane, 1, false);
        lanes.count_unnumbered();
        assert_eq!(lanes.observe(lane, 3, false), None);
        lanes.count_unnumbered();
        assert_eq!(lanes.observe(lane, 6, false).unwrap().missing, 1);
        assert_eq!(lanes.observe(lane, 8, false).unwrap().missing, 1);
    }

    #[test]
    fn topics_are_bounded() {
        let mut lanes = Lanes::default();
        let found = (0..1000)
            .filter_map(|n| lanes.index(&n.to_string(), 0))
            .count();
        assert_eq!(found, LANES_MAX);
        assert_eq!(lanes.index("3", 0), Some(3));
    }
}
