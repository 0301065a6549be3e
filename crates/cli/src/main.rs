//! The gristmill command line: parse, run one verb, turn its outcome into an exit code.
//!
//! **Invariant:** only this crate prints, and only here errors end as text: libraries have typed
//! errors. Standard output carries results (tables, JSON), standard error everything else.

mod args;
mod commands;
mod deployed;
mod live;
mod logging;
mod output;
mod project;
mod reload;
mod remote;
mod runs;
mod secrets;
mod served;
mod session;
mod windows;

use std::process::ExitCode;

use clap::Parser;

/// Ran, and failed.
const EXIT_FAILED: u8 = 1;
/// Wrong usage, or an invalid file.
const EXIT_USAGE: u8 = 2;
/// Interrupted by Ctrl-C.
const EXIT_INTERRUPTED: u8 = 130;

/// How a verb ended, where it did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// Did what it was asked.
    Done,
    /// Did it, and what it did says no (a module's test found errors).
    Failed,
    /// The file it was asked about is not valid.
    Invalid,
    /// Ended by Ctrl-C.
    Interrupted,
}

/// Wrong usage or an invalid file, already worded for the user: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct UsageError(String);

fn main() -> ExitCode {
    let cli = args::Cli::parse();
    // A stage's lines get their time from its supervisor.
    let timed = !matches!(cli.verb, args::Verb::Stage(_));
    logging::init(cli.verbose, cli.log_format, timed);
    few_heaps();
    let runtime = match runtime(&cli.verb) {
        Ok(runtime) => runtime,
        Err(error) => {
            output::error(&format!("cannot start the runtime: {error}"));
            return ExitCode::from(EXIT_FAILED);
        }
    };
    let outcome = runtime.block_on(commands::run(cli.verb));
    // Threads that still wait on a broker must not keep the process.
    runtime.shutdown_background();
    match outcome {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Failed) => ExitCode::from(EXIT_FAILED),
        Ok(Outcome::Invalid) => ExitCode::from(EXIT_USAGE),
        Ok(Outcome::Interrupted) => ExitCode::from(EXIT_INTERRUPTED),
        Err(error) if output::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let text = output::chain(&error);
            if error.downcast_ref::<UsageError>().is_some() {
                output::invalid(&text);
                return ExitCode::from(EXIT_USAGE);
            }
            output::error(&text);
            ExitCode::from(EXIT_FAILED)
        }
    }
}

/// One heap for every two cores: glibc gives nearly each thread one of its own, and a buffer that one
/// thread fills and another frees then keeps two of them large. A backlog took 14 MiB more, at the
/// same speed.
#[allow(unsafe_code)]
fn few_heaps() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        let heaps = i32::try_from(cores().div_ceil(2)).unwrap_or(1);
        // SAFETY: sets a number of the allocator's; no other thread runs yet.
        unsafe {
            libc::mallopt(libc::M_ARENA_MAX, heaps);
        }
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

/// Where a verb's own work runs; legs have threads of their own.
fn runtime(verb: &args::Verb) -> std::io::Result<tokio::runtime::Runtime> {
    let mut builder = match verb {
        // Little is left to do here, and a worker that wakes another costs more than that.
        args::Verb::Up(_) | args::Verb::Stage(_) => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    builder
        .worker_threads(cores().clamp(2, 4))
        .enable_all()
        .build()
}
