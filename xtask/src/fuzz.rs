//! `cargo xtask fuzz`: coverage-guided fuzzing with libFuzzer, on the stable toolchain.
//!
//! cargo-fuzz wants a nightly compiler for its sanitizers. The code here is safe Rust, which needs
//! none of them: counters are enough, and those the stable compiler can put in.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use clap::Args;

/// Counters at every edge and comparisons as libFuzzer reads them; the flags of cargo-fuzz but for
/// the sanitizer. `debug_assertions` and overflow checks come from `fuzz/Cargo.toml`.
const RUSTFLAGS: &str = "--cfg fuzzing \
    -C passes=sancov-module \
    -C llvm-args=-sanitizer-coverage-level=4 \
    -C llvm-args=-sanitizer-coverage-inline-8bit-counters \
    -C llvm-args=-sanitizer-coverage-pc-table \
    -C llvm-args=-sanitizer-coverage-trace-compares \
    -C codegen-units=4";

/// A target: its name, the longest input worth trying, its dictionary, and a directory of tests
/// whose files are good seeds.
struct Target {
    name: &'static str,
    bytes_max: u32,
    dictionary: &'static str,
    seeds: Option<&'static str>,
}

const TARGETS: [Target; 5] = [
    Target {
        name: "sse",
        bytes_max: 4096,
        dictionary: "sse",
        seeds: None,
    },
    Target {
        name: "manifest",
        bytes_max: 4096,
        dictionary: "manifest",
        seeds: Some("crates/manifest/tests/invalid"),
    },
    Target {
        name: "abi_decode",
        bytes_max: 512,
        dictionary: "abi",
        seeds: None,
    },
    Target {
        name: "json_field",
        bytes_max: 1024,
        dictionary: "json",
        seeds: None,
    },
    Target {
        name: "event_fields",
        bytes_max: 1024,
        dictionary: "json",
        seeds: None,
    },
];

/// One input that takes longer is a finding.
const INPUT_SECONDS_MAX: u32 = 10;
/// More memory than this is a finding too.
const MEMORY_MIB_MAX: u32 = 2048;
/// What a target may take beyond its time: reading the corpus, the last input.
const GRACE: Duration = Duration::from_secs(60);

#[derive(Args)]
pub(crate) struct FuzzArgs {
    /// Targets; all of them if none is named
    targets: Vec<String>,
    /// How long each target runs
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u64,
    /// Random seed; another one each time if it is not given
    #[arg(long, value_name = "N")]
    seed: Option<u32>,
    /// Run these inputs once and say what happens, instead of looking for new ones
    #[arg(long, value_name = "FILE", num_args = 1..)]
    replay: Vec<PathBuf>,
    /// Make a crashing input as small as can be
    #[arg(long, value_name = "FILE", conflicts_with = "replay")]
    minimize: Option<PathBuf>,
}

pub(crate) fn run(args: &FuzzArgs) -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("no workspace")?;
    let targets = select(&args.targets)?;
    if let Some(reason) = missing() {
        bail!(reason);
    }
    let binaries = build(root, &targets)?;
    if args.replay.is_empty() && args.minimize.is_none() {
        let seed = args.seed.unwrap_or_else(std::process::id);
        return search(root, &targets, &binaries, args.seconds, seed);
    }
    let [target] = targets[..] else {
        bail!("name the one target that the input is for");
    };
    let mut command = Command::new(binaries.join(target.name));
    match &args.minimize {
        Some(file) => command
            .arg("-minimize_crash=1")
            .arg(format!("-max_total_time={}", args.seconds))
            .arg(format!(
                "-exact_artifact_path={}.min",
                file.to_string_lossy()
            ))
            .arg(file),
        None => command
            .arg(format!("-timeout={INPUT_SECONDS_MAX}"))
            .args(&args.replay),
    };
    let status = command.env("RUST_BACKTRACE", "1").status()?;
    ensure!(status.success(), "{}: {status}", target.name);
    Ok(())
}

/// As a step of `cargo xtask ci`: a short search from the committed corpora, the same one each time
/// as far as a search bounded by time can be.
pub(crate) fn short(root: &Path, seconds: u64) -> anyhow::Result<Option<String>> {
    if let Some(reason) = missing() {
        return Ok(Some(reason));
    }
    let targets: Vec<&Target> = TARGETS.iter().collect();
    let binaries = build(root, &targets)?;
    search(root, &targets, &binaries, seconds, 1).map(|()| None)
}

fn select(names: &[String]) -> anyhow::Result<Vec<&'static Target>> {
    if names.is_empty() {
        return Ok(TARGETS.iter().collect());
    }
    let find = |name: &String| {
        let target = TARGETS.iter().find(|target| target.name == name);
        target.with_context(|| {
            let all: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
            format!("no target `{name}`; there are {}", all.join(", "))
        })
    };
    names.iter().map(find).collect()
}

/// libFuzzer itself is C++.
fn missing() -> Option<String> {
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
    let works = Command::new(&compiler)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    (!works).then(|| format!("no C++ compiler (`{compiler}`) for libFuzzer: apt-get install g++"))
}

/// Builds the targets; returns the directory of their programs.
fn build(root: &Path, targets: &[&Target]) -> anyhow::Result<PathBuf> {
    let host = host()?;
    let target_dir = root.join("target/fuzz");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // Not --locked: a room's new dependency need not be written down here as well. With --target,
    // so that build scripts and macros are compiled without counters.
    cargo
        .args(["build", "--release", "--target", &host, "--target-dir"])
        .arg(&target_dir)
        .current_dir(root.join("fuzz"))
        .env("RUSTFLAGS", RUSTFLAGS)
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("CARGO_MANIFEST_DIR");
    for target in targets {
        cargo.args(["--bin", target.name]);
    }
    let status = cargo.status().context("cannot start cargo")?;
    ensure!(status.success(), "the fuzz targets do not build: {status}");
    Ok(target_dir.join(host).join("release"))
}

fn host() -> anyhow::Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("-vV").output()?;
    let text = String::from_utf8(output.stdout)?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc -vV names no host")?.to_owned())
}

/// A target at work.
struct Run {
    target: &'static str,
    child: Child,
    log: PathBuf,
    deadline: Instant,
}

/// Runs all targets, as many at a time as there are processors, and reports what they found.
fn search(
    root: &Path,
    targets: &[&'static Target],
    binaries: &Path,
    seconds: u64,
    seed: u32,
) -> anyhow::Result<()> {
    let at_a_time = std::thread::available_parallelism().map_or(1, usize::from);
    let mut waiting = targets.iter();
    let mut running: Vec<Run> = Vec::new();
    let mut found = Vec::new();
    loop {
        while running.len() < at_a_time
            && let Some(target) = waiting.next()
        {
            running.push(start(root, target, binaries, seconds, seed)?);
        }
        if running.is_empty() {
            break;
        }
        #[allow(
            clippy::disallowed_methods,
            reason = "nothing else runs in this process"
        )]
        std::thread::sleep(Duration::from_millis(50));
        let mut index = 0;
        while index < running.len() {
            let run = &mut running[index];
            let late = Instant::now() > run.deadline;
            if late {
                run.child.kill()?;
            }
            match run.child.try_wait()? {
                Some(status) => {
                    let run = running.swap_remove(index);
                    if late || !status.success() {
                        found.push(report(root, &run, late));
                    } else {
                        println!("   {}: {}", run.target, last_line(&run.log));
                    }
                }
                None => index += 1,
            }
        }
    }
    ensure!(
        found.is_empty(),
        "{} found something (seed {seed})\n{}",
        match found.len() {
            1 => "a target".to_owned(),
            n => format!("{n} targets"),
        },
        found.join("\n")
    );
    Ok(())
}

fn start(
    root: &Path,
    target: &Target,
    binaries: &Path,
    seconds: u64,
    seed: u32,
) -> anyhow::Result<Run> {
    let work = root.join("target/fuzz");
    // What a search finds interesting is kept for the next one, beside the committed corpus.
    let corpus = work.join("corpus").join(target.name);
    let artifacts = work.join("artifacts").join(target.name);
    for dir in [&corpus, &artifacts] {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    }
    let log = artifacts.join("log");
    let mut command = Command::new(binaries.join(target.name));
    command
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-seed={seed}"))
        .arg(format!("-max_len={}", target.bytes_max))
        .arg(format!("-timeout={INPUT_SECONDS_MAX}"))
        .arg(format!("-rss_limit_mb={MEMORY_MIB_MAX}"))
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .arg(format!(
            "-dict={}",
            root.join(format!("fuzz/dict/{}.dict", target.dictionary))
                .display()
        ))
        .arg(&corpus)
        .arg(root.join("fuzz/corpus").join(target.name))
        .args(target.seeds.map(|seeds| root.join(seeds)))
        .env("RUST_BACKTRACE", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(&log)?);
    let child = command
        .spawn()
        .with_context(|| format!("cannot start {command:?}"))?;
    Ok(Run {
        target: target.name,
        child,
        log,
        deadline: Instant::now() + Duration::from_secs(seconds) + GRACE,
    })
}

/// What a target found, and what to do with it.
fn report(root: &Path, run: &Run, late: bool) -> String {
    let log = std::fs::read_to_string(&run.log).unwrap_or_default();
    if late {
        return format!("{}: did not end; see {}", run.target, run.log.display());
    }
    let mut input = log
        .lines()
        .filter_map(|line| line.split_once("Test unit written to "))
        .map(|(_, path)| path.strip_prefix(&*root.to_string_lossy()).unwrap_or(path))
        .map(|path| path.trim_start_matches('/'));
    let what = log
        .lines()
        .skip_while(|line| !line.contains("panicked at") && !line.contains("ERROR: libFuzzer"))
        .take(6)
        .map(|line| format!("     {line}\n"))
        .collect::<String>();
    let name = run.target;
    match input.next() {
        Some(input) => format!(
            "{name}: {input}\n{what}   replay:   cargo xtask fuzz {name} --replay {input}\n   \
             minimize: cargo xtask fuzz {name} --minimize {input}\n   the whole log: {}",
            run.log.display()
        ),
        None => format!("{name}: ended early; see {}\n{what}", run.log.display()),
    }
}

fn last_line(log: &Path) -> String {
    let log = std::fs::read_to_string(log).unwrap_or_default();
    let coverage = log
        .lines()
        .rev()
        .find_map(|line| line.split_once(" cov: ")?.1.split_once(" ft:"))
        .map_or_else(String::new, |(edges, _)| {
            format!(", {} edges covered", edges.trim())
        });
    let done = log.lines().rev().find(|line| line.starts_with("Done "));
    format!("{}{coverage}", done.unwrap_or("done").to_lowercase())
}
