//! What was started, on disk.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::{Process, secure};

const FILE: &str = "cluster.json";

/// The state file.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct State {
    /// Kafka's jars.
    pub(crate) libs: PathBuf,
    /// The brokers, in the order of their ids.
    pub(crate) brokers: Vec<Broker>,
    /// Redis, unless it was not wanted.
    pub(crate) redis: Option<Redis>,
}

/// One broker, which is a controller too.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Broker {
    /// Its node id, from 1.
    pub(crate) id: i32,
    /// Where clients connect, on 127.0.0.1.
    pub(crate) port: u16,
    /// Where the other controllers connect.
    pub(crate) controller_port: u16,
    /// Where clients with TLS or a login connect, if there are such listeners.
    #[serde(default)]
    pub(crate) secure: Option<secure::Ports>,
    /// Its JVM; `None` while it is stopped on purpose.
    pub(crate) process: Option<Process>,
}

/// The redis-server.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Redis {
    /// Its port on 127.0.0.1.
    pub(crate) port: u16,
    /// Its process; `None` while it is stopped on purpose.
    pub(crate) process: Option<Process>,
}

impl State {
    /// Whether the brokers have listeners with TLS and logins.
    pub(crate) fn is_secure(&self) -> bool {
        self.brokers.iter().any(|broker| broker.secure.is_some())
    }

    /// Read `dir`'s state file; `None` where there is none.
    pub(crate) fn load(dir: &Path) -> Result<Option<Self>> {
        let path = dir.join(FILE);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        };
        let state = serde_json::from_str(&text)
            .with_context(|| format!("{} is not a cluster's state file", path.display()))?;
        Ok(Some(state))
    }

    /// Write `dir`'s state file, whole or not at all.
    pub(crate) fn save(&self, dir: &Path) -> Result<()> {
        let path = dir.join(FILE);
        let fresh = path.with_extension("json.new");
        std::fs::write(&fresh, serde_json::to_vec_pretty(self)?)
            .and_then(|()| std::fs::rename(&fresh, &path))
            .with_context(|| format!("cannot write {}", path.display()))
    }
}
