//! Verbs that run a pipeline here, or say whether it could run.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueHint};

use super::values::{at_least_one, duration, rate, whole};
use super::{EndArgs, FileArgs, LocalArgs, WatchArgs};

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// End once N events went all the way.
    #[arg(long, value_name = "N", value_parser = at_least_one, allow_negative_numbers = true)]
    pub(crate) events: Option<u64>,
    /// Events a second; 0 means as fast as they are taken [default: 500; with --events, as fast as
    /// they are taken].
    #[arg(long, value_name = "N", value_parser = rate, allow_negative_numbers = true)]
    pub(crate) rate: Option<f64>,
    /// Which events are made; the same seed makes the same ones.
    #[arg(long, default_value_t = 1, value_parser = whole, allow_negative_numbers = true)]
    pub(crate) seed: u64,
    /// Keep topics and counts in DIR (default: a temporary directory).
    #[arg(long, value_hint = ValueHint::DirPath)]
    pub(crate) dir: Option<PathBuf>,
    /// Run this pipeline instead of the shipped one.
    #[arg(short, long, value_hint = ValueHint::FilePath)]
    pub(crate) file: Option<PathBuf>,
    /// Change a value for this run; see `gristmill up --help`.
    #[arg(long = "set", value_name = "PATH=VALUE")]
    pub(crate) set: Vec<String>,
    #[command(flatten)]
    pub(crate) watch: WatchArgs,
    #[command(flatten)]
    pub(crate) end: EndArgs,
}

#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    #[command(flatten)]
    pub(crate) file: FileArgs,
    #[command(flatten)]
    pub(crate) local: LocalArgs,
    /// Run only these stages (`meta.name`); repeatable.
    #[arg(long, value_name = "NAME")]
    pub(crate) only: Vec<String>,
    /// End once nothing has moved for this long and nothing is left to do.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) until_idle: Option<Duration>,
    /// Take over changes of the file and of SmartModules while running, between two batches; what
    /// is not valid is told and changes nothing.
    #[arg(long = "watch")]
    pub(crate) reload: bool,
    #[command(flatten)]
    pub(crate) watch: WatchArgs,
    #[command(flatten)]
    pub(crate) end: EndArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ValidateArgs {
    #[command(flatten)]
    pub(crate) file: FileArgs,
    /// Print errors and warnings as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    pub(crate) file: FileArgs,
    #[command(flatten)]
    pub(crate) local: LocalArgs,
    #[command(flatten)]
    pub(crate) watch: WatchArgs,
    /// Print one line of JSON: whether all is well, and every finding.
    #[arg(long)]
    pub(crate) json: bool,
}
