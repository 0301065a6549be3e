use std::{io, net::SocketAddr, path::PathBuf};

/// Why a replay server did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// Another process listens there.
    #[error(
        "{addr} is taken by another process; choose another --listen address, or port 0 for any free one"
    )]
    AddressTaken {
        /// The address asked for.
        addr: SocketAddr,
    },
    /// The address cannot be listened on.
    #[error(
        "cannot listen on {addr}: {source}; choose an address of this machine and a port above 1023"
    )]
    Listen {
        /// The address asked for.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The recording is not there.
    #[error("recording {} does not exist; check the path, or record one with `curl -N URL > events.sse`", path.display())]
    Missing {
        /// The file asked for.
        path: PathBuf,
    },
    /// The recording holds not a single event.
    #[error("recording {} holds no event; {remedy}", path.display())]
    Empty {
        /// The file asked for.
        path: PathBuf,
        /// What the format needs for an event.
        remedy: &'static str,
    },
    /// The file's name does not say what is in it.
    #[error("recording {} is of no known kind; name it .sse (raw SSE bytes) or .ndjson, .jsonl, .json (one JSON document a line), unpacked", path.display())]
    UnknownKind {
        /// The file asked for.
        path: PathBuf,
    },
    /// The recording cannot be read.
    #[error("cannot read recording {}: {source}", path.display())]
    Read {
        /// The file asked for.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// An option is out of its range.
    #[error("{option} is {value}; it must be {range}")]
    Option {
        /// The option's name.
        option: &'static str,
        /// What it was.
        value: String,
        /// What it may be.
        range: &'static str,
    },
}
