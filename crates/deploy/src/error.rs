//! Why something about a deployment cannot be done.

use std::io;
use std::path::{Path, PathBuf};

/// What went wrong, and where there is one, the remedy.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    /// Neither of the variables that name a place for state is set.
    #[error("nowhere to keep state: set GRISTMILL_STATE_DIR, XDG_STATE_HOME or HOME")]
    NoStateDir,
    /// A file or directory.
    #[error("{}: {error}", path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// Why not.
        #[source]
        error: io::Error,
    },
    /// A file of ours holds something else.
    #[error("{} is not readable as what it should be: {reason}", path.display())]
    Damaged {
        /// Which one.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The place is too deep for a Unix socket.
    #[error(
        "{} is too long for a socket's path (107 bytes): name a shorter directory in \
         GRISTMILL_STATE_DIR",
        path.display()
    )]
    LongPath {
        /// The socket.
        path: PathBuf,
    },
    /// Its supervisor runs.
    #[error("{name} runs already (supervisor process {pid})")]
    Running {
        /// The pipeline.
        name: String,
        /// The supervisor's id.
        pid: String,
    },
    /// Stages of an earlier supervisor are still there.
    #[error(
        "stages of an earlier {name} still run: they end with their supervisor, so the system is \
         in trouble; look for processes of `gristmill stage`"
    )]
    Leftover {
        /// The pipeline.
        name: String,
    },
    /// No supervisor runs.
    #[error("{name} does not run: `gristmill deploy start` starts it")]
    NotRunning {
        /// The pipeline.
        name: String,
    },
    /// The supervisor is there and says nothing.
    #[error(
        "the supervisor of {name} (process {pid}) does not answer: `gristmill deploy shutdown {name} \
         --kill` ends it; nothing is lost, positions live with the effects"
    )]
    Silent {
        /// The pipeline.
        name: String,
        /// The supervisor's id.
        pid: String,
    },
    /// The supervisor said no.
    #[error("{0}")]
    Refused(String),
}

impl DeployError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        |error| Self::Io {
            path: path.to_owned(),
            error,
        }
    }
}
