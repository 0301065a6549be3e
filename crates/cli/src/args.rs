//! The command line: verbs, options and their help.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};

mod deploy;
mod export;
mod look;
mod replay;
mod run;
mod smartmodule;
mod values;

pub(crate) use deploy::{
    ApplyArgs, DeployLogArgs, DeployShutdownArgs, DeployStartArgs, DeployVerb, PlanArgs, StageArgs,
    SuperviseArgs,
};
pub(crate) use export::{ArroyoPart, ExportArroyoArgs, ExportVerb};
pub(crate) use look::{CountsArgs, DeadLetterArgs, DeadLetterVerb, StatusArgs, TapArgs, TopArgs};
pub(crate) use replay::{AtEnd, ReplayArgs};
pub(crate) use run::{DemoArgs, DoctorArgs, UpArgs, ValidateArgs};
pub(crate) use smartmodule::{
    ModuleArgs, ModuleKind, SmartModuleBenchArgs, SmartModuleNewArgs, SmartModuleTestArgs,
    SmartModuleVerb,
};
use values::duration;

/// Streams into Kafka topics, through sandboxed SmartModules, into exact counts.
#[derive(Debug, Parser)]
#[command(
    name = "gristmill",
    version,
    propagate_version = true,
    arg_required_else_help = true,
    after_help = "Exit codes: 0 done, 1 ran and failed, 2 wrong usage or invalid file, 130 interrupted.\n\
                  Start here: `gristmill demo`"
)]
pub(crate) struct Cli {
    /// Log more on standard error (-v: what happens, -vv: everything).
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub(crate) verbose: u8,
    /// How log lines look.
    #[arg(long, value_enum, default_value_t = LogFormat::Text, global = true, env = "GRISTMILL_LOG_FORMAT")]
    pub(crate) log_format: LogFormat,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// The main job with nothing installed: generated events, embedded topics, embedded counts.
    #[command(
        after_help = "Examples:\n  gristmill demo\n  gristmill demo --events 20000 --json\n  \
                            gristmill demo --for 10s --dir /tmp/demo && gristmill tap wikipedia-edits --local=/tmp/demo --count 3"
    )]
    Demo(DemoArgs),
    /// Run every stage of a pipeline in the foreground; Ctrl-C drains, commits and prints the counts.
    #[command(
        after_help = "Examples:\n  gristmill up\n  gristmill up --local --until-idle 5s\n  \
                            gristmill up --local --watch\n  \
                            gristmill up --listen   # the page: http://127.0.0.1:9464/\n  \
                            gristmill up --set kafka.brokers=127.0.0.1:9092 --set connectors.type-counts.redis.count='wiki:{value}'"
    )]
    Up(UpArgs),
    /// Check a pipeline file: every error at once, with line, column and remedy.
    #[command(after_help = "Example:\n  gristmill validate -f pipeline.yaml")]
    Validate(ValidateArgs),
    /// Check what a valid file needs to run; each failure with its remedy.
    ///
    /// Brokers, topics, transactions, Redis, streams, SmartModules. Exit code 1 if anything failed.
    #[command(
        after_help = "Examples:\n  gristmill doctor\n  gristmill doctor --json | jq '.findings[] | select(.verdict != \"ok\")'"
    )]
    Doctor(DoctorArgs),
    /// Run pipelines in the background, supervised.
    #[command(subcommand)]
    Deploy(DeployVerb),
    /// Show what an edited file would change of what is deployed; changes nothing.
    ///
    /// `--set` and `--secrets` are those of `deploy start`, unless they are given anew.
    #[command(
        after_help = "Examples:\n  gristmill plan\n  gristmill plan -o change.json && gristmill apply change.json\n  \
                            gristmill plan --json | jq -r '.changes[] | .stage + \": \" + .action'"
    )]
    Plan(PlanArgs),
    /// Take an edited file over into what is deployed, without loss, while events flow.
    ///
    /// Other transforms are put in between two batches; any other change of a stage restarts it at
    /// its stored position; all other stages run on. What cannot be carried out changes nothing.
    #[command(
        after_help = "Examples:\n  gristmill apply\n  gristmill apply --yes\n  gristmill apply change.json"
    )]
    Apply(ApplyArgs),
    /// The running counts, in all or by window.
    #[command(
        after_help = "Examples:\n  gristmill counts\n  gristmill counts --json | jq .edit\n  \
                            gristmill counts --window -f pipelines/tumbling-window.yaml"
    )]
    Counts(CountsArgs),
    /// What running pipelines say of themselves: stages, rates, lag, latency, rejects, counts.
    ///
    /// Exit code 1 if a stage has failed, or if none runs.
    #[command(
        after_help = "Examples:\n  gristmill status\n  gristmill status wikipedia --json | jq '.stages[].rates'\n  \
                            gristmill status 9464"
    )]
    Status(StatusArgs),
    /// A running pipeline on the whole screen, live; q quits.
    #[command(
        after_help = "Examples:\n  gristmill top\n  gristmill top wikipedia\n  gristmill top 9464"
    )]
    Top(TopArgs),
    /// Serve a recording or generated events as an SSE stream, as Wikimedia does.
    #[command(
        after_help = "Examples:\n  gristmill replay --generate 100000 --rate 1000\n  \
                            gristmill replay events.ndjson --listen 127.0.0.1:8081 --cut-after 500"
    )]
    Replay(ReplayArgs),
    /// Look at an SSE stream or a topic, one line an event.
    #[command(
        after_help = "Examples:\n  gristmill tap https://stream.wikimedia.org/v2/stream/recentchange --count 3\n  \
                            gristmill tap wikipedia-edits --json --for 10s | jq -r .data"
    )]
    Tap(TapArgs),
    /// Look at the records that could not be processed, and send them again.
    #[command(subcommand)]
    DeadLetter(DeadLetterVerb),
    /// Make, build, try and measure SmartModules.
    #[command(subcommand, name = "smartmodule", visible_alias = "sm")]
    SmartModule(SmartModuleVerb),
    /// A pipeline's sinks as a job for another engine.
    #[command(subcommand)]
    Export(ExportVerb),
    /// The connectors that a pipeline can name in `meta.type`.
    #[command(subcommand)]
    Connector(ConnectorVerb),
    /// Keep a deployment's stages running: what `deploy start` starts.
    #[command(hide = true)]
    Supervise(SuperviseArgs),
    /// Run stages for a supervisor, which speaks to it through its standard streams.
    #[command(hide = true)]
    Stage(StageArgs),
    /// Print the JSON Schema of pipeline.yaml, for completion in editors.
    #[command(after_help = "Example:\n  gristmill schema > pipeline.schema.json\n  \
                            and as first line of pipeline.yaml: # yaml-language-server: $schema=pipeline.schema.json")]
    Schema,
    /// Print a completion script for your shell.
    #[command(after_help = "Example:\n  source <(gristmill completions bash)")]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// Which file, and what to change in it for this run.
#[derive(Debug, Clone, Args)]
pub(crate) struct FileArgs {
    /// The pipeline, or a single connector config.
    #[arg(short, long, default_value = "pipeline.yaml", value_hint = ValueHint::FilePath, env = "GRISTMILL_FILE")]
    pub(crate) file: PathBuf,
    /// Change a value for this run, such as `connectors.type-counts.redis.count=t:{value}` or
    /// `kafka.brokers=127.0.0.1:9092`; repeatable.
    #[arg(long = "set", value_name = "PATH=VALUE")]
    pub(crate) set: Vec<String>,
    /// Where `${{ secrets.NAME }}` is looked up before the environment: a file of NAME=VALUE lines,
    /// or a directory with a file for each.
    #[arg(short, long, value_name = "PATH", value_hint = ValueHint::AnyPath, env = "GRISTMILL_SECRETS")]
    pub(crate) secrets: Option<PathBuf>,
}

/// Embedded topics and counts instead of a cluster.
#[derive(Debug, Clone, Args)]
pub(crate) struct LocalArgs {
    /// Embedded topics and counts, kept in DIR (default: .gristmill beside the pipeline file).
    #[arg(long, value_name = "DIR", num_args = 0..=1, require_equals = true, value_hint = ValueHint::DirPath)]
    #[allow(
        clippy::option_option,
        reason = "absent, without and with a directory are three things"
    )]
    pub(crate) local: Option<Option<PathBuf>>,
}

/// What a running pipeline tells over HTTP.
#[derive(Debug, Clone, Args)]
pub(crate) struct WatchArgs {
    /// Serve the web page, /metrics (Prometheus), /healthz and /readyz here; a port alone means
    /// loopback, port 0 takes a free one and says which, no ADDR means 127.0.0.1:9464 [default:
    /// `metrics.listen` of the file, else nowhere; of a demo 9464 or a free port].
    #[arg(long, value_name = "ADDR", num_args = 0..=1, default_missing_value = "9464", value_parser = gristmill_manifest::listen_addr)]
    pub(crate) listen: Option<SocketAddr>,
}

/// When a run ends by itself, and what it prints then.
#[derive(Debug, Clone, Args)]
pub(crate) struct EndArgs {
    /// End after this long, such as 10s or 5m.
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    pub(crate) run_for: Option<Duration>,
    /// How long the sinks may take to catch up once the run ends.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    pub(crate) drain: Duration,
    /// Print the final report as one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConnectorVerb {
    /// List them.
    List,
    /// Describe one: what it does and every key of its section.
    Describe {
        /// Its type, such as `sse-source`.
        name: String,
    },
}
