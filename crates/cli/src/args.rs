//! The command line: verbs, options and their help.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};

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
    #[arg(long = "for", value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(crate) run_for: Option<Duration>,
    /// How long the sinks may take to catch up once the run ends.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = humantime::parse_duration)]
    pub(crate) drain: Duration,
    /// Print the final report as one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// End once N events went all the way.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) events: Option<u64>,
    /// Events a second; 0 means as fast as they are taken [default: 500; with --events 0, as fast
    /// as they are taken].
    #[arg(long, value_name = "N")]
    pub(crate) rate: Option<f64>,
    /// Which events are made; the same seed makes the same ones.
    #[arg(long, default_value_t = 1)]
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
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
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

/// Which engine.
#[derive(Debug, Subcommand)]
pub(crate) enum ExportVerb {
    /// SQL for Arroyo; what cannot be expressed is refused with its place and the reason.
    #[command(after_help = "Examples:\n  gristmill export arroyo > query.sql\n  \
                            gristmill export arroyo --print api | ARROYO=http://127.0.0.1:5115 sh\n  \
                            gristmill export arroyo --print totals > totals.yaml && gristmill up -f totals.yaml")]
    Arroyo(ExportArroyoArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ExportArroyoArgs {
    #[command(flatten)]
    pub(crate) file: FileArgs,
    /// What to print.
    #[arg(long, value_enum, default_value_t = ArroyoPart::Sql)]
    pub(crate) print: ArroyoPart,
    /// Of which sink, where `--print totals` has several (`meta.name`).
    #[arg(long, value_name = "NAME")]
    pub(crate) sink: Option<String>,
}

/// A part of a job on Arroyo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ArroyoPart {
    /// The query: tables and inserts.
    Sql,
    /// A shell script with the call that starts the job, the UDF included.
    Api,
    /// The file for `gristmill up -f` that applies the running totals to Redis.
    Totals,
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

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// A pipeline's name, or the address or port that it serves its page on [default: all of yours
    /// that run].
    #[arg(value_name = "NAME|ADDR")]
    pub(crate) target: Option<String>,
    /// Print JSON, one line for each pipeline.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct TopArgs {
    /// A pipeline's name, or the address or port that it serves its page on [default: the one of
    /// yours that runs].
    #[arg(value_name = "NAME|ADDR")]
    pub(crate) target: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct CountsArgs {
    #[command(flatten)]
    pub(crate) file: FileArgs,
    #[command(flatten)]
    pub(crate) local: LocalArgs,
    /// The windows of sinks with `redis.window`: start, end, key, count, and whether it is final.
    #[arg(long)]
    pub(crate) window: bool,
    /// Print JSON: one line of key to count; with --window one line for each window.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What an SSE server does when its events are all served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AtEnd {
    /// Keep the connection open, as a live stream does.
    Hold,
    /// Close the connection.
    Close,
    /// Close, and answer 204 to whoever comes back to the end: the stream is over. A source with
    /// `rewind` comes back to before it: end that one by `up --until-idle`.
    NoContent,
}

#[derive(Debug, Args)]
#[command(
    group(clap::ArgGroup::new("random").multiple(true)
        .args(["generate", "cut_every", "duplicate_every", "stall_every", "refuse_every"])),
    group(clap::ArgGroup::new("cuts").multiple(true).args(["cut_after", "cut_every"])),
)]
pub(crate) struct ReplayArgs {
    /// A recording: .sse (raw stream) or .ndjson (one JSON document a line).
    #[arg(value_hint = ValueHint::FilePath, required_unless_present = "generate", conflicts_with = "generate")]
    pub(crate) path: Option<PathBuf>,
    /// Serve N generated recentchange events; 0 means without end.
    #[arg(long, value_name = "N")]
    pub(crate) generate: Option<u64>,
    /// Which events are generated, and what happens at random; the same seed makes the same.
    #[arg(long, default_value_t = 1, requires = "random")]
    pub(crate) seed: u64,
    /// Where to listen; port 0 takes a free one and says which.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8090")]
    pub(crate) listen: SocketAddr,
    /// Events a second on each connection; 0 means as fast as they are taken.
    #[arg(long, value_name = "N", default_value_t = 0.0)]
    pub(crate) rate: f64,
    /// Drop each connection after N events.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) cut_after: Option<u64>,
    /// Drop connections within the next event instead of between two.
    #[arg(long, requires = "cuts")]
    pub(crate) cut_mid_event: bool,
    /// Resume as inexactly as Wikimedia's servers do: by time stamps, out of order by up to 15 s.
    #[arg(long)]
    pub(crate) inexact: bool,
    /// Drop a connection at one in N events, at random.
    #[arg(long, value_name = "N")]
    pub(crate) cut_every: Option<u64>,
    /// Send some events again at one in N events, at random.
    #[arg(long, value_name = "N")]
    pub(crate) duplicate_every: Option<u64>,
    /// Send nothing for a while at one in N events, at random.
    #[arg(long, value_name = "N")]
    pub(crate) stall_every: Option<u64>,
    /// Answer 429 or 503 to one in N requests, at random.
    #[arg(long, value_name = "N")]
    pub(crate) refuse_every: Option<u64>,
    // `requires` alone does not do: clap waives it where a path conflicts with --generate.
    /// One in N generated events is a canary.
    #[arg(long, value_name = "N", requires = "generate", conflicts_with = "path")]
    pub(crate) canary_every: Option<u64>,
    /// One in N generated events is not JSON.
    #[arg(long, value_name = "N", requires = "generate", conflicts_with = "path")]
    pub(crate) malformed_every: Option<u64>,
    /// Put the time of sending into `meta.dt`, to measure latency.
    #[arg(long)]
    pub(crate) stamp: bool,
    /// Serve clients without a User-Agent too.
    #[arg(long)]
    pub(crate) allow_no_user_agent: bool,
    /// What happens when every event is served.
    #[arg(long, value_enum, default_value_t = AtEnd::Hold)]
    pub(crate) at_end: AtEnd,
}

#[derive(Debug, Args)]
pub(crate) struct TapArgs {
    /// An SSE URL or a topic's name.
    #[arg(value_name = "URL|TOPIC")]
    pub(crate) target: String,
    /// One JSON object a line.
    #[arg(long)]
    pub(crate) json: bool,
    /// End after N events.
    #[arg(long, value_name = "N")]
    pub(crate) count: Option<u64>,
    /// End after this long.
    #[arg(long = "for", value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(crate) run_for: Option<Duration>,
    /// Go on after this SSE id.
    #[arg(long, value_name = "ID", help_heading = "For a URL")]
    pub(crate) last_event_id: Option<String>,
    /// Start this far back (epoch milliseconds or ISO 8601); Wikimedia keeps 7 to 31 days.
    #[arg(long, value_name = "TIME", help_heading = "For a URL")]
    pub(crate) since: Option<String>,
    /// What we say we are; some servers refuse clients without a contact address.
    #[arg(long, value_name = "TEXT", help_heading = "For a URL", default_value = concat!("gristmill/", env!("CARGO_PKG_VERSION"), " (https://example.org; you@example.org)"))]
    pub(crate) user_agent: String,
    /// Start at the topic's end and follow it (default: from the beginning to the end).
    #[arg(long, help_heading = "For a topic")]
    pub(crate) follow: bool,
    #[command(flatten, next_help_heading = "For a topic")]
    pub(crate) file: FileArgs,
    #[command(flatten, next_help_heading = "For a topic")]
    pub(crate) local: LocalArgs,
}

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
    #[command(after_help = "Examples:\n  gristmill deploy log wikipedia -f\n  \
                            gristmill deploy log type-counts --since 10m")]
    Log(DeployLogArgs),
    /// Stop a pipeline or a stage: sources first, sinks once they have caught up.
    ///
    /// Its data and its position stay; started again, it goes on where it stopped.
    #[command(after_help = "Examples:\n  gristmill deploy shutdown wikipedia\n  \
                            gristmill deploy shutdown type-counts\n  gristmill deploy shutdown --all")]
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
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
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
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = humantime::parse_duration)]
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

/// Where dead letters are.
#[derive(Debug, Args)]
pub(crate) struct DeadLetterArgs {
    /// The topic whose dead letters are meant.
    pub(crate) topic: String,
    /// Print JSON, one object a line.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) file: FileArgs,
    #[command(flatten)]
    pub(crate) local: LocalArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeadLetterVerb {
    /// List a topic's dead letters: where from, which step refused them, why.
    List(DeadLetterArgs),
    /// Write a topic's dead letters into it once more (each at most once).
    Replay(DeadLetterArgs),
}

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
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) generate: Option<u64>,
    /// Which events are generated; the same seed makes the same ones.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Records that go through the module at once.
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = batch_size)]
    pub(crate) batch: usize,
    /// Measure for this long; the input is used again from its start.
    #[arg(long = "for", value_name = "DURATION", default_value = "3s", value_parser = humantime::parse_duration)]
    pub(crate) run_for: Duration,
    /// Print one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

fn batch_size(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(size @ 1..=100_000) => Ok(size),
        _ => Err("a number from 1 to 100000".to_owned()),
    }
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
