//! The records that a module looks back on.

use std::collections::VecDeque;

use gristmill_record::{Lane, RecordRef, Records};

use crate::Lookback;

/// The last records, bounded by number, age and bytes.
#[derive(Debug)]
pub(crate) struct History {
    lookback: Lookback,
    bytes_max: usize,
    bytes: usize,
    newest_ms: i64,
    records: VecDeque<Past>,
}

#[derive(Debug, Clone)]
struct Past {
    /// `None` for what was shown before the first batch.
    lane: Option<Lane>,
    offset: i64,
    timestamp_ms: i64,
    key: Option<Vec<u8>>,
    value: Vec<u8>,
}

impl Past {
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.key.as_ref().map_or(0, Vec::len) + self.value.len()
    }
}

impl History {
    /// At most `bytes_max` bytes, whatever `lookback` asks for.
    pub(crate) fn new(lookback: Lookback, bytes_max: usize) -> Self {
        Self {
            lookback,
            bytes_max,
            bytes: 0,
            newest_ms: i64::MIN,
            records: VecDeque::new(),
        }
    }

    pub(crate) fn push(&mut self, lane: Option<&Lane>, record: &RecordRef<'_>) {
        let past = Past {
            lane: lane.cloned(),
            offset: record.offset,
            timestamp_ms: record.timestamp_ms,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.to_vec(),
        };
        self.keep(past);
    }

    /// Take over what `other` has, as far as it is asked for here.
    pub(crate) fn inherit(&mut self, other: &Self) {
        other
            .records
            .iter()
            .for_each(|past| self.keep(past.clone()));
    }

    fn keep(&mut self, past: Past) {
        self.bytes += past.bytes();
        self.newest_ms = self.newest_ms.max(past.timestamp_ms);
        self.records.push_back(past);
        while self
            .records
            .front()
            .is_some_and(|first| self.is_over(first))
        {
            if let Some(first) = self.records.pop_front() {
                self.bytes -= first.bytes();
            }
        }
    }

    /// Forget the records of `lane` from `offset` on; all of them if that is not known.
    pub(crate) fn rewind(&mut self, lane: &Lane, offset: Option<i64>) {
        self.records.retain(|past| {
            past.lane.as_ref() != Some(lane) || offset.is_some_and(|offset| past.offset < offset)
        });
        self.bytes = self.records.iter().map(Past::bytes).sum();
    }

    fn is_over(&self, first: &Past) -> bool {
        let Lookback { last, age } = self.lookback;
        let too_many = match (last, age) {
            (0, Some(_)) => false,
            (last, _) => self.records.len() > last,
        };
        let too_old = age.is_some_and(|age| {
            let age_ms = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
            first.timestamp_ms < self.newest_ms.saturating_sub(age_ms)
        });
        too_many || too_old || self.bytes > self.bytes_max
    }

    /// The records, oldest first.
    pub(crate) fn records(&self) -> Records {
        let mut records = Records::with_capacity(self.records.len(), self.bytes);
        for past in &self.records {
            records.push(RecordRef::new(
                past.offset,
                past.timestamp_ms,
                past.key.as_deref(),
                &past.value,
            ));
        }
        records
    }
}
