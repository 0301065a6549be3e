//! One run: stages up, faults as planned, calm, everything arrives, the judge looks.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use gristmill_replay::GeneratorOptions;

use super::fleet::Fleet;
use super::judge::{self, Expected, Verdict};
use super::plan::{Plan, Role};
use super::tail::Snapshot;
use super::{interrupt, setup};
use crate::cluster::Cluster;

mod faults;

/// How often processes and faults are looked at.
const TICK: Duration = Duration::from_millis(20);
/// How often progress is looked at and told.
const TOLD_EVERY: Duration = Duration::from_millis(500);
/// Once the faults are over, something must move at least this often until all is there.
const STUCK_AFTER: Duration = Duration::from_secs(90);
/// The same where more is counted than there is: the judge then says what.
const OVER_AFTER: Duration = Duration::from_secs(20);
/// What comes after all is there came twice; it gets this long to show.
const SETTLE: Duration = Duration::from_secs(3);
/// How long the stages may take to end when they are asked to.
const END_WITHIN: Duration = Duration::from_secs(40);

/// Something that comes later.
enum Then {
    /// Planned fault number so and so.
    Fault(usize),
    Continue(usize),
    /// The zombie's successor is up: the first one wakes.
    Wake {
        zombie: usize,
    },
    /// One copy too many leaves: in order, or killed.
    Retire {
        slot: usize,
        killed: bool,
    },
    /// The second signal of two.
    TerminateAgain(usize),
    StartBroker(i32),
    ContinueBroker(i32),
    StartRedis,
    ContinueRedis,
    RestoreRedis(Snapshot),
}

/// What is told of a run.
pub(super) struct Outcome {
    pub(super) verdict: Verdict,
    pub(super) expected: u64,
    pub(super) letters: u64,
    /// Each fault with the time at which it was done.
    pub(super) done: Vec<(Duration, String)>,
    pub(super) kills: u32,
    pub(super) starts: u32,
    pub(super) fenced: usize,
    /// Ends of stages that nobody asked for and no other copy caused.
    pub(super) exits: Vec<String>,
    pub(super) took: Duration,
    pub(super) stuck: bool,
}

pub(super) struct Run<'a> {
    plan: &'a Plan,
    cluster: &'a mut Cluster,
    topic: String,
    fleet: Fleet,
    agenda: Vec<(Instant, Then)>,
    done: Vec<(Duration, String)>,
    /// Of brokers and Redis; the fleet counts its own.
    kills: u32,
    snapshots: usize,
    started: Instant,
    told: Instant,
    counted: i64,
    moved: Instant,
}

impl<'a> Run<'a> {
    /// Start the stages of `plan` in `dir`.
    pub(super) fn new(
        plan: &'a Plan,
        cluster: &'a mut Cluster,
        dir: &Path,
        gristmill: &Path,
    ) -> Result<Self> {
        let setup = setup::write(plan, cluster, dir)?;
        let mut fleet = Fleet::new(dir, gristmill, setup.server, setup.stage);
        fleet.add(Role::Server, true);
        fleet.add(Role::Source, true);
        for _ in 0..plan.shape.counters {
            fleet.add(Role::Counter, true);
        }
        let started = Instant::now();
        let faults = plan.faults.iter().enumerate();
        Ok(Self {
            agenda: faults
                .map(|(at, (when, _))| (started + *when, Then::Fault(at)))
                .collect(),
            plan,
            cluster,
            topic: setup.topic,
            fleet,
            done: Vec::new(),
            kills: 0,
            snapshots: 0,
            started,
            told: started,
            counted: 0,
            moved: started,
        })
    }

    /// To the end. An error is trouble of the harness, not of the product.
    pub(super) fn play(mut self, generator: &GeneratorOptions) -> Result<Outcome> {
        while !self.agenda.is_empty() {
            self.tick("faults")?;
            let now = Instant::now();
            while let Some(at) = self.agenda.iter().position(|(due, _)| *due <= now) {
                let (_, then) = self.agenda.swap_remove(at);
                self.act(then)?;
            }
        }
        self.calm()?;
        let expected = Expected::of(generator, self.plan.events)?;
        let total = i64::try_from(expected.tally.by_type.values().sum::<u64>())?;
        let stuck = !self.all_arrives(total)?;
        self.end()?;
        let verdict = expected.judge(self.cluster, &self.topic)?;
        let (fenced, others): (Vec<_>, Vec<_>) = std::mem::take(&mut self.fleet.exits)
            .into_iter()
            .partition(|exit| exit.fenced);
        Ok(Outcome {
            verdict,
            expected: expected.records,
            letters: expected.tally.malformed,
            done: std::mem::take(&mut self.done),
            kills: self.kills + self.fleet.kills,
            starts: self.fleet.starts,
            fenced: fenced.len(),
            exits: others
                .into_iter()
                .map(|exit| format!("{}: {}", exit.slot, exit.why))
                .collect(),
            took: self.started.elapsed(),
            stuck,
        })
    }

    /// Supervise, look at the progress, wait a little.
    fn tick(&mut self, phase: &str) -> Result<()> {
        interrupt::check()?;
        self.fleet.supervise()?;
        if self.told.elapsed() >= TOLD_EVERY {
            self.told = Instant::now();
            let port = self
                .cluster
                .redis_port()
                .context("the cluster has no Redis")?;
            // It may be down, on purpose.
            if let Ok(counts) = judge::counts(port) {
                let counted = counts.values().sum();
                if counted != self.counted {
                    self.moved = Instant::now();
                    self.counted = counted;
                }
            }
            super::progress(&format!(
                "seed {} {:>4.0} s  {phase}: {} of {} faults, {} of {} events counted, {} starts",
                self.plan.seed,
                self.started.elapsed().as_secs_f64(),
                self.done.len(),
                self.plan.faults.len(),
                self.counted,
                self.plan.events,
                self.fleet.starts,
            ));
        }
        #[allow(clippy::disallowed_methods, reason = "no runtime here")]
        std::thread::sleep(TICK);
        Ok(())
    }

    /// No more faults: every broker, Redis and one of each stage run, nothing is suspended.
    fn calm(&mut self) -> Result<()> {
        for at in 0..self.fleet.slots.len() {
            if self.fleet.slots[at].paused {
                self.fleet.pause(at, false)?;
            }
        }
        for id in self.cluster.broker_ids() {
            // One that has died, or does not run, is not suspended either.
            let _ = self.cluster.pause(id, false);
        }
        let _ = self.cluster.pause_redis(false);
        self.cluster.start_redis()?;
        for id in self.cluster.broker_ids() {
            self.cluster.spawn_broker(id)?;
        }
        for id in self.cluster.broker_ids() {
            self.cluster.start_broker(id)?;
        }
        for role in [Role::Server, Role::Source, Role::Counter] {
            let most = if role == Role::Counter {
                self.plan.shape.counters
            } else {
                1
            };
            let slots = self.fleet.slots.iter().enumerate();
            let wanted: Vec<usize> = slots
                .filter(|(_, slot)| slot.role == role && slot.wanted)
                .map(|(at, _)| at)
                .collect();
            for at in wanted.into_iter().skip(most) {
                self.fleet.slots[at].wanted = false;
            }
        }
        for at in 0..self.fleet.slots.len() {
            if !self.fleet.slots[at].wanted {
                self.fleet.terminate(at, Duration::ZERO)?;
            }
        }
        self.moved = Instant::now();
        Ok(())
    }

    /// Wait until everything is counted; false if nothing moves any more before it is.
    fn all_arrives(&mut self, total: i64) -> Result<bool> {
        let mut there: Option<Instant> = None;
        loop {
            self.tick("calm")?;
            if self.counted == total {
                if there.get_or_insert_with(Instant::now).elapsed() >= SETTLE {
                    return Ok(true);
                }
            } else {
                there = None;
                let over = self.counted > total && self.moved.elapsed() > OVER_AFTER;
                if over || self.moved.elapsed() > STUCK_AFTER {
                    return Ok(over);
                }
            }
        }
    }

    /// End the stages in order, the source first; what does not end in time is killed.
    fn end(&mut self) -> Result<()> {
        self.fleet
            .slots
            .iter_mut()
            .for_each(|slot| slot.wanted = false);
        for role in [Role::Source, Role::Counter, Role::Server] {
            for at in self.fleet.running(role) {
                self.fleet.terminate(at, Duration::ZERO)?;
            }
            let asked = Instant::now();
            while !self.fleet.running(role).is_empty() {
                self.tick("end")?;
                if asked.elapsed() > END_WITHIN {
                    for at in self.fleet.running(role) {
                        let name = &self.fleet.slots[at].name;
                        let text = format!("{name} did not end within {END_WITHIN:?}");
                        self.done.push((self.started.elapsed(), text));
                        self.fleet.kill(at, Duration::ZERO)?;
                    }
                }
            }
        }
        Ok(())
    }
}
