//! A sparse index: one block for a run of events, runs growing with the file.

use crate::event_id::{self, Point};

/// Blocks kept at most, 56 bytes each. When they are full, neighbours merge.
const BLOCKS_MAX: usize = 16_384;
/// Events of a block, to begin with.
const BLOCK_EVENTS: u64 = 256;

/// Where an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Place {
    /// Number of events before it.
    pub(crate) index: u64,
    /// Bytes of the file before it.
    pub(crate) byte: u64,
}

/// A run of events.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block {
    pub(super) first: Place,
    pub(super) events: u64,
    /// Latest timestamp in the block; `i64::MIN` if no event has one.
    timestamp_max: i64,
    /// Range of [`id_key`]s; empty (`min > max`) if no event has an id.
    key_min: u64,
    key_max: u64,
}

#[derive(Debug)]
pub(super) struct Index {
    blocks: Vec<Block>,
    block_events: u64,
    end: Place,
}

impl Default for Index {
    fn default() -> Self {
        Self {
            blocks: Vec::new(),
            block_events: BLOCK_EVENTS,
            end: Place::default(),
        }
    }
}

impl Index {
    /// Adds the event at `place`. A block begins only where `may_start`: an event without an id of
    /// its own inherits that of the event before, so it cannot be read alone.
    pub(super) fn add(
        &mut self,
        place: Place,
        timestamp_ms: Option<i64>,
        key: Option<u64>,
        may_start: bool,
    ) {
        let full = self
            .blocks
            .last()
            .is_none_or(|block| block.events >= self.block_events);
        if full && (may_start || self.blocks.is_empty()) {
            if self.blocks.len() == BLOCKS_MAX {
                self.merge();
            }
            self.blocks.push(Block {
                first: place,
                events: 0,
                timestamp_max: i64::MIN,
                key_min: u64::MAX,
                key_max: 0,
            });
        }
        if let Some(block) = self.blocks.last_mut() {
            block.events += 1;
            block.timestamp_max = block.timestamp_max.max(timestamp_ms.unwrap_or(i64::MIN));
            if let Some(key) = key {
                block.key_min = block.key_min.min(key);
                block.key_max = block.key_max.max(key);
            }
        }
        self.end = Place {
            index: place.index + 1,
            byte: u64::MAX,
        };
    }

    pub(super) fn events(&self) -> u64 {
        self.end.index
    }

    /// Behind the last event. A reader there finds nothing.
    pub(super) fn end(&self) -> Place {
        self.end
    }

    /// Blocks that may hold an event with this key.
    pub(super) fn blocks_with_key(&self, key: u64) -> impl DoubleEndedIterator<Item = &Block> {
        self.blocks
            .iter()
            .filter(move |block| block.key_min <= key && key <= block.key_max)
    }

    /// The first block with an event at or after `timestamp_ms`.
    pub(super) fn block_reaching(&self, timestamp_ms: i64) -> Option<&Block> {
        self.blocks
            .iter()
            .find(|block| block.timestamp_max >= timestamp_ms)
    }

    /// The block that holds event `index`, which exists.
    pub(super) fn block_of(&self, index: u64) -> &Block {
        let after = self
            .blocks
            .partition_point(|block| block.first.index <= index);
        &self.blocks[after.saturating_sub(1)]
    }

    fn merge(&mut self) {
        let merged = self.blocks.chunks(2).map(|pair| {
            let mut block = pair[0];
            for other in &pair[1..] {
                block.events += other.events;
                block.timestamp_max = block.timestamp_max.max(other.timestamp_max);
                block.key_min = block.key_min.min(other.key_min);
                block.key_max = block.key_max.max(other.key_max);
            }
            block
        });
        self.blocks = merged.collect();
        self.block_events *= 2;
    }
}

/// A number that ids of neighbouring events have close together, so that a block's range rules most
/// blocks out: the latest timestamp or offset of an id in Wikimedia's form, the value of a plain
/// number. Other ids get a hash: correct, but looking one up reads much of the file.
pub(super) fn id_key(id: Option<&str>) -> Option<u64> {
    let id = id.filter(|id| !id.is_empty())?;
    if let Ok(entries) = event_id::parse(id) {
        let key = entries.iter().filter_map(|entry| match entry.point()? {
            Point::Timestamp(timestamp) => u64::try_from(timestamp).ok(),
            Point::Offset(offset) => Some(offset),
        });
        return key.max();
    }
    id.parse().ok().or_else(|| {
        // FNV-1a, fixed by its specification.
        let hash = id.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        Some(hash)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_index_merges_and_still_finds() {
        let mut index = Index::default();
        let events = BLOCKS_MAX as u64 * BLOCK_EVENTS * 3;
        for at in 0..events {
            index.add(
                Place {
                    index: at,
                    byte: at * 10,
                },
                Some(at as i64),
                Some(at),
                true,
            );
        }
        assert!(index.blocks.len() <= BLOCKS_MAX);
        assert_eq!(index.events(), events);
        assert_eq!(
            index.blocks.iter().map(|block| block.events).sum::<u64>(),
            events
        );
        for at in [0, 1, 255, 256, 1_000_000, events - 1] {
            let holds =
                |block: &Block| (block.first.index..block.first.index + block.events).contains(&at);
            assert!(holds(index.block_of(at)), "{at}");
            assert!(holds(index.block_reaching(at as i64).unwrap()), "{at}");
            assert!(index.blocks_with_key(at).any(holds), "{at}");
        }
        assert!(index.block_reaching(events as i64).is_none());
    }
}
