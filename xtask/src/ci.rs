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

const STEPS: [Step; 14] = [
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
    ("page", page),
    ("kubernetes", kubernetes),
    ("udfs", udfs),
    ("tls", tls),
];

/// Steps that run only if they are named: Fluvio's engine alone takes ten minutes to build, and its client
/// has features of common crates changed, so that a pipeline with it is built anew.
const EXTRA: [Step; 2] = [("fluvio", fluvio), ("fluvio-topics", fluvio_topics)];

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
    let all = || STEPS.iter().chain(&EXTRA);
    for name in &args.only {
        ensure!(all().any(|(step, _)| step == name), "no step `{name}`");
    }
    let asked = |name: &str| args.only.iter().any(|only| only == name);
    let mut skipped = Vec::new();
    let extra = EXTRA.iter().filter(|(name, _)| asked(name));
    let steps = STEPS
        .iter()
        .filter(|(name, _)| args.only.is_empty() || asked(name));
    for &(name, step) in steps.chain(extra) {
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

pub(crate) fn succeed(command: &mut Command) -> anyhow::Result<()> {
    let status: ExitStatus = command
        .status()
        .with_context(|| format!("cannot start {command:?}"))?;
    ensure!(status.success(), "{command:?}: {status}");
    Ok(())
}

pub(crate) fn has(program: &str, args: &[&str]) -> bool {
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

/// The UDFs on their table of cases, as shared libraries too. Arrow is what takes its time.
fn udfs(ci: &Ci) -> anyhow::Result<Option<String>> {
    let udfs = ci.root.join("udfs");
    let target = ["--locked", "--workspace", "--target-dir", "../target/udfs"];
    succeed(ci.cargo(&["fmt", "--all", "--check"]).current_dir(&udfs))?;
    succeed(ci.cargo(&["test"]).args(target).current_dir(&udfs))?;
    if has("cargo", &["clippy", "--version"]) {
        let mut clippy = ci.cargo(&["clippy", "--all-targets"]);
        clippy.args(target).args(["--", "-D", "warnings"]);
        succeed(clippy.current_dir(&udfs))?;
    }
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
    let mut tests = workspace_tests(ci);
    let dir = ci.root.join("target/cluster/ci");
    let cluster = match std::env::var_os("GRISTMILL_TEST_KAFKA") {
        Some(_) => None,
        None => match Cluster::up(
            &dir,
            &Options {
                brokers: 3,
                no_redis: false,
                secure: false,
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
    if let Some(cluster) = &cluster {
        exported(cluster, &mut tests);
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

/// What needs a build with OpenSSL and a broker that asks who is there: TLS, logins, certificates,
/// and that no secret shows. The other test steps have the default build. After the steps that run
/// the binary, which this one leaves with TLS.
fn tls(ci: &Ci) -> anyhow::Result<Option<String>> {
    if !has("pkg-config", &["--exists", "openssl"]) {
        return Ok(Some(
            "no OpenSSL to build with: apt-get install libssl-dev pkg-config".to_owned(),
        ));
    }
    if !has("openssl", &["version"]) {
        return Ok(Some("no openssl: apt-get install openssl".to_owned()));
    }
    let dir = ci.root.join("target/cluster/ci-tls");
    let options = Options {
        brokers: 1,
        no_redis: true,
        secure: true,
    };
    let cluster = match Cluster::up(&dir, &options) {
        Ok(cluster) => cluster,
        Err(error) if !ci.strict => return Ok(Some(format!("no cluster: {error:#}"))),
        Err(error) => return Err(error),
    };
    let mut tests = workspace_tests(ci);
    tests.args([
        "--features",
        "gristmill/kafka-tls",
        "--lib",
        "--test",
        "secure",
    ]);
    exported(&cluster, &mut tests);
    if ci.strict {
        tests.env("GRISTMILL_TEST_REQUIRE", "1");
    }
    let result = succeed(&mut tests);
    Cluster::down(&dir)?;
    result.map(|()| None)
}

/// The tests of the whole workspace; one run tells everything that fails.
fn workspace_tests(ci: &Ci) -> Command {
    ci.cargo(&[
        "test",
        "--release",
        "--locked",
        "--workspace",
        "--no-fail-fast",
    ])
}

/// Point tests at `cluster`.
fn exported(cluster: &Cluster, tests: &mut Command) {
    for line in cluster.env().lines() {
        if let Some((name, value)) = line.trim_start_matches("export ").split_once('=') {
            tests.env(name, value);
        }
    }
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

/// The web page in a real browser, served by the binary that `build` made.
fn page(ci: &Ci) -> anyhow::Result<Option<String>> {
    if !ci.strict
        && let Some(missing) = crate::page::missing()
    {
        return Ok(Some(format!("no {missing} to look at the web page with")));
    }
    crate::page::check(&ci.root, None).map(|()| None)
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

/// The manifests against the OpenAPI schemas of Kubernetes, which the Python package brings along.
fn kubernetes(ci: &Ci) -> anyhow::Result<Option<String>> {
    const PACKAGE: &str = "kubernetes-validate==1.37.0";
    if !has("python3", &["-m", "pip", "--version"]) {
        return Ok(Some(
            "no pip to fetch the schemas with: apt-get install python3-pip".to_owned(),
        ));
    }
    let target = ci.root.join("target/kubernetes-validate");
    let mut pip = Command::new("python3");
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ]);
    succeed(pip.args(["--upgrade", PACKAGE, "--target"]).arg(&target))?;
    let mut validate = Command::new("python3");
    validate.args(["-m", "kubernetes_validate", "--strict", "--quiet"]);
    let files = [
        "account",
        "autoscaling",
        "namespace",
        "network",
        "recentchange",
        "type-counts",
    ];
    let dir = ci.root.join("deploy/kubernetes");
    validate.args(files.map(|file| dir.join(format!("{file}.yaml"))));
    succeed(validate.env("PYTHONPATH", &target))?;
    Ok(None)
}

/// Topics on Fluvio, on a stand-in that speaks its protocol; the pipeline's test with a real Redis.
fn fluvio_topics(ci: &Ci) -> anyhow::Result<Option<String>> {
    let topics = ["-p", "gristmill-fluvio-topic", "--features", "stand-in"];
    let runner = ["-p", "gristmill-runner", "--features", "fluvio-stand-in"];
    let cli = ["-p", "gristmill", "--features", "fluvio"];
    for package in [&topics, &runner, &cli] {
        let mut lint = ci.cargo(&["clippy", "--release", "--locked", "--all-targets"]);
        succeed(lint.args(package).args(["--", "-D", "warnings"]))?;
    }
    for (package, tests) in [(&topics, &[][..]), (&runner, &["--test", "fluvio"])] {
        let mut test = ci.cargo(&["test", "--release", "--locked"]);
        test.args(package).args(tests);
        if ci.strict {
            test.env("GRISTMILL_TEST_REQUIRE", "1");
        }
        succeed(&mut test)?;
    }
    Ok(None)
}

/// Our SmartModules on Fluvio's own engine.
fn fluvio(ci: &Ci) -> anyhow::Result<Option<String>> {
    let wasm = ci.root.join("target/fluvio/wasm");
    std::fs::create_dir_all(&wasm)?;
    for entry in std::fs::read_dir(ci.root.join("smartmodules"))? {
        let entry = entry?;
        if !entry.path().join("SmartModule.toml").exists() {
            continue;
        }
        let name = entry.file_name().to_string_lossy().into_owned();
        let mut build = ci.cargo(&["run", "--release", "--locked", "--", "smartmodule", "build"]);
        build.arg(&name).arg("--output");
        succeed(build.arg(wasm.join(format!("{name}.wasm"))))?;
    }
    let mut test = ci.cargo(&["test", "--locked", "--target-dir", "../target/fluvio"]);
    succeed(
        test.current_dir(ci.root.join("fluvio"))
            .env("GRISTMILL_WASM", &wasm),
    )?;
    Ok(None)
}
