//! `cargo xtask bench`: builds what is measured, starts a cluster for it, and hands over to
//! `benches/`, which has floors, peers and their dependencies; this binary stays quick to build.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::cluster::{Cluster, Options};

/// `cargo xtask bench …`
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct BenchArgs {
    /// Leave the cluster running, for the next run: its topics are filled already
    #[arg(long)]
    keep: bool,
    /// What to measure and how much of it; see `cargo xtask bench --help`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

pub(crate) fn run(args: &BenchArgs) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("no workspace")?;
    // Together, so that what both need is built once, with the same features.
    let packages = ["--package", "gristmill", "--package", "gristmill-bench"];
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--quiet", "--release", "--locked"])
        .args(packages)
        .current_dir(root)
        .status()?;
    ensure!(status.success(), "the build failed");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or(root.join("target"), PathBuf::from);
    let binary = |name: &str| target.join("release").join(name);

    let mut bench = Command::new(binary("gristmill-bench"));
    bench.args(&args.args).current_dir(root);
    bench.env("GRISTMILL_BIN", binary("gristmill"));
    bench.env("GRISTMILL_PEERS", target.join("peers"));
    let asks = args.args.iter().any(|arg| arg == "--help" || arg == "-h");
    let dir = target.join("cluster/bench");
    if !asks {
        let options = Options {
            brokers: 3,
            no_redis: false,
            secure: false,
        };
        let cluster = Cluster::up(&dir, &options)?;
        for line in cluster.env().lines() {
            if let Some((name, value)) = line.trim_start_matches("export ").split_once('=') {
                bench.env(name, value);
            }
        }
    }
    let status = bench.status();
    if !asks && !args.keep {
        Cluster::down(&dir)?;
    }
    ensure!(status?.success(), "the benchmark failed");
    Ok(())
}
