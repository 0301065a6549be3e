//! `cargo xtask chaos`: the real pipeline under real faults, against the generator's own list.
//!
//! ```text
//! seed ─▶ plan (shape, faults, times)
//!           │     gristmill replay ─SSE▶ gristmill up --only source ─▶ 3 brokers ─▶ gristmill up --only sink ─▶ Redis
//!           └────────▶ kill -9, SIGSTOP, SIGTERM, second copies, lost tails: any of them, at any moment
//! generator's list ═ topic (Kafka's own consumer, read_committed) ═ counts (a socket of ours)
//! ```
//!
//! A supervisor starts again what died. Exit code 1 on any difference.

mod console;
mod fleet;
mod interrupt;
mod judge;
mod plan;
mod resp;
mod run;
mod setup;
mod tail;

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::cluster::{Cluster, Options};
use plan::Plan;
use run::{Outcome, Run};

/// What to run.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ChaosArgs {
    /// Which events and which faults; the same seed is the same plan [default: from the clock]
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Events that the server has
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) events: u64,
    /// Faults, one after the other and some at once
    #[arg(long, default_value_t = 10)]
    pub(crate) faults: u32,
    /// How long the faults go on [default: 3 s for each]
    #[arg(long)]
    pub(crate) minutes: Option<f64>,
    /// Only faults that kill a process
    #[arg(long)]
    pub(crate) kills: bool,
    /// Only print the plan
    #[arg(long)]
    pub(crate) plan: bool,
    /// Runs, with one seed after the other
    #[arg(long, default_value_t = 1)]
    pub(crate) runs: u32,
    /// Keep the cluster and the logs
    #[arg(long)]
    pub(crate) keep: bool,
    /// Run this gristmill instead of building one
    #[arg(long)]
    pub(crate) binary: Option<PathBuf>,
    /// The directory of cluster and logs [default: target/chaos/PID]
    #[arg(long)]
    pub(crate) dir: Option<PathBuf>,
}

/// What is started, and goes when this does.
struct Arena {
    dir: PathBuf,
    cluster: Cluster,
    keep: bool,
}

impl Arena {
    fn up(dir: &Path, keep: bool) -> Result<Self> {
        std::fs::create_dir_all(dir)?;
        let dir = dir.canonicalize()?;
        let options = Options {
            brokers: 3,
            no_redis: false,
            secure: false,
        };
        println!(
            "chaos: starting three brokers and Redis in {}",
            dir.display()
        );
        let cluster = Cluster::up(&dir.join("cluster"), &options)?;
        Ok(Self { dir, cluster, keep })
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        if self.keep {
            return println!("chaos: kept {}", self.dir.display());
        }
        if let Err(error) = Cluster::down(&self.dir.join("cluster")) {
            println!("chaos: {error:#}");
        }
    }
}

/// Run, tell, and fail on any difference.
pub(crate) fn run(args: &ChaosArgs) -> Result<()> {
    let seed = args.seed.unwrap_or_else(|| {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        now.as_secs()
    });
    let seeds = seed..seed + u64::from(args.runs.max(1));
    if args.plan {
        seeds.for_each(|seed| print!("{}", plan(args, seed)));
        return Ok(());
    }
    interrupt::watch();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("no workspace")?;
    let dir = match &args.dir {
        Some(dir) => dir.clone(),
        None => root.join(format!("target/chaos/{}", std::process::id())),
    };
    let built = match &args.binary {
        Some(binary) => binary.clone(),
        None => build(root)?,
    };
    let mut arena = Arena::up(&dir, args.keep)?;
    // A copy, so that a later build changes no run.
    let gristmill = arena.dir.join("gristmill");
    std::fs::copy(&built, &gristmill)
        .with_context(|| format!("cannot copy {}", built.display()))?;
    warm_up(root, &gristmill)?;
    let mut table = String::new();
    let mut failed = Vec::new();
    for seed in seeds {
        let plan = plan(args, seed);
        println!("chaos: seed {seed}: {} events, {}", plan.events, plan.shape);
        let logs = arena.dir.join(format!("seed-{seed}"));
        std::fs::create_dir_all(&logs)?;
        let outcome = Run::new(&plan, &mut arena.cluster, &logs, &gristmill)?
            .play(&setup::generator(&plan))
            .with_context(|| format!("seed {seed}; the stages' logs are in {}", logs.display()))?;
        tell(&plan, &outcome);
        table += &row(&plan, &outcome);
        if !outcome.stuck && outcome.verdict.is_clean() {
            clear(&mut arena.cluster, &plan)?;
            if !args.keep {
                std::fs::remove_dir_all(&logs)?;
            }
        } else {
            failed.push(seed);
            // Its topics stay to be looked at; the next run must start with no counts.
            empty_redis(&mut arena.cluster)?;
            println!("chaos: the stages' logs are in {}", logs.display());
            println!("chaos: again: {}", again(args, seed));
        }
    }
    print!("\n{HEAD}{table}");
    if failed.is_empty() && !args.keep {
        // Nothing to look at is left in it.
        let dir = arena.dir.clone();
        drop(arena);
        std::fs::remove_dir_all(dir)?;
    }
    ensure!(
        failed.is_empty(),
        "chaos: differences with seeds {failed:?}"
    );
    Ok(())
}

fn plan(args: &ChaosArgs, seed: u64) -> Plan {
    Plan::new(seed, args.events, args.faults, args.minutes, args.kills)
}

/// The command that plans the same run.
fn again(args: &ChaosArgs, seed: u64) -> String {
    let mut text = format!(
        "cargo xtask chaos --seed {seed} --events {} --faults {}",
        args.events, args.faults
    );
    if let Some(minutes) = args.minutes {
        text += &format!(" --minutes {minutes}");
    }
    if args.kills {
        text += " --kills";
    }
    text
}

/// The binary of these sources, built if need be.
fn build(root: &Path) -> Result<PathBuf> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args(["build", "--release", "--locked", "--package", "gristmill"])
        .current_dir(root);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CARGO_PKG") || name == "CARGO_MANIFEST_DIR" {
            cargo.env_remove(name);
        }
    }
    ensure!(
        cargo.status().context("cannot start cargo")?.success(),
        "gristmill does not build"
    );
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    Ok(target.join("release/gristmill"))
}

/// Have the SmartModule built before the clock runs: the first time it takes minutes.
fn warm_up(root: &Path, gristmill: &Path) -> Result<()> {
    let mut command = Command::new(gristmill);
    command
        .args(["smartmodule", "build", "extract-type"])
        .current_dir(root);
    ensure!(
        command
            .status()
            .context("cannot start gristmill")?
            .success(),
        "extract-type does not build"
    );
    Ok(())
}

/// Make room for the next run.
fn clear(cluster: &mut Cluster, plan: &Plan) -> Result<()> {
    empty_redis(cluster)?;
    let topics = format!(
        "{0}|{0}.dead-letter|{1}",
        setup::topic(plan),
        setup::checkpoint_topic(plan)
    );
    let mut java = cluster.java("-Xmx128m");
    java.args([
        "org.apache.kafka.tools.TopicCommand",
        "--delete",
        "--topic",
        &topics,
    ]);
    java.args(["--bootstrap-server", &cluster.bootstrap().join(",")]);
    let output = java.output().context("cannot start java")?;
    ensure!(
        output.status.success(),
        "cannot delete {topics}: {}",
        String::from_utf8_lossy(&output.stdout)
    );
    Ok(())
}

/// Redis with nothing in it: neither keys nor a history that a lost tail could bring back.
fn empty_redis(cluster: &mut Cluster) -> Result<()> {
    cluster.kill_redis()?;
    tail::remove(&cluster.redis_dir())?;
    cluster.start_redis()
}

/// One line that is written over on a terminal, and now and then elsewhere.
fn progress(text: &str) {
    static LAST: std::sync::Mutex<Option<std::time::Instant>> = std::sync::Mutex::new(None);
    let mut out = std::io::stdout();
    if out.is_terminal() {
        let _ = write!(out, "\r\x1b[K{text}").and_then(|()| out.flush());
        return;
    }
    let mut last = LAST
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    if last.is_none_or(|last| last.elapsed() >= Duration::from_secs(10)) {
        *last = Some(std::time::Instant::now());
        println!("   {text}");
    }
}

fn tell(plan: &Plan, outcome: &Outcome) {
    if std::io::stdout().is_terminal() {
        println!("\r\x1b[K");
    }
    for (when, what) in &outcome.done {
        println!("   {:>6.1} s  {what}", when.as_secs_f64());
    }
    for exit in &outcome.exits {
        println!("   ended by itself: {exit}");
    }
    let verdict = &outcome.verdict;
    for difference in &verdict.differences {
        println!("   {difference}");
    }
    if outcome.stuck {
        println!("   nothing moved any more before everything was there");
    }
    println!(
        "chaos: seed {}: {} of {} records, missing {}, doubled {}, wrong {}; {} counted, {} counts \
         wrong; {} of {} dead letters, {} wrong; {} faults ({} kills), {} starts, {} fenced, {:.0} s",
        plan.seed,
        verdict.records,
        outcome.expected,
        verdict.missing,
        verdict.doubled,
        verdict.wrong,
        verdict.counted,
        verdict.counts_wrong,
        verdict.letters,
        outcome.letters,
        verdict.letters_wrong,
        plan.faults.len(),
        outcome.kills,
        outcome.starts,
        outcome.fenced,
        outcome.took.as_secs_f64(),
    );
}

const HEAD: &str = "\
| seed | server | events | faults | kills | starts | fenced | seconds | missing | doubled | wrong | counts wrong | letters wrong |
|---|---|---|---|---|---|---|---|---|---|---|---|---|
";

fn row(plan: &Plan, outcome: &Outcome) -> String {
    let verdict = &outcome.verdict;
    format!(
        "| {} | {} | {} | {} | {} | {} | {} | {:.0} | {} | {} | {} | {} | {} |\n",
        plan.seed,
        if plan.shape.inexact {
            "inexact"
        } else {
            "exact"
        },
        plan.events,
        plan.faults.len(),
        outcome.kills,
        outcome.starts,
        outcome.fenced,
        outcome.took.as_secs_f64(),
        verdict.missing,
        verdict.doubled,
        verdict.wrong,
        verdict.counts_wrong,
        verdict.letters_wrong,
    )
}
