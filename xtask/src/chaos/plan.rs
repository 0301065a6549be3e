//! What a seed stands for: the shape of the run, its faults, and when they come.
//!
//! All of it is decided before the first process starts, so that a seed names the same plan on any
//! machine. What the processes make of it depends on their timing, as in the field.

use std::fmt;
use std::time::Duration;

use fastrand::Rng;

/// Mean distance of two faults, unless `--minutes` says otherwise.
const SPACING: Duration = Duration::from_secs(3);
/// A rewound connection repeats 2,400 events (a minute of 40 a second) before it comes to a new one.
const CUT_EVERY_MIN: u64 = 5_000;
/// Before the first fault the stages come up.
const QUIET: Duration = Duration::from_secs(3);

/// One run.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) events: u64,
    pub(super) shape: Shape,
    /// In the order in which they come, from the start of the stages on.
    pub(super) faults: Vec<(Duration, Fault)>,
}

/// How server and pipeline are set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shape {
    /// The server resumes as Wikimedia's do: stamps + 1 ms, out of order by up to 15 s. The source
    /// then rewinds and drops by event id.
    pub(super) inexact: bool,
    /// The source drops by event id; always with an inexact server.
    pub(super) dedupe: bool,
    /// Events a second on a connection.
    pub(super) rate: u64,
    /// One in so many events is not JSON. Never together with `duplicate_every`: an event without
    /// an id cannot be told from its copy, and nothing promises to.
    pub(super) malformed_every: Option<u64>,
    pub(super) canary_every: Option<u64>,
    pub(super) cut_every: u64,
    pub(super) cut_mid_event: bool,
    pub(super) duplicate_every: Option<u64>,
    pub(super) stall_every: Option<u64>,
    pub(super) refuse_every: Option<u64>,
    /// Short enough for a suspended source to lose its transaction.
    pub(super) transaction_timeout: Duration,
    /// Copies of the sink that share the group.
    pub(super) counters: usize,
}

/// A stage, by what it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Server,
    Source,
    Counter,
}

/// A broker that is not just any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LeaderOf {
    /// A partition of the topic.
    Topic,
    Checkpoints,
    /// Transactions' coordinator.
    Transactions,
    /// The group's coordinator.
    Group,
}

/// One thing that goes wrong. Numbers choose among what there is at the time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// SIGKILL; the supervisor starts it again after `down`.
    Kill {
        role: Role,
        which: usize,
        down: Duration,
    },
    /// SIGKILL of every stage at once.
    KillStages,
    /// SIGSTOP, and SIGCONT after `pause`.
    Pause {
        role: Role,
        which: usize,
        pause: Duration,
    },
    /// The source is suspended, a second copy takes over, the first one wakes up.
    Zombie {
        pause: Duration,
    },
    /// Two copies of the source at once, restarted whenever one shuts the other out.
    SecondSource {
        together: Duration,
    },
    /// SIGTERM, drain, end; back after `away`.
    Leave {
        role: Role,
        which: usize,
        away: Duration,
    },
    /// SIGTERM and, right after it, another.
    Twice {
        role: Role,
        which: usize,
    },
    /// One more copy of the sink joins the group, and leaves it again.
    Join {
        stay: Duration,
    },
    KillBroker {
        which: usize,
        down: Duration,
    },
    KillLeader {
        of: LeaderOf,
        which: usize,
        down: Duration,
    },
    PauseBroker {
        which: usize,
        pause: Duration,
    },
    KillAllBrokers {
        down: Duration,
    },
    KillRedis {
        down: Duration,
    },
    /// Killed, and back with the append-only file of `back` before.
    RestoreRedis {
        back: Duration,
    },
    /// Killed, and back without the last `bytes` of its append-only file.
    TruncateRedis {
        bytes: u64,
    },
    PauseRedis {
        pause: Duration,
    },
    /// FLUSHALL.
    FlushRedis,
    /// SCRIPT FLUSH.
    FlushScripts,
}

impl Plan {
    /// The plan of `seed`. `kills` leaves only faults that kill a process.
    pub(super) fn new(
        seed: u64,
        events: u64,
        faults: u32,
        minutes: Option<f64>,
        kills: bool,
    ) -> Self {
        let mut rng = Rng::with_seed(seed);
        let spacing = match minutes {
            Some(minutes) => Duration::from_secs_f64(minutes * 60.0) / faults.max(1),
            None => SPACING,
        };
        let lasting = QUIET + spacing * faults;
        // What faults take away of the time is as much again: the stream still flows when the
        // last one comes.
        let rate = (events as f64 / lasting.as_secs_f64() * 1.5).ceil() as u64;
        let shape = Shape::draw(&mut rng, events, rate.max(50));
        let mut at = QUIET;
        let mut plan = Vec::new();
        for _ in 0..faults {
            plan.push((at, Fault::draw(&mut rng, kills)));
            // From half the spacing to one and a half: some faults come while others last.
            at += spacing.mul_f64(0.5 + rng.f64());
        }
        Self {
            seed,
            events,
            shape,
            faults: plan,
        }
    }
}

impl Shape {
    fn draw(rng: &mut Rng, events: u64, rate: u64) -> Self {
        let inexact = rng.u8(..3) > 0;
        let duplicates = rng.bool();
        let mut rarely = |range: std::ops::Range<u64>| rng.bool().then(|| rng.u64(range));
        let stall_every = rarely(events / 4..events / 2 + 2);
        let refuse_every = rarely(3..8);
        let canary_every = rarely(500..3_000);
        let cuts = (events / 15 + 1).max(CUT_EVERY_MIN)..(events / 5 + 2).max(3 * CUT_EVERY_MIN);
        Self {
            inexact,
            dedupe: inexact || duplicates,
            rate,
            malformed_every: (!duplicates).then(|| rng.u64(300..2_000)),
            canary_every,
            cut_every: rng.u64(cuts),
            cut_mid_event: rng.u8(..4) > 0,
            duplicate_every: duplicates.then(|| rng.u64(100..2_000)),
            stall_every,
            refuse_every,
            transaction_timeout: Duration::from_secs(if rng.bool() { 5 } else { 60 }),
            counters: rng.usize(1..=3),
        }
    }
}

fn between(rng: &mut Rng, ms: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(rng.u64(ms))
}

impl Fault {
    fn draw(rng: &mut Rng, kills: bool) -> Self {
        let which = rng.usize(..1 << 16);
        loop {
            // Tickets out of a hundred.
            let fault = match rng.u32(..100) {
                0..12 => Self::Kill {
                    role: Role::Source,
                    which,
                    down: between(rng, 0..1_500),
                },
                12..24 => Self::Kill {
                    role: Role::Counter,
                    which,
                    down: between(rng, 0..1_500),
                },
                24..29 => Self::Kill {
                    role: Role::Server,
                    which,
                    down: between(rng, 0..1_000),
                },
                29..33 => Self::KillStages,
                33..37 => Self::Pause {
                    role: Role::Source,
                    which,
                    pause: between(rng, 500..9_000),
                },
                37..42 => Self::Pause {
                    role: Role::Counter,
                    which,
                    pause: between(rng, 500..9_000),
                },
                42..43 => Self::Pause {
                    role: Role::Server,
                    which,
                    pause: between(rng, 500..4_000),
                },
                43..48 => Self::Zombie {
                    pause: between(rng, 1_500..7_000),
                },
                48..52 => Self::SecondSource {
                    together: between(rng, 2_000..7_000),
                },
                52..55 => Self::Leave {
                    role: Role::Source,
                    which,
                    away: between(rng, 0..2_000),
                },
                55..58 => Self::Leave {
                    role: Role::Counter,
                    which,
                    away: between(rng, 0..3_000),
                },
                58..59 => Self::Twice {
                    role: Role::Source,
                    which,
                },
                59..60 => Self::Twice {
                    role: Role::Counter,
                    which,
                },
                60..64 => Self::Join {
                    stay: between(rng, 2_000..6_000),
                },
                64..68 => Self::KillBroker {
                    which,
                    down: between(rng, 500..5_000),
                },
                68..76 => Self::KillLeader {
                    of: match rng.u8(..4) {
                        0 => LeaderOf::Topic,
                        1 => LeaderOf::Checkpoints,
                        2 => LeaderOf::Transactions,
                        _ => LeaderOf::Group,
                    },
                    which,
                    down: between(rng, 500..5_000),
                },
                76..80 => Self::PauseBroker {
                    which,
                    pause: between(rng, 500..6_000),
                },
                80..82 => Self::KillAllBrokers {
                    down: between(rng, 0..2_000),
                },
                82..87 => Self::KillRedis {
                    down: between(rng, 0..2_000),
                },
                87..91 => Self::RestoreRedis {
                    back: between(rng, 500..6_000),
                },
                91..94 => Self::TruncateRedis {
                    bytes: rng.u64(1..100_000),
                },
                94..96 => Self::PauseRedis {
                    pause: between(rng, 500..8_000),
                },
                96..98 => Self::FlushRedis,
                _ => Self::FlushScripts,
            };
            if !kills || fault.kills() {
                return fault;
            }
        }
    }

    /// Whether a process is killed.
    pub(super) fn kills(&self) -> bool {
        matches!(
            self,
            Self::Kill { .. }
                | Self::KillStages
                | Self::KillBroker { .. }
                | Self::KillLeader { .. }
                | Self::KillAllBrokers { .. }
                | Self::KillRedis { .. }
                | Self::RestoreRedis { .. }
                | Self::TruncateRedis { .. }
        )
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "seed {}: {} events, {}",
            self.seed, self.events, self.shape
        )?;
        for (at, fault) in &self.faults {
            writeln!(f, "   {:>6.1} s  {fault:?}", at.as_secs_f64())?;
        }
        Ok(())
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Server => "server",
            Self::Source => "source",
            Self::Counter => "counter",
        })
    }
}

impl fmt::Display for LeaderOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Topic => "the topic",
            Self::Checkpoints => "the checkpoints",
            Self::Transactions => "the transactions",
            Self::Group => "the group",
        })
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} resumption, {} events/s, cut{} at 1 in {}",
            if self.inexact { "inexact" } else { "exact" },
            self.rate,
            if self.cut_mid_event { " mid-event" } else { "" },
            self.cut_every,
        )?;
        for (what, every) in [
            ("duplicates", self.duplicate_every),
            ("malformed", self.malformed_every),
            ("canaries", self.canary_every),
            ("stalls", self.stall_every),
            ("refused requests", self.refuse_every),
        ] {
            if let Some(every) = every {
                write!(f, ", {what} 1 in {every}")?;
            }
        }
        write!(
            f,
            ", transactions time out after {:?}, {} counting",
            self.transaction_timeout,
            match self.counters {
                1 => "one copy".to_owned(),
                copies => format!("{copies} copies"),
            }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_one_plan() {
        let plan = |seed| Plan::new(seed, 100_000, 10, None, false);
        for seed in 0..50 {
            let (one, other) = (plan(seed), plan(seed));
            assert_eq!(one.faults, other.faults);
            assert_eq!(one.shape, other.shape);
            assert_eq!(one.faults.len(), 10);
            assert!(one.faults.is_sorted_by_key(|(at, _)| *at));
            assert!(one.shape.malformed_every.is_none() || one.shape.duplicate_every.is_none());
            assert!(one.shape.dedupe || !one.shape.inexact && one.shape.duplicate_every.is_none());
        }
        assert_ne!(plan(1).faults, plan(2).faults);
    }

    #[test]
    fn kills_only() {
        let plan = Plan::new(7, 1_000_000, 100, None, true);
        assert_eq!(
            plan.faults
                .iter()
                .filter(|(_, fault)| fault.kills())
                .count(),
            100
        );
    }

    /// Thirty seeds are worth running because together they do everything.
    #[test]
    fn thirty_seeds_do_every_fault() {
        let mut seen = std::collections::BTreeSet::new();
        for seed in 1..=30 {
            for (_, fault) in Plan::new(seed, 100_000, 10, None, false).faults {
                let text = format!("{fault:?}");
                seen.insert(text.split([' ', '{']).next().unwrap_or_default().to_owned());
            }
        }
        assert_eq!(seen.len(), 18, "{seen:?}");
    }
}
