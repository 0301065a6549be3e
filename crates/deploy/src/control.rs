//! What a supervisor is asked and answers, over its socket: a line of JSON each way.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use gristmill_flow::Status;
use serde::{Deserialize, Serialize};

use crate::supervisor::longest;
use crate::{DeployError, Deployment};

/// A supervisor answers at once, unless it is stopped or its machine is in trouble.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// What a supervisor is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// What is deployed and how it does.
    Status,
    /// Go over to the revision in `staged`, a directory of the deployment, if `base` is what is
    /// deployed.
    Apply {
        /// The revision that the change was made for.
        base: u64,
        /// Where the new one is.
        staged: PathBuf,
    },
    /// Start these stages anew at their stored positions.
    Restart {
        /// `meta.name` of each.
        stages: Vec<String>,
    },
    /// End: sources first, then sinks once they have caught up or after `drain_ms`.
    Stop {
        /// Milliseconds.
        drain_ms: u64,
    },
}

/// What it answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// To [`Request::Status`].
    Status(DeploymentStatus),
    /// It is done; what happened, one a line.
    Done(Vec<String>),
    /// It is not done, nothing has changed.
    Refused(String),
}

/// A deployment and how it does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeploymentStatus {
    /// `meta.name`.
    pub pipeline: String,
    /// The deployed revision.
    pub revision: u64,
    /// The supervisor's process id.
    pub pid: u32,
    /// The pipeline file.
    pub file: PathBuf,
    /// When the supervisor started, milliseconds since the epoch.
    pub since_ms: u64,
    /// Where metrics are served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<String>,
    /// What of the log is lost, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_error: Option<String>,
    /// Its stages, in the file's order.
    pub stages: Vec<StageStatus>,
}

/// A stage and how it does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageStatus {
    /// `meta.name`.
    pub name: String,
    /// `meta.type`.
    pub kind: String,
    /// `meta.topic`.
    pub topic: String,
    /// Its process; `None` while there is none.
    pub pid: Option<u32>,
    /// What it is doing.
    pub status: Status,
    /// Times it was started again because it had ended by itself.
    pub restarts: u32,
    /// It has failed too often, or for good: it is not started again.
    pub given_up: bool,
    /// Pulled from the source by its present process.
    pub records_in: u64,
    /// Whose effect is durable, by its present process.
    pub records_out: u64,
    /// Sent to the dead-letter topic by its present process.
    pub rejected: u64,
    /// In the topic and not yet read; sinks only.
    pub lag: Option<i64>,
}

impl Deployment {
    /// Ask its supervisor. Blocks, and never gives up before the supervisor does: what it was asked
    /// for may still come to pass.
    ///
    /// # Errors
    /// None runs, or it does not answer, or it says no.
    pub fn ask(&self, request: &Request) -> Result<Reply, DeployError> {
        let answer = match request {
            Request::Status => self.exchange(request, ANSWER_MAX),
            // One that does not even say how it does is not waited for.
            _ => self
                .exchange(&Request::Status, ANSWER_MAX)
                .and_then(|reply| {
                    let stages = match &reply {
                        Reply::Status(status) => status.stages.len(),
                        _ => 0,
                    };
                    self.exchange(request, longest(request, stages))
                }),
        };
        match answer {
            Ok(Reply::Refused(reason)) => Err(DeployError::Refused(reason)),
            Ok(reply) => Ok(reply),
            Err(_) if self.is_locked() => Err(DeployError::Silent {
                name: self.name.clone(),
                pid: self.pid(),
            }),
            Err(_) => Err(DeployError::NotRunning {
                name: self.name.clone(),
            }),
        }
    }

    /// How it does.
    ///
    /// # Errors
    /// As [`ask`](Self::ask).
    pub fn status(&self) -> Result<DeploymentStatus, DeployError> {
        match self.ask(&Request::Status)? {
            Reply::Status(status) => Ok(status),
            _ => Err(DeployError::Refused(
                "an answer to something else".to_owned(),
            )),
        }
    }

    fn exchange(&self, request: &Request, wait: Duration) -> io::Result<Reply> {
        let mut stream = UnixStream::connect(self.socket())?;
        stream.set_read_timeout(Some(wait))?;
        stream.set_write_timeout(Some(ANSWER_MAX))?;
        let mut text = serde_json::to_vec(request)?;
        text.push(b'\n');
        stream.write_all(&text)?;
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer)?;
        Ok(serde_json::from_str(&answer)?)
    }
}
