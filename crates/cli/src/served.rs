//! A pipeline in the foreground and who may ask it: this user's processes always, by a socket;
//! others where the user says.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::SystemTime;

use gristmill_runner::{Bound, Current, Legs, WatchError, WatchServer, Watched};
use tokio::sync::watch;

use crate::runs::{Entry, Run};
use crate::{logging, output};

/// Where a page is looked for first.
const USUAL_PORT: u16 = 9464;

/// Where the page and metrics are served.
#[derive(Debug)]
pub(crate) enum Listen {
    /// Where the file says; else nowhere.
    AsFile,
    /// Here, whatever the file says.
    At(SocketAddr),
    /// Here, where it listens already.
    On(Bound),
    /// On loopback at the usual port, or at any other that is free.
    Free,
}

impl Listen {
    /// With what the file says.
    pub(crate) fn or(self, file: Option<SocketAddr>) -> Self {
        match (self, file) {
            (Self::AsFile, Some(addr)) => Self::At(addr),
            (listen, _) => listen,
        }
    }
}

/// Answers until it is dropped.
pub(crate) struct Served {
    server: WatchServer,
    address: Option<SocketAddr>,
    /// Where others find it; none without a state directory.
    _entry: Option<Entry>,
}

impl Served {
    /// Watch the pipeline `legs`, which runs on `current`, and answer.
    ///
    /// # Errors
    /// An address that cannot be listened on.
    pub(crate) async fn start(
        pipeline: &str,
        legs: &Legs,
        current: watch::Receiver<Current>,
        listen: Listen,
    ) -> Result<Self, WatchError> {
        let mut server = WatchServer::new(Watched {
            pipeline: pipeline.to_owned(),
            legs: legs.clone(),
            redact: logging::redacted,
            started: SystemTime::now(),
            current: Some(current),
        });
        let address = match listen {
            Listen::AsFile => None,
            Listen::At(addr) => Some(server.listen(addr).await?),
            Listen::On(bound) => Some(server.serve(bound)),
            Listen::Free => Some(free(&mut server).await?),
        };
        if let Some(address) = address {
            if !address.ip().is_loopback() {
                output::note(&format!(
                    "warning: {address} is open to whoever reaches this machine, and asks for no \
                     login\n  = help: `--listen {}` serves this machine alone",
                    address.port()
                ));
            }
            output::note(&format!(
                "page on http://{address}/, metrics on http://{address}/metrics"
            ));
        }
        Ok(Self {
            _entry: enter(pipeline, &mut server, address),
            server,
            address,
        })
    }

    /// Where the page is.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Say to readers that this is the end.
    pub(crate) async fn close(self) {
        self.server.close().await;
    }
}

async fn free(server: &mut WatchServer) -> Result<SocketAddr, WatchError> {
    let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    match server.listen(loopback(USUAL_PORT)).await {
        Err(WatchError::InUse { .. }) => server.listen(loopback(0)).await,
        result => result,
    }
}

/// Let `gristmill status` and `top` find us. A pipeline runs without that too: on a read-only
/// system, without a home.
fn enter(pipeline: &str, server: &mut WatchServer, address: Option<SocketAddr>) -> Option<Entry> {
    let mut entry = match Entry::new(pipeline) {
        Ok(entry) => entry,
        Err(error) => {
            tracing::info!(%error, "`gristmill status` will not find this pipeline");
            return None;
        }
    };
    let socket = entry.socket();
    let socket = match server.listen_unix(&socket) {
        Ok(()) => Some(socket),
        Err(error) => {
            tracing::info!(%error, "`gristmill status` needs an address: see --listen");
            None
        }
    };
    match entry.publish(&Run::ours(pipeline, address, socket)) {
        Ok(()) => Some(entry),
        Err(error) => {
            tracing::info!(%error, "`gristmill status` will not find this pipeline");
            None
        }
    }
}
