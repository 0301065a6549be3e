//! What one connection is sent: greeting, paced events, faults, end.
//!
//! A feed is polled by the connection's own task and reads the log only when it is: a client that
//! does not read stops it, and one that leaves drops it.

use std::{collections::VecDeque, io, sync::Arc, time::SystemTime};

use axum::body::Bytes;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    connection::Cut,
    options::{AtEnd, Faults, ServerOptions},
    pace::Pace,
    stats::{Counters, Open},
};
use crate::log::{Cursor, Frames};

/// What a server says first, so that a client knows the stream is open.
const GREETING: &[u8] = b":ok\n\n";
/// Frames kept for sending them again, whatever the options ask for.
const DUPLICATES_MAX: usize = 256;

pub(super) struct Feed {
    pub(super) options: Arc<ServerOptions>,
    pub(super) counters: Arc<Counters>,
    pub(super) stop: CancellationToken,
    pub(super) cut: Cut,
    /// `None` only while another thread reads with it.
    cursor: Option<Cursor>,
    pace: Option<Pace>,
    rng: fastrand::Rng,
    /// What was read and not sent yet: events from `at` on, bytes from `from` on.
    bytes: Bytes,
    ends: Vec<usize>,
    at: usize,
    from: usize,
    /// Index of the next event in the log.
    index: u64,
    /// Events until [`ServerOptions::cut_after`].
    cut_in: Option<u64>,
    recent: VecDeque<Bytes>,
    state: State,
    _open: Open,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Greeting,
    Events,
    /// A stall comes before the next event.
    Stall,
    /// The connection is to be cut, within the next event or before it.
    Cut,
    /// Everything is sent that will be.
    CutNow,
}

impl Feed {
    pub(super) fn new(
        options: Arc<ServerOptions>,
        counters: Arc<Counters>,
        stop: CancellationToken,
        cut: Cut,
        (cursor, index): (Cursor, u64),
        rng: fastrand::Rng,
    ) -> Self {
        Self {
            pace: options.rate.map(|rate| Pace::new(rate, Instant::now())),
            cut_in: options.cut_after,
            _open: counters.open(),
            options,
            counters,
            stop,
            cut,
            cursor: Some(cursor),
            rng,
            bytes: Bytes::new(),
            ends: Vec::new(),
            at: 0,
            from: 0,
            index,
            recent: VecDeque::new(),
            state: State::Greeting,
        }
    }

    /// The next piece of the body; `None` ends the response.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        let stop = self.stop.clone();
        tokio::select! {
            biased;
            () = stop.cancelled() => None,
            piece = self.piece() => piece,
        }
    }

    async fn piece(&mut self) -> Option<Bytes> {
        loop {
            match self.state {
                State::Greeting => {
                    self.state = State::Events;
                    return Some(Bytes::from_static(GREETING));
                }
                State::Stall => {
                    tokio::time::sleep(self.options.faults.stall).await;
                    self.state = State::Events;
                }
                State::Cut => {
                    self.state = State::CutNow;
                    if self.options.faults.cut_mid_event && self.fetch().await {
                        let frame = self.bytes.slice(self.from..self.ends[self.at]);
                        return Some(frame.slice(..self.rng.usize(1..frame.len())));
                    }
                }
                State::CutNow => {
                    self.cut.cut();
                    return std::future::pending().await;
                }
                State::Events => {
                    if !self.fetch().await {
                        // A failed read has already asked for a cut.
                        if self.state != State::Events {
                            continue;
                        }
                        if self.options.at_end == AtEnd::Hold {
                            std::future::pending::<()>().await;
                        }
                        return None;
                    }
                    let allowed = self.wait_for_turn().await;
                    if let Some(piece) = self.take(allowed) {
                        return Some(piece);
                    }
                }
            }
        }
    }

    /// Makes sure that there is an event to send; `false` at the end of the log.
    async fn fetch(&mut self) -> bool {
        if self.at < self.ends.len() {
            return true;
        }
        match self.read().await {
            Ok(frames) => {
                self.bytes = Bytes::from(frames.bytes);
                self.ends = frames.ends;
                (self.at, self.from) = (0, 0);
                !self.ends.is_empty()
            }
            Err(error) => {
                tracing::error!(%error, "cannot read the recording");
                self.state = State::CutNow;
                false
            }
        }
    }

    async fn read(&mut self) -> io::Result<Frames> {
        // Without a cursor there was an error before: nothing more comes.
        let Some(mut cursor) = self.cursor.take() else {
            return Ok(Frames::default());
        };
        let mut frames = Frames::default();
        if !cursor.blocks() {
            cursor.read(&mut frames)?;
            self.cursor = Some(cursor);
            return Ok(frames);
        }
        let read = tokio::task::spawn_blocking(move || {
            cursor.read(&mut frames)?;
            Ok::<_, io::Error>((cursor, frames))
        });
        let (cursor, frames) = read.await.map_err(io::Error::other)??;
        self.cursor = Some(cursor);
        Ok(frames)
    }

    /// Waits until an event is due and returns how many are.
    async fn wait_for_turn(&mut self) -> usize {
        let Some(pace) = &mut self.pace else {
            return usize::MAX;
        };
        loop {
            match pace.allowance(Instant::now()) {
                0 => tokio::time::sleep_until(pace.due()).await,
                allowed => return allowed,
            }
        }
    }

    /// Up to `allowed` events of those fetched; `None` if a fault comes first.
    fn take(&mut self, allowed: usize) -> Option<Bytes> {
        let faults = self.options.faults;
        let cut_in = self.cut_in.map_or(usize::MAX, |events| events as usize);
        let most = allowed.min(self.ends.len() - self.at).min(cut_in);
        let piece = if faults.touch_events() || self.options.stamp {
            self.take_one_by_one(most)
        } else {
            self.take_whole(most)
        };
        if self.cut_in == Some(0) {
            self.state = State::Cut;
        }
        (!piece.is_empty()).then_some(piece)
    }

    fn take_whole(&mut self, events: usize) -> Bytes {
        let end = self.ends[self.at + events - 1];
        let piece = self.bytes.slice(self.from..end);
        self.advance(events, end);
        piece
    }

    fn take_one_by_one(&mut self, most: usize) -> Bytes {
        let faults = self.options.faults;
        let mut piece = Vec::new();
        for _ in 0..most {
            if one_in(&mut self.rng, faults.cut_every) {
                self.state = State::Cut;
                break;
            }
            let end = self.ends[self.at];
            let frame = self.bytes.slice(self.from..end);
            if self.options.stamp {
                push_stamped(&mut piece, &frame, SystemTime::now());
            } else {
                piece.extend_from_slice(&frame);
            }
            self.advance(1, end);
            if faults.duplicate_every.is_some() {
                self.remember(frame);
                if one_in(&mut self.rng, faults.duplicate_every) {
                    let again = self.rng.usize(1..=self.recent.len());
                    let from = self.recent.len() - again;
                    self.recent
                        .iter()
                        .skip(from)
                        .for_each(|it| piece.extend_from_slice(it));
                    self.counters.sent(again as u64, self.index);
                }
            }
            if one_in(&mut self.rng, faults.stall_every) {
                self.state = State::Stall;
                break;
            }
        }
        Bytes::from(piece)
    }

    fn advance(&mut self, events: usize, end: usize) {
        self.at += events;
        self.from = end;
        self.index += events as u64;
        self.counters.sent(events as u64, self.index);
        if let Some(pace) = &mut self.pace {
            pace.sent(events);
        }
        if let Some(cut_in) = &mut self.cut_in {
            *cut_in -= events as u64;
        }
    }

    fn remember(&mut self, frame: Bytes) {
        if self.recent.len() >= self.options.faults.duplicates_max.clamp(1, DUPLICATES_MAX) {
            self.recent.pop_front();
        }
        self.recent.push_back(frame);
    }
}

impl Faults {
    /// Some fault is decided event by event.
    fn touch_events(&self) -> bool {
        self.cut_every
            .or(self.duplicate_every)
            .or(self.stall_every)
            .is_some()
    }
}

/// True once in `every` on average.
pub(super) fn one_in(rng: &mut fastrand::Rng, every: Option<u64>) -> bool {
    every.is_some_and(|every| every > 0 && rng.u64(..every) == 0)
}

/// Appends `frame` with the value of its `meta.dt` replaced by `now`; as it is, if it has none.
fn push_stamped(out: &mut Vec<u8>, frame: &[u8], now: SystemTime) {
    let find = |from: usize, needle: &[u8]| {
        let at = frame[from..]
            .windows(needle.len())
            .position(|window| window == needle)?;
        Some(from + at + needle.len())
    };
    let value = find(0, br#""meta":{"#).and_then(|meta| find(meta, br#""dt":""#));
    let range = value.and_then(|from| Some((from, find(from, b"\"")? - 1)));
    let (Some((from, to)), Ok(now)) = (range, jiff::Timestamp::try_from(now)) else {
        out.extend_from_slice(frame);
        return;
    };
    out.extend_from_slice(&frame[..from]);
    out.extend_from_slice(
        now.strftime("%Y-%m-%dT%H:%M:%S%.3fZ")
            .to_string()
            .as_bytes(),
    );
    out.extend_from_slice(&frame[to..]);
}
