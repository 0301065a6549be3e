//! `gristmill replay`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};

use super::values::{at_least_one, rate, whole};

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
    #[arg(long, value_name = "N", value_parser = whole, allow_negative_numbers = true)]
    pub(crate) generate: Option<u64>,
    /// Which events are generated, and what happens at random; the same seed makes the same.
    #[arg(long, default_value_t = 1, requires = "random", value_parser = whole, allow_negative_numbers = true)]
    pub(crate) seed: u64,
    /// Where to listen; port 0 takes a free one and says which.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8090", value_parser = gristmill_manifest::listen_addr)]
    pub(crate) listen: SocketAddr,
    /// Events a second on each connection; 0 means as fast as they are taken.
    #[arg(long, value_name = "N", default_value_t = 0.0, value_parser = rate, allow_negative_numbers = true)]
    pub(crate) rate: f64,
    /// Drop each connection after N events.
    #[arg(long, value_name = "N", value_parser = at_least_one, allow_negative_numbers = true)]
    pub(crate) cut_after: Option<u64>,
    /// Drop connections within the next event instead of between two.
    #[arg(long, requires = "cuts")]
    pub(crate) cut_mid_event: bool,
    /// Resume as inexactly as Wikimedia's servers do: by time stamps, out of order by up to 15 s.
    #[arg(long)]
    pub(crate) inexact: bool,
    /// Drop a connection at one in N events, at random.
    #[arg(long, value_name = "N", value_parser = at_least_one, allow_negative_numbers = true)]
    pub(crate) cut_every: Option<u64>,
    /// Send some events again at one in N events, at random.
    #[arg(long, value_name = "N", value_parser = at_least_one, allow_negative_numbers = true)]
    pub(crate) duplicate_every: Option<u64>,
    /// Send nothing for a while at one in N events, at random.
    #[arg(long, value_name = "N", value_parser = at_least_one, allow_negative_numbers = true)]
    pub(crate) stall_every: Option<u64>,
    /// Answer 429 or 503 to one in N requests, at random.
    #[arg(long, value_name = "N", value_parser = at_least_one, allow_negative_numbers = true)]
    pub(crate) refuse_every: Option<u64>,
    // `requires` alone does not do: clap waives it where a path conflicts with --generate.
    /// One in N generated events is a canary.
    #[arg(long, value_name = "N", requires = "generate", conflicts_with = "path", value_parser = at_least_one, allow_negative_numbers = true)]
    pub(crate) canary_every: Option<u64>,
    /// One in N generated events is not JSON.
    #[arg(long, value_name = "N", requires = "generate", conflicts_with = "path", value_parser = at_least_one, allow_negative_numbers = true)]
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
