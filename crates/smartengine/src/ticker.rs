//! Time limits: a thread that advances wasmtime's epoch while a guest runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The grain of time limits: fine enough for a limit of a second, coarse enough to cost nothing.
pub(crate) const TICK: Duration = Duration::from_millis(50);

/// Ticks without work before the thread sleeps. To wake it is a system call: a stream of small
/// batches would pay it with each of them (a record alone in its batch cost 2 us instead of 1).
const IDLE_TICKS: u32 = 4;

/// Ticks as long as someone is at work, soon sleeps otherwise, ends when dropped.
#[derive(Debug)]
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    at_work: AtomicUsize,
    asleep: AtomicBool,
    stop: AtomicBool,
}

/// Keeps the ticker awake.
#[derive(Debug)]
pub(crate) struct AtWork<'a>(&'a Shared);

impl Ticker {
    pub(crate) fn start(engine: wasmtime::Engine) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let seen = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("smartmodule-ticker".to_owned())
            .spawn(move || run(&engine, &seen))?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Tick until the guard is dropped.
    pub(crate) fn at_work(&self) -> AtWork<'_> {
        self.shared.at_work.fetch_add(1, SeqCst);
        // Waking a thread costs a system call: only one that sleeps is woken. Looked at before it is
        // written to: it is false with all but the first batch.
        if self.shared.asleep.load(SeqCst) && self.shared.asleep.swap(false, SeqCst) {
            self.wake();
        }
        AtWork(&self.shared)
    }

    fn wake(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stop.store(true, SeqCst);
        self.wake();
        if let Some(thread) = self.thread.take() {
            // The thread holds nothing that a panic of its own could have broken.
            let _ = thread.join();
        }
    }
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.0.at_work.fetch_sub(1, SeqCst);
    }
}

fn run(engine: &wasmtime::Engine, shared: &Shared) {
    let mut last = Instant::now();
    let mut idle_ticks = 0;
    while !shared.stop.load(SeqCst) {
        if idle_ticks >= IDLE_TICKS {
            shared.asleep.store(true, SeqCst);
            if shared.at_work.load(SeqCst) == 0 {
                std::thread::park();
            }
            shared.asleep.store(false, SeqCst);
            (idle_ticks, last) = (0, Instant::now());
            continue;
        }
        // A stale token ends a park early: only time that has passed counts.
        std::thread::park_timeout(TICK);
        if last.elapsed() >= TICK {
            engine.increment_epoch();
            last = Instant::now();
            idle_ticks = match shared.at_work.load(SeqCst) {
                0 => idle_ticks + 1,
                _ => 0,
            };
        }
    }
}
