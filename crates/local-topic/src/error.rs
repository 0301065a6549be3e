//! What can go wrong with a directory of embedded topics.

use std::path::{Path, PathBuf};

/// Why an embedded topic or count cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// The directory cannot be made or opened.
    #[error("{}: {error}", dir.display())]
    Open {
        /// The directory.
        dir: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// Another process has it.
    #[error(
        "{} is in use by {}: stop that one first, or name another directory",
        dir.display(),
        process(*pid)
    )]
    InUse {
        /// The directory.
        dir: PathBuf,
        /// Who has it, if that is known.
        pid: Option<u32>,
    },
    /// Not a name that Kafka would take either.
    #[error("`{0}` is no topic name: use 1 to 249 of A-Z a-z 0-9 . _ -")]
    Name(String),
    /// No partitions, or too many.
    #[error("topic {topic}: {partitions} partitions; use 1 to 1024")]
    Partitions {
        /// The topic.
        topic: String,
        /// How many were asked for.
        partitions: i32,
    },
    /// No such topic or partition.
    #[error("{lane}: no such topic or partition in {}", dir.display())]
    Unknown {
        /// Topic, or topic and partition.
        lane: String,
        /// Where it was looked for.
        dir: PathBuf,
    },
    /// A position outside of what the topic holds.
    #[error(
        "{lane}: offset {offset} is outside of the topic, which holds 0 to {end}: was the directory \
         replaced? Delete the directory of the topics and counts to begin anew"
    )]
    OutOfRange {
        /// Topic and partition.
        lane: String,
        /// The offset that was asked for.
        offset: i64,
        /// The offset that the next record will get.
        end: i64,
    },
    /// Stored bytes that this code never wrote.
    #[error("{}: damaged data ({what}); restore the directory or delete it", dir.display())]
    Corrupt {
        /// The directory.
        dir: PathBuf,
        /// What is damaged.
        what: String,
    },
    /// The database failed: a full disk, most often.
    #[error("{}: {error}; free disk space if it is full, then start again", dir.display())]
    Storage {
        /// The directory.
        dir: PathBuf,
        /// What the database says.
        error: Box<redb::Error>,
    },
}

fn process(pid: Option<u32>) -> String {
    pid.map_or_else(
        || "another process".to_owned(),
        |pid| format!("process {pid}"),
    )
}

impl LocalError {
    /// For `map_err`: a database error in `dir`.
    pub(crate) fn storage<E: Into<redb::Error>>(dir: &Path) -> impl Fn(E) -> Self + '_ {
        move |error| {
            let dir = dir.to_owned();
            match error.into() {
                redb::Error::Corrupted(what) => Self::Corrupt { dir, what },
                redb::Error::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                    let what = error.to_string();
                    Self::Corrupt { dir, what }
                }
                error => Self::Storage {
                    dir,
                    error: Box::new(error),
                },
            }
        }
    }
}
