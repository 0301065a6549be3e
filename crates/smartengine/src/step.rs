//! One module at work on a batch.
//!
//! Ranges of records lie on a stack. The topmost is called; what comes of it:
//!
//! | the guest | then |
//! |---|---|
//! | answers | its outputs are taken |
//! | stops at a bad record | outputs before it are taken, the record is refused, the rest goes back on the stack |
//! | traps, times out, answers nonsense | a fresh instance; the range is halved, or refused if it is one record |
//!
//! **Bounded work.** After a bad record the next range is at most twice as long as what went well
//! before it, and doubles with each success: what is encoded in vain stays in proportion to what
//! is done, however many records are bad. A call on a range under suspicion has an eighth of the
//! time limit unless it is a single record's, and a batch may spend
//! [`FAULT_CALLS_MAX`] time limits on faults: beyond that the ranges under suspicion are refused
//! whole, the innocent among them too. They are in the dead-letter topic, not lost.

mod accumulators;
mod answer;
mod history;

use std::ops::Range;

use gristmill_record::{Lane, Position, Records};

use crate::abi::{self, Input};
use crate::fault::Fault;
use crate::guest::Guest;
use crate::module::Kind;
use crate::origin::{Refused, Working};
use crate::{EngineError, Limits, Lookback, Module};
use accumulators::Accumulators;
use answer::{Work, take};
use history::History;

/// Time limits that a batch may spend on faults, so 16 s with the default limit.
const FAULT_CALLS_MAX: u64 = 16;
/// What a fault that is not a timeout counts: an instance is made anew in far less.
const FAULT_COST_MS: u64 = 1;
/// A call's input, at most, unless one record is longer. Stock guests hold their input several
/// times over: beyond the processor's cache a record costs half as much again (14.7 us instead of
/// 10.2 us at 512 and 128 records of 1 kB).
const INPUT_BYTES_MAX: usize = 128 << 10;

/// A module with its instance and its state.
#[derive(Debug)]
pub(crate) struct Stage {
    module: Module,
    params: abi::Params,
    lookback: Option<Lookback>,
    limits: Limits,
    guest: Option<Guest>,
    accumulators: Accumulators,
    history: Option<History>,
    /// Records that the next call may hold at most.
    call_records_max: usize,
    instances: u64,
    scratch: Scratch,
}

/// Lists that are kept from batch to batch: a batch of one record costs little more than they do.
#[derive(Debug, Default)]
struct Scratch {
    todo: Vec<Todo>,
    outputs: abi::Spare,
    inputs: Vec<usize>,
}

#[derive(Debug)]
struct Todo {
    range: Range<usize>,
    suspect: bool,
}

/// How a call ended, short of an error of the chain itself.
enum Attempt {
    Done,
    /// At this record the guest stopped, with these words.
    Stopped(usize, String),
    Fault(Fault),
}

impl Stage {
    pub(crate) fn new(step: crate::Step) -> Result<Self, EngineError> {
        let crate::Step {
            module,
            params,
            lookback,
            limits,
        } = step;
        let config = |reason: &str| EngineError::Config {
            module: module.name().to_owned(),
            reason: reason.to_owned(),
        };
        limits.check().map_err(|reason| config(&reason))?;
        if !params.is_empty() && !module.has_init() {
            return Err(config(
                "it takes no parameters (it has no `init`); remove `with`",
            ));
        }
        if lookback.is_some() && !module.has_look_back() {
            return Err(config(
                "it does not look back (it has no `look_back`); remove `lookback`",
            ));
        }
        let history = lookback.map(|lookback| History::new(lookback, limits.memory_bytes / 4));
        let mut stage = Self {
            module,
            params,
            lookback,
            limits,
            guest: None,
            accumulators: Accumulators::default(),
            history,
            call_records_max: usize::MAX,
            instances: 0,
            scratch: Scratch::default(),
        };
        let engine = stage.module.engine().clone();
        let _ticking = engine.ticker().at_work();
        stage.guest = Some(stage.start()?);
        Ok(stage)
    }

    /// Records that came before the first one.
    pub(crate) fn prime(&mut self, records: &Records) -> Result<(), EngineError> {
        if let Some(history) = &mut self.history {
            records
                .iter()
                .for_each(|record| history.push(None, &record));
            let engine = self.module.engine().clone();
            let _ticking = engine.ticker().at_work();
            self.guest = Some(self.start()?);
        }
        Ok(())
    }

    /// Whether the modules and all that was asked of them are the same.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.goes_on_from(other)
            && self.module == other.module
            && self.lookback == other.lookback
            && self.limits == other.limits
    }

    /// Whether this is `other`, perhaps in another build: what `other` knows of the records still
    /// means the same.
    pub(crate) fn goes_on_from(&self, other: &Self) -> bool {
        self.module.name() == other.module.name() && self.params == other.params
    }

    /// Know what `other` knows of the records so far.
    ///
    /// # Errors
    /// The module fails on what it is to look back on.
    pub(crate) fn inherit(&mut self, other: &Self) -> Result<(), EngineError> {
        let kinds = (self.module.kind(), other.module.kind());
        if kinds == (Kind::Aggregate, Kind::Aggregate) {
            self.accumulators = other.accumulators.clone();
        }
        if let (Some(history), Some(past)) = (&mut self.history, &other.history) {
            history.inherit(past);
            let engine = self.module.engine().clone();
            let _ticking = engine.ticker().at_work();
            self.guest = Some(self.start()?);
        }
        Ok(())
    }

    /// Go on with the instance of `other`, which [is the same](Self::is_same).
    pub(crate) fn take_guest(&mut self, other: &mut Self) {
        if let Some(guest) = other.guest.take() {
            self.guest = Some(guest);
        }
    }

    /// Bytes of the instance's memory; 0 between two instances.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.guest.as_ref().map_or(0, Guest::memory_bytes)
    }

    /// Instances made so far.
    pub(crate) fn instances(&self) -> u64 {
        self.instances
    }

    /// A batch of `lane` that starts at `from` comes next.
    pub(crate) fn begin(&mut self, lane: &Lane, from: Option<&Position>) {
        if self.module.kind() == Kind::Aggregate {
            self.accumulators.begin(lane, from);
        }
    }

    /// `lane` goes on at `to` and not where it was: forget what was seen from there on. A guest may
    /// keep state of its own, so it starts anew.
    pub(crate) fn rewind(&mut self, lane: &Lane, to: Option<&Position>) {
        self.guest = None;
        if let Some(history) = &mut self.history {
            history.rewind(lane, to.and_then(Position::offset));
        }
        if !self.accumulators.rewind(lane, to) {
            let module = self.module.name();
            tracing::warn!(module, %lane, "the lane jumped; its aggregate goes on as it was");
        }
    }

    /// Run the module over `records`; `origins` as in [`Working`], `None` for their own indices.
    /// What it makes of them is in `out` then, and nothing else.
    pub(crate) fn run(
        &mut self,
        lane: &Lane,
        records: &Records,
        origins: Option<&[u32]>,
        refused: &mut Refused,
        out: &mut Working,
    ) -> Result<(), EngineError> {
        let engine = self.module.engine().clone();
        let _ticking = engine.ticker().at_work();
        let work = Work {
            lane,
            records,
            origins,
        };
        out.records.clear();
        out.origins.clear();
        out.origins.reserve(records.len());
        let mut budget_ms = FAULT_CALLS_MAX * self.limits.call_time_ms;
        let mut todo = std::mem::take(&mut self.scratch.todo);
        todo.clear();
        todo.push(Todo {
            range: 0..records.len(),
            suspect: false,
        });
        while let Some(Todo { range, suspect }) = todo.pop() {
            if range.is_empty() {
                continue;
            }
            if suspect && budget_ms == 0 {
                let text = "not tried: too many records of its batch failed the module";
                range.for_each(|index| self.refuse(&work, index, text, refused));
                continue;
            }
            let accumulator = self.accumulator(lane);
            let input = Input::of(
                records,
                range.start..range.end.min(range.start.saturating_add(self.call_limit())),
                INPUT_BYTES_MAX.min(self.limits.memory_bytes / 16),
                accumulator.as_deref(),
            );
            let called = input.range();
            if called.end < range.end {
                todo.push(Todo {
                    range: called.end..range.end,
                    suspect,
                });
            }
            let limit_ms = match suspect && called.len() > 1 {
                true => (self.limits.call_time_ms / 8).max(1),
                false => self.limits.call_time_ms,
            };
            match self.attempt(&work, &input, limit_ms, out)? {
                Attempt::Done => {
                    self.call_records_max = self.call_records_max.saturating_mul(2);
                    self.remember(&work, called, refused);
                }
                Attempt::Stopped(at, text) => {
                    let well = at - called.start;
                    self.call_records_max = (well + 1).saturating_mul(2);
                    self.remember(&work, called.start..at, refused);
                    self.refuse(&work, at, &text, refused);
                    let next = work.after(at).min(called.end);
                    todo.push(Todo {
                        range: next..called.end,
                        suspect,
                    });
                }
                Attempt::Fault(fault) => {
                    let cost_ms = match fault {
                        Fault::Time { limit_ms } => limit_ms,
                        _ => FAULT_COST_MS,
                    };
                    budget_ms = budget_ms.saturating_sub(cost_ms);
                    let (module, lane, text) = (self.module.name(), lane, fault.to_string());
                    tracing::debug!(module, %lane, records = called.len(), fault = text, "fault");
                    if called.len() == 1 {
                        self.refuse(&work, called.start, &text, refused);
                    } else {
                        let half = called.start + called.len() / 2;
                        todo.push(Todo {
                            range: half..called.end,
                            suspect: true,
                        });
                        todo.push(Todo {
                            range: called.start..half,
                            suspect: true,
                        });
                    }
                }
            }
        }
        self.scratch.todo = todo;
        Ok(())
    }

    /// Call the guest once and take its outputs into `out`, all or none.
    fn attempt(
        &mut self,
        work: &Work<'_>,
        input: &Input<'_>,
        limit_ms: u64,
        out: &mut Working,
    ) -> Result<Attempt, EngineError> {
        let mut guest = match self.guest.take() {
            Some(guest) => guest,
            None => self.start()?,
        };
        let kind = self.module.kind();
        let scratch = &mut self.scratch;
        let called = guest.transform(input, limit_ms);
        let taken = called.and_then(|count| {
            let spare = std::mem::take(&mut scratch.outputs);
            let output = abi::decode_output(guest.output()?, kind == Kind::Aggregate, spare)?;
            let tells_origins = kind != Kind::ArrayMap || guest.knows_us();
            let stopped = answer::check(
                kind,
                work,
                input,
                count,
                &output,
                tells_origins,
                &mut scratch.inputs,
            )?;
            take(work, &output, &scratch.inputs, out)?;
            let accumulator = output.accumulator.map(<[u8]>::to_vec);
            scratch.outputs = output.into_spare();
            Ok((stopped, accumulator))
        });
        let (stopped, accumulator) = match taken {
            Ok(taken) => taken,
            Err(fault) => return Ok(Attempt::Fault(fault)),
        };
        if let Some(accumulator) = accumulator {
            self.accumulators.set(work.lane, accumulator);
        }
        // Stock guests never free an output. Half of the limit leaves a call the other half.
        if guest.memory_bytes() <= self.limits.memory_bytes / 2 {
            self.guest = Some(guest);
        }
        Ok(match stopped {
            None => Attempt::Done,
            Some((at, text)) => Attempt::Stopped(at, text),
        })
    }

    /// A fresh instance, told of what it looks back on.
    fn start(&mut self) -> Result<Guest, EngineError> {
        self.instances += 1;
        let mut guest = Guest::start(
            &self.module,
            &self.params,
            self.lookback.as_ref(),
            self.limits,
        )?;
        if let Some(history) = &self.history {
            let records = history.records();
            let mut next = 0;
            while next < records.len() {
                let bytes_max = INPUT_BYTES_MAX.min(self.limits.memory_bytes / 16);
                let input = Input::of(&records, next..records.len(), bytes_max, None);
                next = input.range().end;
                guest
                    .look_back(&input)
                    .map_err(|reason| EngineError::LookBack {
                        module: self.module.name().to_owned(),
                        reason,
                    })?;
            }
        }
        Ok(guest)
    }

    fn accumulator(&self, lane: &Lane) -> Option<Vec<u8>> {
        (self.module.kind() == Kind::Aggregate).then(|| self.accumulators.get(lane))
    }

    fn call_limit(&self) -> usize {
        match self.module.kind() {
            // The stock SDK makes array_map's outputs without an offset: one call a record is the
            // only way to tell which record they were made from.
            Kind::ArrayMap if !self.guest.as_ref().is_some_and(Guest::knows_us) => 1,
            _ => self.call_records_max,
        }
    }

    fn refuse(&self, work: &Work<'_>, index: usize, text: &str, refused: &mut Refused) {
        let offset = work.records.get(index).map_or(-1, |record| record.offset);
        let (name, kind, lane) = (self.module.name(), self.module.kind(), work.lane);
        let reason = format!("{name}: {kind} at {lane} offset {offset}: {text}");
        refused.add(work.origin(index), name, reason);
    }

    /// Records that went well are what a later instance looks back on.
    fn remember(&mut self, work: &Work<'_>, range: Range<usize>, refused: &Refused) {
        if let Some(history) = &mut self.history {
            for index in range {
                if let Some(record) = work.records.get(index)
                    && !refused.contains(work.origin(index))
                {
                    history.push(Some(work.lane), &record);
                }
            }
        }
    }
}
