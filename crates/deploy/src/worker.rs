//! The two ends of the pipes between the supervisor and a stage's process: orders on its standard
//! input, reports on its standard output, log lines on its standard error.

use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::net::SocketAddr;
use std::path::PathBuf;

use gristmill_flow::{Snapshot, Tapped};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::state::Lock;
use crate::{DeployError, Deployment, process};

/// What the supervisor wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// Begin: everything that can fail before a broker is asked was made and told with
    /// [`Report::Ready`].
    Go,
    /// Go over to a revision, or say why not.
    Take {
        /// Tells its answer from those to earlier ones, which may still be on their way.
        number: u64,
        /// Where the revision is.
        dir: PathBuf,
    },
    /// Tell of so many records of each of these stages as they pass.
    Look(BTreeMap<String, usize>),
    /// End, sinks once they have caught up or after this long.
    Stop {
        /// Milliseconds.
        drain_ms: u64,
    },
}

/// What a stage's process says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Report {
    /// Waits for [`Order::Go`].
    Ready,
    /// Where its stages are.
    Stages(BTreeMap<String, Snapshot>),
    /// Where the process itself serves its page and metrics.
    Serves(SocketAddr),
    /// Records that passed its stages, which [`Order::Look`] asked for.
    Tapped(BTreeMap<String, Vec<Tapped>>),
    /// What became of an [`Order::Take`].
    Took {
        /// Which one.
        number: u64,
        /// The changes, one a line, or why everything runs on as it was.
        result: Result<Vec<String>, String>,
    },
    /// It ends, and why if it was not told to; nothing else comes.
    Ended {
        /// Why.
        error: Option<String>,
        /// Starting it again would not help: another copy has taken over.
        is_final: bool,
    },
}

/// A stage's process as such: bound to its supervisor.
#[derive(Debug)]
pub struct Worker {
    /// What it is told.
    pub orders: mpsc::UnboundedReceiver<Order>,
    _lock: Lock,
}

impl Worker {
    /// Bind this process to `supervisor`, its parent: it ends with it, however that ends. From
    /// here on nobody else starts the stages of `deployment`.
    ///
    /// # Errors
    /// A supervisor that has ended; a directory that cannot be used.
    pub fn enter(deployment: &Deployment, supervisor: u32) -> Result<Self, DeployError> {
        process::die_with_parent(supervisor).map_err(DeployError::io(deployment.dir()))?;
        let lock = deployment.enter()?;
        let (sender, orders) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            for line in std::io::stdin().lock().lines() {
                let Some(order) = line.ok().and_then(|line| serde_json::from_str(&line).ok())
                else {
                    break;
                };
                if sender.send(order).is_err() {
                    break;
                }
            }
            // The channel closes: the supervisor is gone, where the kernel does not see to it.
        });
        Ok(Self {
            orders,
            _lock: lock,
        })
    }
}

impl Report {
    /// Say it. Nobody is there to be told of a failure: without a supervisor the process ends.
    pub fn send(&self) {
        if let Ok(mut text) = serde_json::to_vec(self) {
            text.push(b'\n');
            let mut out = std::io::stdout().lock();
            let _ = out.write_all(&text).and_then(|()| out.flush());
        }
    }
}
