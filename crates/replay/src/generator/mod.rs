//! Recentchange events by the million, each a pure function of (options, index).
//!
//! ```text
//! (seed, index) ─▶ rng ─▶ lateness ─▶ timestamp
//!                     └─▶ kind ─▶ JSON of one event
//! ```
//!
//! Event `i` does not depend on event `i - 1`: a server can resume at any index, and find the
//! first event at or after a timestamp, without generating what came before.

mod event;
mod tally;
mod text;
mod words;

use std::time::Duration;

use event::{Kind, Moment};
pub use tally::Tally;

use crate::event_id;

/// 2026-01-01T00:00:00Z, in milliseconds of the epoch: fixed, so that runs compare.
const START_MS: i64 = 1_767_225_600_000;
/// 9999-12-31T00:00:00Z: no one asks for events after it, and up to there nothing overflows.
const END_MS: i64 = 253_402_214_400_000;
/// `meta.offset` of the first event: ten digits, as in the field.
pub(crate) const OFFSET_FIRST: u64 = 4_000_000_000;
/// `meta.topic` of every event.
pub(crate) const TOPIC: &str = "eqiad.mediawiki.recentchange";

/// What a [`Generator`] makes. Two generators with equal options make equal events, on any machine.
#[derive(Debug, Clone, PartialEq)]
pub struct GeneratorOptions {
    /// Chooses among all sequences of events.
    pub seed: u64,
    /// Timestamp of the first event, in milliseconds of the epoch.
    pub start_ms: i64,
    /// Events a second in event time (not in serving): their timestamps are `1 / rate_per_s` apart.
    /// Held within 0.001 and 1,000,000, and within 1,000 where `disorder` is zero, because
    /// timestamps are then unique milliseconds.
    pub rate_per_s: f64,
    /// How far a timestamp may lie behind that of an earlier event. Zero: timestamps increase
    /// strictly and ids are unique. Wikimedia's: 15 s, and then many events share a timestamp, and
    /// with it their id.
    pub disorder: Duration,
    /// Every n-th event is a canary (`meta.domain` = `canary`, no `type`). `None`: none is.
    pub canary_every: Option<u64>,
    /// Every n-th event is not JSON. `None`: all are.
    pub malformed_every: Option<u64>,
}

impl Default for GeneratorOptions {
    /// Seed 0 from 2026-01-01 at 40 events a second, in order, no canaries, nothing malformed.
    fn default() -> Self {
        Self {
            seed: 0,
            start_ms: START_MS,
            rate_per_s: 40.0,
            disorder: Duration::ZERO,
            canary_every: None,
            malformed_every: None,
        }
    }
}

/// One event as a server would send it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Event {
    /// The SSE id, in Wikimedia's form: a JSON array of the topics' positions to resume at.
    pub id: String,
    /// The SSE event name.
    pub event: &'static str,
    /// One line of compact JSON; anything but JSON where [`Self::malformed`].
    pub data: String,
    /// When it happened, in milliseconds of the epoch: `meta.dt`.
    pub timestamp_ms: i64,
    /// The value of the top-level key `type`; `None` where the event has none.
    pub event_type: Option<&'static str>,
    /// A canary: to be dropped by consumers, and not part of the counts.
    pub canary: bool,
    /// `data` is not JSON.
    pub malformed: bool,
}

/// An endless iterator of recentchange 1.0.0 events.
///
/// [`Generator::fill`] does the same into an event that the caller reuses: no allocation an event.
#[derive(Debug, Clone)]
pub struct Generator {
    options: GeneratorOptions,
    /// Distance of two events, in microseconds.
    spacing_us: u64,
    disorder_ms: u64,
    next: u64,
}

impl Generator {
    /// A generator at its first event.
    pub fn new(options: GeneratorOptions) -> Self {
        let disorder_ms = u64::try_from(options.disorder.as_millis()).unwrap_or(u64::MAX);
        let rate_max = if disorder_ms == 0 { 1e3 } else { 1e6 };
        // A rate that is not a number is the default's.
        let rate = if options.rate_per_s.is_nan() {
            40.0
        } else {
            options.rate_per_s
        };
        let spacing_us = (1e6 / rate.clamp(0.001, rate_max)).round() as u64;
        Self {
            options,
            spacing_us,
            disorder_ms,
            next: 0,
        }
    }

    /// The options that it was made with.
    pub fn options(&self) -> &GeneratorOptions {
        &self.options
    }

    /// Index of the event that comes next; the first event has index 0.
    pub fn index(&self) -> u64 {
        self.next
    }

    /// Goes to the event of `index`, in constant time.
    pub fn seek(&mut self, index: u64) {
        self.next = index;
    }

    /// Overwrites `event` with the next one.
    pub fn fill(&mut self, event: &mut Event) {
        let index = self.next;
        self.next += 1;
        let mut rng = self.rng(index);
        let timestamp_ms = self.timestamp(index, &mut rng);
        let kind = self.kind(index, &mut rng);
        event.timestamp_ms = timestamp_ms;
        event.event = "message";
        event.event_type = kind.event_type();
        event.canary = matches!(kind, Kind::Canary);
        event.malformed = matches!(kind, Kind::Malformed);
        event.id.clear();
        event_id::write_timestamp(&mut event.id, TOPIC, 0, timestamp_ms + 1);
        event.data.clear();
        event::write(
            &mut event.data,
            &mut rng,
            kind,
            &self.moment(index, timestamp_ms),
        );
    }

    /// Index of the first event, in log order, whose timestamp is at least `timestamp_ms`.
    pub fn first_at(&self, timestamp_ms: i64) -> u64 {
        // A timestamp is never later than its event's regular time, so nothing before the first
        // event with a late enough regular time can qualify.
        let timestamp_ms = timestamp_ms.min(END_MS);
        let mut index = self.regular_index(timestamp_ms);
        while self.timestamp(index, &mut self.rng(index)) < timestamp_ms {
            index += 1;
        }
        index
    }

    /// Index of the last event, in log order, whose timestamp is exactly `timestamp_ms`.
    pub fn last_with(&self, timestamp_ms: i64) -> Option<u64> {
        let disorder_ms = i64::try_from(self.disorder_ms).unwrap_or(i64::MAX);
        let from = self.regular_index(timestamp_ms);
        let to = self.regular_index(timestamp_ms.saturating_add(disorder_ms).saturating_add(1));
        (from..to)
            .rev()
            .find(|&index| self.timestamp(index, &mut self.rng(index)) == timestamp_ms)
    }

    /// First index whose regular time, lateness left aside, is at least `timestamp_ms`.
    fn regular_index(&self, timestamp_ms: i64) -> u64 {
        let after_start = timestamp_ms
            .min(END_MS)
            .saturating_sub(self.options.start_ms);
        let after_start = u64::try_from(after_start).unwrap_or(0);
        after_start.saturating_mul(1000).div_ceil(self.spacing_us)
    }

    /// Randomness of one event alone.
    fn rng(&self, index: u64) -> fastrand::Rng {
        fastrand::Rng::with_seed(mix(self.options.seed ^ mix(index)))
    }

    /// When event `index` happened. Draws from `rng` first of all.
    fn timestamp(&self, index: u64, rng: &mut fastrand::Rng) -> i64 {
        let regular_ms = index.saturating_mul(self.spacing_us) / 1000;
        let regular_ms = i64::try_from(regular_ms).unwrap_or(i64::MAX);
        let regular_ms = self.options.start_ms.saturating_add(regular_ms);
        match self.disorder_ms {
            0 => regular_ms,
            most => late(rng, regular_ms, most),
        }
    }

    /// What event `index` is. Draws from `rng` second.
    fn kind(&self, index: u64, rng: &mut fastrand::Rng) -> Kind {
        let drawn = Kind::draw(rng);
        let falls_on = |every: Option<u64>| every.is_some_and(|n| n > 0 && index % n == n - 1);
        if falls_on(self.options.malformed_every) {
            Kind::Malformed
        } else if falls_on(self.options.canary_every) {
            Kind::Canary
        } else {
            drawn
        }
    }

    fn moment(&self, index: u64, timestamp_ms: i64) -> Moment {
        Moment {
            index,
            offset: OFFSET_FIRST + index,
            timestamp_ms,
            // A bijection of the index: unique for all events of one seed.
            unique: mix(index.wrapping_add(self.options.seed << 40)),
        }
    }
}

impl Iterator for Generator {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        let mut event = Event {
            data: String::with_capacity(2048),
            ..Event::default()
        };
        self.fill(&mut event);
        Some(event)
    }
}

/// A time up to `most_ms` before `regular_ms`. Most events are late by a second or two, some by much
/// more; from a second of disorder on, times are whole seconds, as in Wikimedia's ids. With 40
/// events a second and 15 s of disorder, 36 % of the steps are backward, and a client that resumes
/// by its last id alone loses 6 events and sees 50 again (measured there: 36 %, 3.4 and 51).
fn late(rng: &mut fastrand::Rng, regular_ms: i64, most_ms: u64) -> i64 {
    let whole_second = most_ms >= 1_000;
    let rounding_ms = if whole_second { 999 } else { 0 };
    let bound_ms = (most_ms - rounding_ms)
        / match rng.u32(..100) {
            0..20 => 15,
            20..90 => 5,
            _ => 1,
        };
    let late_ms = i64::try_from(rng.u64(..=bound_ms)).unwrap_or(i64::MAX);
    let timestamp_ms = regular_ms.saturating_sub(late_ms);
    if whole_second {
        timestamp_ms - timestamp_ms.rem_euclid(1000)
    } else {
        timestamp_ms
    }
}

/// SplitMix64's finalizer: a bijection that spreads neighbouring numbers over the whole range.
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
