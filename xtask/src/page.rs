//! `cargo xtask page`: the web page in a real headless browser, served by the real binary.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::ci::{has, succeed};

/// `cargo xtask page …`
#[derive(Debug, clap::Args)]
pub(crate) struct PageArgs {
    /// Also write a picture of the page here, for the docs
    #[arg(long, value_name = "FILE")]
    screenshot: Option<std::path::PathBuf>,
}

/// What this needs beside Rust.
const NEEDED: [&str; 3] = ["node", "npm", "chromium"];

/// The first thing that is missing here.
pub(crate) fn missing() -> Option<&'static str> {
    let absent = |program: &&str| !has(program, &["--version"]);
    NEEDED.into_iter().find(absent)
}

pub(crate) fn run(args: &PageArgs) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("no workspace")?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "--release", "--locked"]);
    succeed(build.current_dir(root))?;
    check(root, args.screenshot.as_deref())
}

/// Check the page of the binary that is built already.
pub(crate) fn check(root: &Path, screenshot: Option<&Path>) -> Result<()> {
    if let Some(missing) = missing() {
        anyhow::bail!("no {missing}: apt-get install chromium nodejs npm");
    }
    let dir = root.join("tests/page");
    let mut install = Command::new("npm");
    install.args(["ci", "--no-audit", "--no-fund", "--loglevel=error"]);
    succeed(install.current_dir(&dir))?;
    let mut check = Command::new("node");
    check.arg("check.mjs").current_dir(&dir);
    if let Some(file) = screenshot {
        check.env("SCREENSHOT", std::path::absolute(file)?);
    }
    succeed(&mut check)
}
