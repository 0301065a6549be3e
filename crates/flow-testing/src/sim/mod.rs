//! A deterministic simulation of the whole pipeline, with faults.
//!
//! The legs are the product's own ([`gristmill_flow::Leg`], [`gristmill_flow::LaneDeadLetters`],
//! the errors between them); what surrounds them is a model of it:
//!
//! ```text
//!              ingest-0, ingest-1                        count-0 … count-2
//!  Stream ──▶ StreamSource ─ Leg ─ TopicWriter ──▶ Broker ──▶ GroupReader ─ Leg ─ CountSink ──▶ Store
//!  (events,    (resume, rewind,    (transactions,  (edits,     (rebalances,  │    (counts + next
//!   cuts,       dedupe by the       epochs, doubt)  letters,    zombies)     │     offset, doubt)
//!   stalls)     topic's tail)          ▲    ▲       markers)                 ▼
//!                 ▲───────── tail ─────┘    └───────────────────────── LaneDeadLetters
//! ```
//!
//! Every arrow into `Broker` and `Store` is a call over a [`world`] whose requests and replies get
//! lost or come late ([`world::World::call`]). A copy of a leg is killed at any of its await points,
//! put to sleep at one and woken when others have gone on, or stopped in order ([`copies`]); the
//! group takes lanes from whom it likes, the store loses its newest writes or all of them
//! ([`faults`]). Then the world calms down, everything must arrive, and every leg must end its
//! drain.
//!
//! [`check`] has the invariants. They hold after each effect, not only in the end:
//! - each event is in the topic, or its reject in the dead-letter topic, once: never lost, never
//!   doubled, as a `read_committed` reader sees it;
//! - the counts are exactly what the topic's records below the stored offsets give, so that the
//!   position is neither ahead of the effect nor behind it;
//! - a position goes back only where the store itself was taken back;
//! - a leg ends its drain in bounded (simulated) time, and everything arrives once faults cease.
//!
//! Nothing depends on anything but the seed: one thread, tokio's clock paused, one random number
//! generator, ordered maps. [`Mutant`]s break the world on purpose, to show that the invariants
//! see it.

mod broker;
mod check;
mod copies;
mod count_sink;
mod faults;
mod group;
mod group_reader;
mod life;
mod mutant;
mod profile;
mod store;
mod stream;
mod stream_source;
mod topic_writer;
mod transform;
mod world;

use std::fmt;
use std::time::Duration;

pub use mutant::Mutant;
pub use profile::Profile;

use world::World;

/// Why a schedule is wrong: what was violated, and the schedule up to there.
#[derive(Debug, Clone)]
pub struct Failure {
    /// The world it happened in.
    pub profile: &'static str,
    /// The seed that leads there again.
    pub seed: u64,
    /// The invariant that does not hold.
    pub violation: String,
    /// Every fault and every effect, with its simulated time.
    pub schedule: Vec<String>,
}

/// What a schedule that went well did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Report {
    /// Events of the stream.
    pub events: usize,
    /// Faults done: kills, pauses, lost calls, rebalances, losses of the store.
    pub faults: usize,
    /// Lives of legs.
    pub lives: usize,
    /// Calls to broker and store.
    pub calls: usize,
    /// Hash of all that happened, to compare two runs by.
    pub fingerprint: u64,
}

/// Run the schedule of `seed` in the world of `profile`.
///
/// # Errors
/// The first violation of an invariant.
pub fn run(profile: &Profile, mutant: Option<Mutant>, seed: u64) -> Result<Report, Box<Failure>> {
    schedule(profile, mutant, seed, false).map_err(|_| {
        // Once more with a record of what happens; a schedule is the same each time.
        match schedule(profile, mutant, seed, true) {
            Err(failure) => failure,
            Ok(_) => Box::new(Failure {
                profile: profile.name,
                seed,
                violation: "the simulation is not deterministic".to_owned(),
                schedule: Vec::new(),
            }),
        }
    })
}

fn schedule(
    profile: &Profile,
    mutant: Option<Mutant>,
    seed: u64,
    trace: bool,
) -> Result<Report, Box<Failure>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O");
    runtime.block_on(async {
        let world = World::new(profile, mutant, seed, trace);
        let outcome = faults::play(&world).await;
        let mut state = world.lock();
        match outcome {
            Ok(()) => Ok(state.report()),
            Err(violation) => Err(Box::new(Failure {
                profile: profile.name,
                seed,
                violation,
                schedule: std::mem::take(&mut state.trace),
            })),
        }
    })
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.schedule {
            writeln!(f, "{line}")?;
        }
        writeln!(
            f,
            "\n{}: seed {}: {}",
            self.profile, self.seed, self.violation
        )?;
        write!(
            f,
            "replay: GRISTMILL_SIM_SEED={} cargo test -p gristmill-flow --test simulation {}",
            self.seed, self.profile
        )
    }
}

/// Simulated milliseconds.
const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}
