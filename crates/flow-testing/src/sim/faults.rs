//! The play: faults at random, then calm, then the end.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::copies::{self, DRAIN_MAX};
use super::ms;
use super::world::{Server, World};

/// How long the world may take, once it is calm, until everything has arrived.
const ARRIVAL_MAX: Duration = ms(30_000);
/// How long a request can be under way.
const LATE_MAX: Duration = ms(500);

/// Play one schedule.
///
/// # Errors
/// The invariant that does not hold.
pub(super) async fn play(world: &World) -> Result<(), String> {
    let (ingest_copies, count_copies, length) = {
        let mut state = world.lock();
        let extra = ms(state.rng.u64(0..400));
        let profile = state.profile;
        (
            profile.ingest_copies,
            profile.count_copies,
            state.stream.length + extra,
        )
    };
    let mut copies: Vec<JoinHandle<()>> = Vec::new();
    copies.extend((0..ingest_copies).map(|n| tokio::spawn(copies::ingest(world.clone(), n))));
    copies.extend((0..count_copies).map(|n| tokio::spawn(copies::count(world.clone(), n))));

    let end_ms = length.as_millis() as u64;
    while world.lock().now_ms() < end_ms {
        world.linger(60).await;
        fault(world);
        violated(world)?;
    }
    {
        let mut state = world.lock();
        state.calm = true;
        state.note(|| "the faults are over".to_owned());
    }

    let arrival = async {
        while !world.lock().arrived() {
            sleep(ms(20)).await;
            world.lock().sweep_group();
            violated(world)?;
        }
        Ok::<(), String>(())
    };
    match timeout(ARRIVAL_MAX, arrival).await {
        Ok(arrived) => arrived?,
        Err(_) => {
            let mut state = world.lock();
            state.violate(|| "not everything arrives, though the faults are over".to_owned());
        }
    }
    violated(world)?;

    // What was under way when everything had arrived must do no harm.
    sleep(LATE_MAX).await;
    {
        let mut state = world.lock();
        state.over = true;
        state.stops.values().for_each(|stop| stop.cancel());
    }
    for copy in copies {
        if timeout(DRAIN_MAX + ms(1_000), copy).await.is_err() {
            world.lock().violate(|| "a copy does not end".to_owned());
        }
    }
    world.lock().check_end();
    violated(world)
}

/// One fault of those that come from outside, or none.
fn fault(world: &World) {
    let mut state = world.lock();
    state.sweep_group();
    let down = ms(state.rng.u64(5..120));
    match state.rng.u32(0..10) {
        0..=2 if state.profile.rebalances => {
            state.note_fault(|| "rebalance".to_owned());
            state.rebalance();
        }
        3..=4 if state.profile.store_losses => state.restore(),
        5 if state.profile.store_losses => state.flush(),
        8 if state.profile.store_losses && !state.store.broken => {
            state.note_fault(|| "store: a key breaks".to_owned());
            state.store.broken = true;
        }
        6 if state.profile.lost_per_mille > 0 => {
            state.note_fault(|| format!("broker down for {down:?}"));
            state.take_down(Server::Broker, down);
        }
        7 if state.profile.lost_per_mille > 0 => {
            state.note_fault(|| format!("store down for {down:?}"));
            state.take_down(Server::Store, down);
        }
        _ => {}
    }
}

fn violated(world: &World) -> Result<(), String> {
    world.lock().violation.clone().map_or(Ok(()), Err)
}
