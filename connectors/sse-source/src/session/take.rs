//! One event's way from the client into the batch, or out.

use std::borrow::Cow;
use std::sync::Arc;

use gristmill_flow::LegStats;
use gristmill_record::{RecordRef, Reject};

use super::Session;
use crate::dedupe::{Identity, Sighting};
use crate::mark::Mark;
use crate::resume::stamp_ms;

/// Names of a record's headers. Values are UTF-8 text.
pub mod header {
    /// The SSE last event id at the event: its own, or the one before it.
    pub const ID: &str = "sse-id";
    /// The SSE event name; `message` when it had none.
    pub const EVENT: &str = "sse-event";
    /// The stream's name, where a source reads several.
    pub const STREAM: &str = "sse-stream";
    /// What deduplication knows the event by, where a source with `dedupe` has transforms. For this
    /// connector alone: the text may change.
    pub const IDENTITY: &str = "sse-identity";
}

/// In `events`: whatever its name.
const ANY_EVENT: &str = "*";
/// The name of events that tell of trouble at the server and are not data (Wikimedia).
const ERROR_EVENT: &str = "error";
/// Stage of a reject by this connector.
const STAGE: &str = "sse";
/// A cut event keeps this much for the dead-letter topic: with its headers it stays below Kafka's
/// default `message.max.bytes` (1,048,588).
const REJECT_BYTES_MAX: usize = 512 << 10;
/// Rejects whose identities ride in the position: the topic's tail does not tell of them.
const REJECTED_MAX: usize = 32;

impl Session {
    /// Take an event; `id` is the last event id with it.
    pub(super) fn take(&mut self, name: &str, data: &str, id: &str) {
        let cut_bytes = self.cut_bytes.take();
        let wanted = &self.settings.events;
        if wanted.is_empty() && name == ERROR_EVENT {
            // Its id does not move the position: the server was in trouble around it.
            tracing::debug!(connector = %self.name, bytes = data.len(), "error event");
            LegStats::add(&self.stats.dropped, 1);
            return;
        }
        if !wanted.is_empty()
            && wanted
                .iter()
                .all(|wanted| wanted != name && wanted != ANY_EVENT)
        {
            LegStats::add(&self.stats.dropped, 1);
            return self.advance(id);
        }
        match cut_bytes {
            Some(bytes) => self.take_cut(data, bytes, id),
            None => self.take_whole(name, data, id),
        }
        self.advance(id);
    }

    fn take_whole(&mut self, name: &str, data: &str, id: &str) {
        let inspector = Arc::clone(&self.inspector);
        let event = inspector.inspect(data);
        let arrival_ms = (self.now_ms)();
        let record_ms = event.timestamp_ms().unwrap_or(arrival_ms);
        let origin = event.lane();
        let lane = origin
            .as_ref()
            .and_then(|(topic, partition)| self.lanes.index(topic, *partition));
        let stamp = stamp_ms(
            id,
            origin
                .as_ref()
                .map(|(topic, partition)| (&**topic, *partition)),
        );
        // Without a clock of the stream's, the record's serves: never ahead of ours, as one event
        // from the future would make all others old.
        let stamp_ms = stamp.unwrap_or_else(|| record_ms.min(arrival_ms));

        let dropped = event.is_dropped();
        // By what the event is known, and whether that is its own id.
        let mut known = None;
        let mut duplicate = false;
        if let Some(dedupe) = &mut self.dedupe {
            // Events that name no partition share the slot after those that do.
            let lane = lane.map_or(0, |lane| lane + 1);
            let rewound = self.settings.rewind_ms.is_some() && stamp.is_some();
            known = match event.id() {
                _ if dropped => None,
                Some(own) => Some((Identity::of_id(&own), true)),
                None if rewound => Some((Identity::of_content(id, data.as_bytes()), false)),
                None => None,
            };
            if dropped {
                dedupe.advance(lane, stamp_ms);
            }
            if let Some((identity, own_id)) = known {
                duplicate = !dedupe.first(Sighting {
                    identity,
                    own_id,
                    lane,
                    stamp_ms,
                    record_ms,
                });
            }
        }
        match (lane, event.offset()) {
            (Some(lane), Some(offset)) => self.observe(lane, offset, duplicate),
            _ if !duplicate => self.lanes.count_unnumbered(),
            _ => {}
        }
        if dropped || duplicate {
            let counter = if dropped {
                &self.stats.dropped
            } else {
                &self.stats.duplicates
            };
            return LegStats::add(counter, 1);
        }
        self.token.newest_ms = self.token.newest_ms.max(Some(record_ms.min(arrival_ms)));
        let key = event.key();
        let key = key.as_ref().map(|key: &Cow<'_, str>| key.as_bytes());
        let offset = self.next_offset();
        let mark = known.filter(|_| self.marks).map(|(identity, own_id)| {
            let mark = Mark {
                identity,
                own_id,
                ordinal: Some(offset),
                origin,
            };
            mark.print()
        });
        let headers = [
            Some((header::ID, id)),
            Some((header::EVENT, name)),
            self.stream.as_deref().map(|name| (header::STREAM, name)),
            mark.as_deref().map(|mark| (header::IDENTITY, mark)),
        ];
        let headers = headers.into_iter().flatten();
        self.outbox.push(
            RecordRef::new(offset, record_ms, key, data.as_bytes()),
            headers.map(|(name, value)| (name, value.as_bytes())),
        );
    }

    /// An event has number `offset` in its partition: report what the stream skipped before it.
    fn observe(&mut self, lane: usize, offset: i64, duplicate: bool) {
        let Some(gap) = self.lanes.observe(lane, offset, duplicate) else {
            return;
        };
        LegStats::add(&self.stats.gaps, gap.missing);
        tracing::warn!(
            connector = %self.name,
            topic = gap.topic,
            partition = gap.partition,
            after = gap.after,
            before = gap.before,
            missing = gap.missing,
            "the stream skipped events, by its own numbering"
        );
    }

    /// An event that was too large: `data` is its start.
    fn take_cut(&mut self, data: &str, bytes: u64, id: &str) {
        let now_ms = (self.now_ms)();
        let identity = Identity::of_content(id, data.as_bytes());
        if let Some(dedupe) = &mut self.dedupe
            && let Some(stamp_ms) = stamp_ms(id, None).filter(|_| self.settings.rewind_ms.is_some())
        {
            let sighting = Sighting::not_in_topic(identity, stamp_ms);
            if !dedupe.first(sighting) {
                return LegStats::add(&self.stats.duplicates, 1);
            }
            self.rejected.push_back(identity);
            if self.rejected.len() > REJECTED_MAX {
                self.rejected.pop_front();
            }
        }
        self.lanes.count_unnumbered();
        let max = self.settings.event_bytes_max;
        let kept = &data[..data.floor_char_boundary(REJECT_BYTES_MAX)];
        let reason = format!(
            "event of {bytes} bytes is larger than sse.event-bytes-max ({max}); the first {} are kept",
            kept.len()
        );
        tracing::warn!(connector = %self.name, reason, "event cut");
        let offset = self.next_offset();
        self.outbox.reject(Reject {
            offset,
            timestamp_ms: now_ms,
            key: None,
            value: kept.as_bytes().to_vec(),
            stage: STAGE.to_owned(),
            reason,
        });
    }

    /// Ordinal in the stream as this pipeline has read it: rises over restarts, so that a dead
    /// letter is named by it.
    fn next_offset(&mut self) -> i64 {
        let offset = self.token.next_offset;
        self.token.next_offset += 1;
        offset
    }
}
