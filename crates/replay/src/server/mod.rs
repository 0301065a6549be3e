//! The SSE server: HTTP on the outside, one [`feed::Feed`] a connection on the inside.

mod connection;
mod feed;
mod http;
mod options;
mod pace;
mod stats;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use connection::Connections;
use http::Shared;
pub use options::{AtEnd, Faults, Resume, ServerOptions, Source};
use stats::Counters;
pub use stats::Stats;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{ReplayError, log::Log};

/// How long [`Server::stop`] waits for clients to take what was already sent to them.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// A running server. Dropping it breaks all connections at once; [`Server::stop`] ends them.
#[derive(Debug)]
pub struct Server {
    addr: SocketAddr,
    counters: Arc<Counters>,
    /// Ends responses between two events.
    stop: CancellationToken,
    /// Breaks connections.
    kill: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl Server {
    /// Opens the source, listens, and serves until stopped. A recording is read through first, to
    /// index it.
    ///
    /// # Errors
    /// [`ReplayError`] if an option is out of range, the recording cannot be used or the address
    /// cannot be listened on.
    pub async fn start(options: ServerOptions) -> Result<Self, ReplayError> {
        options.check()?;
        let source = options.source.clone();
        let log = match tokio::task::spawn_blocking(move || Log::open(source)).await {
            Ok(log) => log?,
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        };
        let addr = options.listen;
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => ReplayError::AddressTaken { addr },
            _ => ReplayError::Listen { addr, source },
        };
        let listener = TcpListener::bind(addr).await.map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;
        let (stop, kill) = (CancellationToken::new(), CancellationToken::new());
        let counters = Arc::new(Counters::default());
        let shared = Shared {
            log,
            options: Arc::new(options),
            counters: Arc::clone(&counters),
            stop: stop.clone(),
        };
        let connections = Connections {
            listener,
            kill: kill.clone(),
        };
        let stopped = stop.clone().cancelled_owned();
        let task = tokio::spawn(async move {
            if let Err(error) = http::serve(connections, shared, stopped).await {
                tracing::error!(%error, "the replay server ended");
            }
        });
        Ok(Self {
            addr,
            counters,
            stop,
            kill,
            task: Some(task),
        })
    }

    /// The address that it listens on, the port filled in.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The stream's URL.
    pub fn url(&self) -> String {
        format!("http://{}/v2/stream/recentchange", self.addr)
    }

    /// What it has done so far.
    pub fn stats(&self) -> Stats {
        self.counters.stats()
    }

    /// Stops listening, ends every response behind a whole event, and waits for it, 2 s at most:
    /// connections whose clients do not read are then broken.
    pub async fn stop(mut self) {
        self.stop.cancel();
        if let Some(mut task) = self.task.take()
            && tokio::time::timeout(STOP_TIMEOUT, &mut task).await.is_err()
        {
            self.kill.cancel();
            // The task cannot fail but by a panic, which the runtime has reported.
            let _ = task.await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
        self.kill.cancel();
    }
}
