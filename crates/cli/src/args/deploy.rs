//! Verbs about what runs in the background: `deploy`, `plan`, `apply`, and what they start.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueHint};

use super::values::duration;
use super::{FileArgs, LocalArgs, WatchArgs};

#[derive(Debug, Subcommand)]
pub(crate) enum DeployVerb {
    /// Start a pipeline, or a single connector config, in the background.
    ///
    /// A supervisor runs each stage as a process of its own (with --local all of them as one) and
    /// starts it again when it fails. The file and its modules are kept as they are now: edits take
    /// effect with `gristmill apply`.
    #[command(
        after_help = "Examples:\n  gristmill deploy start\n  gristmill deploy start --local\n  \
                            gristmill deploy start --only type-counts --secrets secrets.env\n  \
                            gristmill deploy start -f sample-config.yaml --set kafka.brokers=127.0.0.1:9092"
    )]
    Start(DeployStartArgs),
    /// List what is deployed: stages, processes, what they do.
    #[command(after_help = "Examples:\n  gristmill deploy list\n  \
                            gristmill deploy list --json | jq -r '.[].stages[] | select(.given_up) | .name'")]
    List {
        /// Print JSON, one array.
        #[arg(long)]
        json: bool,
    },
    /// Print the log of a pipeline or a stage, also of one that no longer runs.
    #[command(
        alias = "logs",
        after_help = "Examples:\n  gristmill deploy log wikipedia -f\n  \
                            gristmill deploy log type-counts --since 10m"
    )]
    Log(DeployLogArgs),
    /// Stop a pipeline or a stage: sources first, sinks once they have caught up.
    ///
    /// Its data and its position stay; started again, it goes on where it stopped.
    #[command(
        alias = "stop",
        after_help = "Examples:\n  gristmill deploy shutdown wikipedia\n  \
                            gristmill deploy shutdown type-counts\n  gristmill deploy shutdown --all"
    )]
    Shutdown(DeployShutdownArgs),
    /// Start the processes of a pipeline or a stage anew, at their stored positions.
    ///
    /// Also those that were given up. Secrets are looked up anew.
    #[command(
        after_help = "Examples:\n  gristmill deploy restart wikipedia\n  gristmill deploy restart type-counts"
    )]
    Restart {
        /// A pipeline, a stage, or PIPELINE/STAGE.
        name: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct DeployStartArgs {
    #[command(flatten)]
    pub(crate) file: FileArgs,
    #[command(flatten)]
    pub(crate) local: LocalArgs,
    /// Deploy only these stages (`meta.name`), or these too; repeatable.
    #[arg(long, value_name = "NAME")]
    pub(crate) only: Vec<String>,
    #[command(flatten)]
    pub(crate) watch: WatchArgs,
    /// Be the supervisor, in the foreground: for systemd and containers.
    #[arg(long)]
    pub(crate) foreground: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DeployLogArgs {
    /// A pipeline, a stage, or PIPELINE/STAGE.
    pub(crate) name: String,
    /// Go on as lines come, until Ctrl-C.
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only what is newer than this, such as 10m.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) since: Option<Duration>,
}

#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("which").required(true).args(["name", "all"])))]
pub(crate) struct DeployShutdownArgs {
    /// A pipeline, a stage, or PIPELINE/STAGE.
    pub(crate) name: Option<String>,
    /// Everything that is deployed.
    #[arg(long)]
    pub(crate) all: bool,
    /// How long the sinks may take to catch up.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    pub(crate) drain: Duration,
    /// End a supervisor that does not answer, and its stages with it; nothing is lost.
    #[arg(long)]
    pub(crate) kill: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    pub(crate) file: FileArgs,
    /// Write the plan here, for `gristmill apply FILE`.
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) output: Option<PathBuf>,
    /// Print one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ApplyArgs {
    /// A plan that `gristmill plan -o` wrote: exactly that is done, or nothing.
    #[arg(value_name = "PLAN", value_hint = ValueHint::FilePath, conflicts_with_all = ["file", "set", "secrets"])]
    pub(crate) plan: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) file: FileArgs,
    /// Do not ask.
    #[arg(short, long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SuperviseArgs {
    /// The deployment's directory.
    #[arg(long)]
    pub(crate) dir: PathBuf,
    /// Where the first revision is.
    #[arg(long)]
    pub(crate) staged: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct StageArgs {
    /// The deployment's directory.
    #[arg(long)]
    pub(crate) dir: PathBuf,
    /// Where the revision is.
    #[arg(long)]
    pub(crate) revision: PathBuf,
    /// The supervisor's process, our parent.
    #[arg(long)]
    pub(crate) supervisor: u32,
    /// The stages to run, of a revision whose stages have processes of their own.
    #[arg(long)]
    pub(crate) only: Vec<String>,
}
