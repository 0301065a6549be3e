//! `cargo xtask ci`: everything that must hold before a change lands, in one command.
//!
//! With `CI=true` a missing tool is a failure; on a user's machine the step says what it skipped.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use clap::Args;

use crate::chaos::{self, ChaosArgs};
use crate::cluster::{Cluster, Options};

/// What the demo says on stderr once it runs.
const DEMO_RUNS: &str = "Ctrl-C ends it";
/// How long the README's demo then runs before it gets its Ctrl-C.
const DEMO_FOR: Duration = Duration::from_secs(15);

/// How long each fuzz target looks for something.
const FUZZ_SECONDS: u64 = 15;
/// Inexact resumption, malformed events, a zombie source, the leader of the checkpoints and Redis killed.
const CHAOS_SEED: u64 = 4;

#[derive(Args)]
pub(crate) struct CiArgs {
    /// Run only these steps (see their names in the output); repeatable
    #[arg(long, value_name = "STEP")]
    only: Vec<String>,
}

/// A step: its name, and what it does. `Ok(Some(reason))` means skipped.
type Step = (&'static str, fn(&Ci) -> anyhow::Result<Option<String>>);

const STEPS: [Step; 10] = [
    ("format", format),
    ("smartmodules", smartmodules),
    ("build", build),
    ("readme", readme),
    ("test", test),
    ("fuzz", fuzz),
    ("chaos", chaos),
    ("lint", lint),
    ("compose", compose),
    ("smartmodules-lint", smartmodules_lint),
];

struct Ci {
    root: PathBuf,
    /// Nothing may be skipped.
    strict: bool,
}

pub(crate) fn run(args: &CiArgs) -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("no workspace")?
        .to_owned();
    let ci = Ci {
        root,
        strict: std::env::var("CI").is_ok_and(|ci| ci == "true"),
    };
    for name in &args.only {
        ensure!(
            STEPS.iter().any(|(step, _)| step == name),
            "no step `{name}`"
        );
    }
    let mut skipped = Vec::new();
    for (name, step) in STEPS {
        if !args.only.is_empty() && !args.only.iter().any(|only| only == name) {
            continue;
        }
        println!("== {name}");
        let started = Instant::now();
        if let Some(reason) = step(&ci).with_context(|| format!("step `{name}` failed"))? {
            ensure!(
                !ci.strict,
                "step `{name}` was skipped, and CI may skip nothing: {reason}"
            );
            println!("   skipped: {reason}");
            skipped.push(name);
        }
        println!("   {name}: {:.0} s", started.elapsed().as_secs_f64());
    }
    println!(
        "ci: all green{}",
        if skipped.is_empty() {
            String::new()
        } else {
            format!(", skipped {}", skipped.join(", "))
        }
    );
    Ok(())
}

impl Ci {
    fn cargo(&self, args: &[&str]) -> Command {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args(args).current_dir(&self.root);
        // What `cargo run` sets for us is not meant for the next cargo.
        for (name, _) in std::env::vars_os() {
            if name
                .to_str()
                .is_some_and(|name| name.starts_with("CARGO_PKG") || name == "CARGO_MANIFEST_DIR")
            {
                command.env_remove(name);
            }
        }
        command
    }
}

fn succeed(command: &mut Command) -> anyhow::Result<()> {
    let status: ExitStatus = command
        .status()
        .with_context(|| format!("cannot start {command:?}"))?;
    ensure!(status.success(), "{command:?}: {status}");
    Ok(())
}

fn has(program: &str, args: &[&str]) -> bool {
    Command::new(program)
        .args(args)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn format(ci: &Ci) -> anyhow::Result<Option<String>> {
    if !has("cargo", &["fmt", "--version"]) {
        return Ok(Some("no rustfmt: rustup component add rustfmt".to_owned()));
    }
    succeed(&mut ci.cargo(&["fmt", "--all", "--check"]))?;
    succeed(
        ci.cargo(&["fmt", "--all", "--check"])
            .current_dir(ci.root.join("smartmodules")),
    )?;
    succeed(
        ci.cargo(&["fmt", "--all", "--check"])
            .current_dir(ci.root.join("fuzz")),
    )?;
    Ok(None)
}

/// A short search of each fuzz target, from the committed corpora.
fn fuzz(ci: &Ci) -> anyhow::Result<Option<String>> {
    let mut yardsticks = ci.cargo(&["test", "-p", "yardsticks", "--target-dir", "../target/fuzz"]);
    succeed(yardsticks.current_dir(ci.root.join("fuzz")))?;
    crate::fuzz::short(&ci.root, FUZZ_SECONDS)
}

fn lint(ci: &Ci) -> anyhow::Result<Option<String>> {
    if !has("cargo", &["clippy", "--version"]) {
        return Ok(Some("no clippy: rustup component add clippy".to_owned()));
    }
    succeed(&mut ci.cargo(&[
        "clippy",
        "--release",
        "--locked",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]))?;
    Ok(None)
}

fn smartmodules(ci: &Ci) -> anyhow::Result<Option<String>> {
    succeed(
        ci.cargo(&["test", "--locked", "--workspace"])
            .current_dir(ci.root.join("smartmodules")),
    )?;
    Ok(None)
}

fn smartmodules_lint(ci: &Ci) -> anyhow::Result<Option<String>> {
    if !has("cargo", &["clippy", "--version"]) {
        return Ok(Some("no clippy: rustup component add clippy".to_owned()));
    }
    let mut clippy = ci.cargo(&[
        "clippy",
        "--locked",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]);
    succeed(clippy.current_dir(ci.root.join("smartmodules")))?;
    Ok(None)
}

fn build(ci: &Ci) -> anyhow::Result<Option<String>> {
    succeed(&mut ci.cargo(&["build", "--release", "--locked"]))?;
    Ok(None)
}

/// The tests of the whole workspace, against a cluster of their own where one can be had.
fn test(ci: &Ci) -> anyhow::Result<Option<String>> {
    let mut tests = ci.cargo(&["test", "--release", "--locked", "--workspace"]);
    let dir = ci.root.join("target/cluster/ci");
    let cluster = match std::env::var_os("GRISTMILL_TEST_KAFKA") {
        Some(_) => None,
        None => match Cluster::up(
            &dir,
            &Options {
                brokers: 3,
                no_redis: false,
            },
        ) {
            Ok(cluster) => Some(cluster),
            Err(error) if !ci.strict => {
                println!("   no cluster, so its tests say that they are skipped: {error:#}");
                None
            }
            Err(error) => return Err(error),
        },
    };
    let exports = cluster.as_ref().map(Cluster::env).unwrap_or_default();
    for line in exports.lines() {
        if let Some((name, value)) = line.trim_start_matches("export ").split_once('=') {
            tests.env(name, value);
        }
    }
    if ci.strict {
        tests.env("GRISTMILL_TEST_REQUIRE", "1");
    }
    let result = succeed(&mut tests);
    if cluster.is_some() {
        Cluster::down(&dir)?;
    }
    result.map(|()| None)
}

/// One short run of the fault harness, the same each time; longer ones are for whoever changes what
/// it proves.
fn chaos(ci: &Ci) -> anyhow::Result<Option<String>> {
    if !ci.strict
        && let Some(missing) = ["java", "mvn", "redis-server"]
            .into_iter()
            .find(|program| !has(program, &["--version"]))
    {
        return Ok(Some(format!("no {missing}, which a cluster needs")));
    }
    chaos::run(&ChaosArgs {
        seed: Some(CHAOS_SEED),
        events: 20_000,
        faults: 6,
        ..ChaosArgs::default()
    })?;
    Ok(None)
}

/// The README's first command, word for word; its second one is what runs this.
fn readme(ci: &Ci) -> anyhow::Result<Option<String>> {
    let readme = std::fs::read_to_string(ci.root.join("README.md"))?;
    let commands: Vec<&str> = readme
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with("cargo "))
        .collect();
    let demo = commands
        .iter()
        .find(|command| command.ends_with("-- demo"))
        .context("the README has no `cargo … -- demo` line")?;
    ensure!(
        commands.contains(&"cargo xtask ci"),
        "the README has no `cargo xtask ci` line"
    );

    let mut command = Command::new("setsid");
    command
        .args(["sh", "-c", &format!("exec {demo}")])
        .current_dir(&ci.root);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start the demo")?;
    let pid = i32::try_from(child.id())?;
    let stderr = child.stderr.take().context("the demo has no stderr")?;
    // Ctrl-C only once it runs: a new machine builds the SmartModule first, which takes a while.
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            println!("{line}");
            if line.contains(DEMO_RUNS) {
                std::thread::spawn(move || {
                    #[allow(clippy::disallowed_methods, reason = "a thread of its own")]
                    std::thread::sleep(DEMO_FOR);
                    // SAFETY: signals the process group that setsid made for the demo, nobody
                    // else's.
                    #[allow(unsafe_code)]
                    unsafe {
                        libc::kill(-pid, libc::SIGINT)
                    };
                });
            }
        }
    });
    let output = child.wait_with_output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{text}");
    ensure!(
        output.status.code() == Some(130),
        "the demo ended with {}, not 130",
        output.status
    );
    ensure!(
        text.contains("edit") && text.contains("total"),
        "the demo printed no counts"
    );
    Ok(None)
}

/// The compose file against the compose specification, by docker where there is one, else by the
/// library that docker compose itself loads files with.
fn compose(ci: &Ci) -> anyhow::Result<Option<String>> {
    if has("docker", &["compose", "version"]) {
        let mut docker = Command::new("docker");
        docker
            .args(["compose", "--profile", "*", "config", "-q"])
            .current_dir(&ci.root);
        return succeed(&mut docker).map(|()| None);
    }
    if !has("go", &["version"]) {
        return Ok(Some(
            "neither docker compose nor go to check compose.yaml with".to_owned(),
        ));
    }
    let mut go = Command::new("go");
    go.args([
        "run",
        "github.com/compose-spec/compose-go/v2/cmd@v2.4.7",
        "compose.yaml",
    ]);
    let output = go.current_dir(&ci.root).output()?;
    if !output.status.success() {
        bail!(
            "compose.yaml: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(None)
}
