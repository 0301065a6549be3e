//! `gristmill smartmodule`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum, ValueHint};

use super::values::{at_least_one, batch_size, duration, whole};

#[derive(Debug, Subcommand)]
pub(crate) enum SmartModuleVerb {
    /// Make a new SmartModule: a crate that builds and tests at once.
    ///
    /// It is made in `smartmodules/` here or in a folder above, where `uses: NAME` finds it, or in
    /// a new one here.
    #[command(
        after_help = "Examples:\n  gristmill smartmodule new only-bots --kind filter\n  \
                            gristmill smartmodule test only-bots --text 'a bot' -e text=bot"
    )]
    New(SmartModuleNewArgs),
    /// Build a SmartModule to WASM and print where it is.
    #[command(
        after_help = "Examples:\n  gristmill smartmodule build extract-type\n  \
                            gristmill smartmodule build ./my-module --output my-module.wasm"
    )]
    Build {
        /// Its name, such as `extract-type`, or its crate's folder [default: the crate here].
        module: Option<String>,
        /// Copy the module here.
        #[arg(short, long, value_hint = ValueHint::FilePath)]
        output: Option<PathBuf>,
    },
    /// Run a SmartModule's real WASM on input and print what comes out; exit 1 on any error.
    #[command(
        after_help = "Examples:\n  gristmill smartmodule test extract-type --text '{\"type\":\"edit\"}'\n  \
                            gristmill smartmodule test extract-type --file events.ndjson -e field=/meta/domain --json"
    )]
    Test(SmartModuleTestArgs),
    /// Measure a SmartModule: records a second and microseconds a record in the real WASM.
    #[command(
        after_help = "Examples:\n  gristmill smartmodule bench extract-type\n  \
                            gristmill smartmodule bench extract-type --file events.ndjson --batch 64 --json"
    )]
    Bench(SmartModuleBenchArgs),
}

/// What a SmartModule does with records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ModuleKind {
    /// Keeps a record or drops it.
    Filter,
    /// Makes one record of each.
    Map,
    /// Makes one record of each, or none.
    FilterMap,
    /// Makes any number of records of each.
    ArrayMap,
    /// Makes the running accumulator of each.
    Aggregate,
}

#[derive(Debug, Args)]
pub(crate) struct SmartModuleNewArgs {
    /// What it is called: letters, digits and `-`.
    pub(crate) name: String,
    /// What it does with records.
    #[arg(long, value_enum, default_value_t = ModuleKind::FilterMap)]
    pub(crate) kind: ModuleKind,
    /// The folder that the crate's folder is made in.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) dir: Option<PathBuf>,
    /// The guest SDK's folder, `crates/smartmodule` of a Gristmill clone [default: that of the
    /// clone that the new crate is in, else of the one that this binary was built from].
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) sdk: Option<PathBuf>,
}

/// Which SmartModule, and how it is called.
#[derive(Debug, Args)]
pub(crate) struct ModuleArgs {
    /// Its name, its crate's folder or a .wasm file [default: the crate here].
    pub(crate) module: Option<String>,
    /// A parameter of the module, as `with` in a pipeline; repeatable.
    #[arg(short = 'e', long = "param", value_name = "NAME=VALUE")]
    pub(crate) params: Vec<String>,
    /// The key of every record.
    #[arg(long)]
    pub(crate) key: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct SmartModuleBenchArgs {
    #[command(flatten)]
    pub(crate) module: ModuleArgs,
    /// A file, one record a line [default: generated recentchange events].
    #[arg(long, value_hint = ValueHint::FilePath, conflicts_with_all = ["generate", "seed"])]
    pub(crate) file: Option<PathBuf>,
    /// Generate N recentchange events to measure with [default: 20000].
    #[arg(long, value_name = "N", value_parser = at_least_one, allow_negative_numbers = true)]
    pub(crate) generate: Option<u64>,
    /// Which events are generated; the same seed makes the same ones.
    #[arg(long, default_value_t = 1, value_parser = whole, allow_negative_numbers = true)]
    pub(crate) seed: u64,
    /// Records that go through the module at once.
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = batch_size, allow_negative_numbers = true)]
    pub(crate) batch: usize,
    /// Measure for this long; the input is used again from its start.
    #[arg(long = "for", value_name = "DURATION", default_value = "3s", value_parser = duration)]
    pub(crate) run_for: Duration,
    /// Print one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("input").required(true).args(["text", "file", "stdin"])))]
pub(crate) struct SmartModuleTestArgs {
    #[command(flatten)]
    pub(crate) module: ModuleArgs,
    /// One record's value.
    #[arg(long)]
    pub(crate) text: Option<String>,
    /// A file, one record a line.
    #[arg(long, value_hint = ValueHint::FilePath)]
    pub(crate) file: Option<PathBuf>,
    /// Standard input, one record a line.
    #[arg(long)]
    pub(crate) stdin: bool,
    /// Print JSON, one object a line.
    #[arg(long)]
    pub(crate) json: bool,
}
