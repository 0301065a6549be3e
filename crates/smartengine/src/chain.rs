//! Several modules in a row, as one transform.

use std::collections::BTreeMap;

use gristmill_flow::{Transform, TransformError};
use gristmill_record::{Batch, Lane, Position, Records};

use crate::origin::{Refused, Working};
use crate::step::Stage;
use crate::{EngineError, Limits, Lookback, Module};

/// What a step made of a batch keeps its buffer for the next one, unless it grew larger than this.
const KEPT_BYTES_MAX: usize = 10 << 20;

/// One module of a chain and how it is to be run.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The module.
    pub module: Module,
    /// Its parameters (`with:` in the manifest), for its `init`.
    pub params: BTreeMap<String, String>,
    /// How far back it looks before its first record; it must have a `look_back` then.
    pub lookback: Option<Lookback>,
    /// What a call may use.
    pub limits: Limits,
}

/// What a chain's instances take up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Linear memory of all instances.
    pub memory_bytes: usize,
    /// Instances made since the chain was: each module's first, and one for each that was
    /// recycled or lost to a fault.
    pub instances: u64,
}

/// Modules that a batch passes in order. Without any it passes everything on as it is.
///
/// An aggregate has seen every record that reached it, also one that a later module refused.
///
/// State is kept in memory only: an aggregate's accumulator (one for each lane) and the records
/// for `look_back` start empty with the chain. When a lane does not go on where its last batch
/// ended (the leg re-seeked after a refused write), what the modules know of the records after
/// that place is taken back, so that a replay gives what the first pass gave.
#[derive(Debug)]
pub struct Chain {
    stages: Vec<Stage>,
    /// Where each lane's last batch ended.
    reached: BTreeMap<Lane, Position>,
    /// What a step works on and what it makes: kept for their buffers.
    working: [Working; 2],
}

impl Chain {
    /// Instantiate the modules and run their `init`, so that a mistake shows before the first
    /// record.
    ///
    /// # Errors
    /// Parameters or a look-back that a module does not take; an `init` that refuses.
    pub fn new(steps: Vec<Step>) -> Result<Self, EngineError> {
        let stages = steps
            .into_iter()
            .map(Stage::new)
            .collect::<Result<_, _>>()?;
        Ok(Self {
            stages,
            reached: BTreeMap::new(),
            working: Default::default(),
        })
    }

    /// Show `records`, which the chain's first input follows, to the modules that look back. Each
    /// keeps the last of them that its [`Lookback`] asks for.
    ///
    /// # Errors
    /// [`EngineError::LookBack`] with the module's own words.
    pub fn look_back(&mut self, records: &Records) -> Result<(), EngineError> {
        self.stages
            .iter_mut()
            .try_for_each(|stage| stage.prime(records))
    }

    /// Replace `old` between two batches. A step that is also in `old` (the same module, perhaps in
    /// another build, with the same parameters) goes on with what is known there of the records:
    /// the accumulators of an aggregate, the records to look back on, and, where nothing at all
    /// has changed, the instance itself.
    ///
    /// # Errors
    /// A module fails on the records that it is to look back on. `old` is as it was then.
    pub fn succeed(mut self, old: &mut Self) -> Result<Self, EngineError> {
        let mut pairs = Vec::new();
        let mut from = 0;
        for (index, stage) in self.stages.iter_mut().enumerate() {
            let rest = &old.stages[from..];
            if let Some(at) = rest.iter().position(|other| stage.goes_on_from(other)) {
                stage.inherit(&rest[at])?;
                pairs.push((index, from + at));
                from += at + 1;
            }
        }
        // Nothing can fail from here on.
        for (index, at) in pairs {
            if self.stages[index].is_same(&old.stages[at]) {
                self.stages[index].take_guest(&mut old.stages[at]);
            }
        }
        self.reached = std::mem::take(&mut old.reached);
        Ok(self)
    }

    /// Whether there is no module: everything passes as it is.
    pub fn is_empty(&self) -> bool {
        self.stages.is_empty()
    }

    /// What the chain's instances take up.
    pub fn usage(&self) -> Usage {
        Usage {
            memory_bytes: self.stages.iter().map(Stage::memory_bytes).sum(),
            instances: self.stages.iter().map(Stage::instances).sum(),
        }
    }

    /// Notice a lane that jumped.
    fn follow(&mut self, batch: &Batch) {
        let reached = match self.reached.get_mut(&batch.lane) {
            Some(reached) => Some(std::mem::replace(reached, batch.next.clone())),
            None => self.reached.insert(batch.lane.clone(), batch.next.clone()),
        };
        let from = batch.from.as_ref();
        if reached.is_some_and(|reached| Some(&reached) != from) {
            self.stages
                .iter_mut()
                .for_each(|stage| stage.rewind(&batch.lane, from));
        }
    }

    fn run(&mut self, mut batch: Batch) -> Result<Batch, EngineError> {
        let mut refused = Refused::default();
        let [input, output] = &mut self.working;
        for (index, stage) in self.stages.iter_mut().enumerate() {
            stage.begin(&batch.lane, batch.from.as_ref());
            let (records, origins) = match index {
                0 => (&batch.records, None),
                _ => (&input.records, Some(input.origins.as_slice())),
            };
            stage.run(&batch.lane, records, origins, &mut refused, output)?;
            refused.purge(output);
            std::mem::swap(input, output);
        }
        if !self.stages.is_empty() {
            let rejects: Vec<_> = refused.into_rejects(&batch).collect();
            batch.rejects.extend(rejects);
            // What came in is room for what the next batch becomes: it waits where that is written.
            std::mem::swap(&mut batch.records, &mut input.records);
            std::mem::swap(input, output);
            if input.records.bytes() > KEPT_BYTES_MAX {
                input.records = Records::default();
            }
        }
        Ok(batch)
    }
}

impl Transform for Chain {
    fn apply(&mut self, batch: Batch) -> Result<Batch, TransformError> {
        self.follow(&batch);
        if batch.records.is_empty() {
            return Ok(batch);
        }
        self.run(batch)
            .map_err(|error| TransformError(error.to_string()))
    }
}
