//! Doing what the plan says.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::{Run, Then};
use crate::chaos::plan::{Fault, LeaderOf, Role};
use crate::chaos::resp::Client;
use crate::chaos::{setup, tail};

/// Of two SIGTERMs, how long after the first the second comes.
const SECOND_SIGNAL: Duration = Duration::from_millis(30);

impl Run<'_> {
    /// One entry of the agenda.
    pub(super) fn act(&mut self, then: Then) -> Result<()> {
        match then {
            Then::Fault(at) => {
                let fault = self.plan.faults[at].1.clone();
                let when = self.started.elapsed();
                let text = self.begin(fault)?;
                self.done.push((when, text));
            }
            Then::Continue(slot) => self.fleet.pause(slot, false)?,
            Then::Wake { zombie } => self.fleet.pause(zombie, false)?,
            Then::Retire { slot, killed } => self.retire(slot, killed)?,
            Then::TerminateAgain(slot) => self.fleet.terminate(slot, Duration::ZERO)?,
            Then::StartBroker(id) => self.cluster.spawn_broker(id)?,
            // It may have been killed meanwhile.
            Then::ContinueBroker(id) => drop(self.cluster.pause(id, false)),
            Then::StartRedis => self.cluster.start_redis()?,
            Then::ContinueRedis => drop(self.cluster.pause_redis(false)),
            Then::RestoreRedis(snapshot) => {
                self.kill_redis()?;
                snapshot.restore(&self.cluster.redis_dir())?;
                self.cluster.start_redis()?;
            }
        }
        Ok(())
    }

    fn later(&mut self, after: Duration, then: Then) {
        self.agenda.push((Instant::now() + after, then));
    }

    /// Do a fault, plan its end, and say what was done.
    fn begin(&mut self, fault: Fault) -> Result<String> {
        Ok(match fault {
            Fault::Kill { role, which, down } => match self.pick(role, which) {
                Some(slot) => {
                    self.fleet.kill(slot, down)?;
                    format!("kill -9 {}, back after {down:?}", self.name(slot))
                }
                None => format!("kill -9 {role}: none ran just then"),
            },
            Fault::KillStages => {
                for role in [Role::Source, Role::Counter, Role::Server] {
                    for slot in self.fleet.running(role) {
                        self.fleet.kill(slot, Duration::ZERO)?;
                    }
                }
                "kill -9 every stage and the server".to_owned()
            }
            Fault::Pause { role, which, pause } => match self.pick(role, which) {
                Some(slot) => {
                    self.fleet.pause(slot, true)?;
                    self.later(pause, Then::Continue(slot));
                    format!("SIGSTOP {} for {pause:?}", self.name(slot))
                }
                None => format!("SIGSTOP {role}: none ran just then"),
            },
            Fault::Zombie { pause } => match self.pick(Role::Source, 0) {
                Some(zombie) => {
                    let heir = self.fleet.spare(Role::Source);
                    self.fleet.pause(zombie, true)?;
                    self.fleet.slots[heir].wanted = true;
                    self.fleet.slots[zombie].wanted = false;
                    self.later(pause, Then::Wake { zombie });
                    format!(
                        "SIGSTOP {}, {} takes over, the first wakes after {pause:?}",
                        self.name(zombie),
                        self.name(heir)
                    )
                }
                None => "zombie: no source ran just then".to_owned(),
            },
            Fault::SecondSource { together } => {
                let second = self.fleet.spare(Role::Source);
                let first = self.pick(Role::Source, 0).unwrap_or(second);
                self.fleet.slots[second].wanted = true;
                let retired = if together.as_millis().is_multiple_of(2) {
                    first
                } else {
                    second
                };
                let killed = together.as_millis() % 4 < 2;
                self.later(
                    together,
                    Then::Retire {
                        slot: retired,
                        killed,
                    },
                );
                format!("a second source, {}, for {together:?}", self.name(second))
            }
            Fault::Leave { role, which, away } => match self.pick(role, which) {
                Some(slot) => {
                    self.fleet.terminate(slot, away)?;
                    format!("SIGTERM {}, back after {away:?}", self.name(slot))
                }
                None => format!("SIGTERM {role}: none ran just then"),
            },
            Fault::Twice { role, which } => match self.pick(role, which) {
                Some(slot) => {
                    self.fleet.terminate(slot, Duration::ZERO)?;
                    self.later(SECOND_SIGNAL, Then::TerminateAgain(slot));
                    format!("SIGTERM twice {}", self.name(slot))
                }
                None => format!("SIGTERM twice {role}: none ran just then"),
            },
            Fault::Join { stay } => {
                let slot = self.fleet.spare(Role::Counter);
                self.fleet.slots[slot].wanted = true;
                let killed = stay.as_millis().is_multiple_of(2);
                self.later(stay, Then::Retire { slot, killed });
                format!("{} joins the group for {stay:?}", self.name(slot))
            }
            Fault::KillBroker { which, down } => {
                let ids = self.cluster.broker_ids();
                self.kill_broker(ids[which % ids.len()], down)?
            }
            Fault::KillLeader { of, which, down } => match self.leader(of, which) {
                Ok(id) => format!("{} (leads {of})", self.kill_broker(id, down)?),
                // A cluster that is just coming back does not say; then any will do.
                Err(_) => {
                    let ids = self.cluster.broker_ids();
                    self.kill_broker(ids[which % ids.len()], down)?
                }
            },
            Fault::PauseBroker { which, pause } => {
                let ids = self.cluster.broker_ids();
                let id = ids[which % ids.len()];
                match self.cluster.pause(id, true) {
                    Ok(()) => {
                        self.later(pause, Then::ContinueBroker(id));
                        format!("SIGSTOP broker {id} for {pause:?}")
                    }
                    Err(error) => format!("SIGSTOP broker {id}: {error:#}"),
                }
            }
            Fault::KillAllBrokers { down } => {
                for id in self.cluster.broker_ids() {
                    self.kill_broker(id, down)?;
                }
                format!("kill -9 every broker, back after {down:?}")
            }
            Fault::KillRedis { down } => {
                self.kill_redis()?;
                self.later(down, Then::StartRedis);
                format!("kill -9 Redis, back after {down:?}")
            }
            Fault::RestoreRedis { back } => {
                self.snapshots += 1;
                let snapshot = tail::Snapshot::take(&self.cluster.redis_dir(), self.snapshots)?;
                self.later(back, Then::RestoreRedis(snapshot));
                format!("kill -9 Redis in {back:?}, its append-only file back to now")
            }
            Fault::TruncateRedis { bytes } => {
                self.kill_redis()?;
                let cut = tail::truncate(&self.cluster.redis_dir(), bytes)?;
                self.cluster.start_redis()?;
                format!("kill -9 Redis, the last {cut} bytes of its append-only file lost")
            }
            Fault::PauseRedis { pause } => match self.cluster.pause_redis(true) {
                Ok(()) => {
                    self.later(pause, Then::ContinueRedis);
                    format!("SIGSTOP Redis for {pause:?}")
                }
                Err(error) => format!("SIGSTOP Redis: {error:#}"),
            },
            Fault::FlushRedis => self.redis(&[b"FLUSHALL"]),
            Fault::FlushScripts => self.redis(&[b"SCRIPT", b"FLUSH"]),
        })
    }

    /// A running process of a role.
    fn pick(&self, role: Role, which: usize) -> Option<usize> {
        let running = self.fleet.running(role);
        running.get(which % running.len().max(1)).copied()
    }

    fn name(&self, slot: usize) -> &str {
        &self.fleet.slots[slot].name
    }

    /// A copy leaves for good, unless it is the last one that is wanted.
    fn retire(&mut self, slot: usize, killed: bool) -> Result<()> {
        let role = self.fleet.slots[slot].role;
        let wanted = self
            .fleet
            .slots
            .iter()
            .filter(|s| s.role == role && s.wanted)
            .count();
        if wanted < 2 {
            return Ok(());
        }
        self.fleet.slots[slot].wanted = false;
        if killed {
            self.fleet.kill(slot, Duration::ZERO)
        } else {
            self.fleet.terminate(slot, Duration::ZERO)
        }
    }

    fn kill_broker(&mut self, id: i32, down: Duration) -> Result<String> {
        self.later(down, Then::StartBroker(id));
        let ran = self.cluster.kill_broker(id)?;
        self.kills += u32::from(ran);
        let was = if ran { "" } else { ", which was down already" };
        Ok(format!("kill -9 broker {id}{was}, back after {down:?}"))
    }

    fn kill_redis(&mut self) -> Result<()> {
        self.kills += u32::from(self.cluster.kill_redis()?);
        Ok(())
    }

    fn leader(&self, of: LeaderOf, which: usize) -> Result<i32> {
        let checkpoints = setup::checkpoint_topic(self.plan);
        let (topic, partitions) = match of {
            LeaderOf::Topic => (self.topic.as_str(), setup::PARTITIONS),
            LeaderOf::Checkpoints => (checkpoints.as_str(), 1),
            LeaderOf::Transactions => ("__transaction_state", 3),
            LeaderOf::Group => ("__consumer_offsets", 3),
        };
        self.cluster
            .leader(topic, i32::try_from(which % partitions)?)
    }

    fn redis(&self, command: &[&[u8]]) -> String {
        let text = String::from_utf8_lossy(&command.join(&b' ')).into_owned();
        let done = self
            .cluster
            .redis_port()
            .context("the cluster has no Redis")
            .and_then(Client::connect)
            .and_then(|mut client| client.call(command));
        match done {
            Ok(_) => text,
            Err(error) => format!("{text}: {error:#}"),
        }
    }
}
