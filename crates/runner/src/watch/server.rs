//! The HTTP server around the pages.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinHandle;

use super::sampler::Shared;
use super::{Watched, access, live, metrics, page};

/// How long readers may take to hear that the pipeline has ended.
const CLOSING: Duration = Duration::from_millis(300);
/// What `/history` tells if it is not asked for less.
const HOUR_SECONDS: usize = 3_600;

/// Why nothing can be served.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// Somebody else listens there.
    #[error(
        "metrics: {addr} is in use: is the pipeline running already? Choose another address with \
         --listen or `metrics.listen` (port 0 takes a free one)"
    )]
    InUse {
        /// The address.
        addr: SocketAddr,
    },
    /// Not an address of this machine, or a port that needs more rights.
    #[error("metrics: cannot listen on {addr}: {error}")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// Why not.
        #[source]
        error: io::Error,
    },
    /// The socket cannot be made.
    #[error("cannot listen on {}: {error}", path.display())]
    Socket {
        /// Its file.
        path: PathBuf,
        /// Why not.
        #[source]
        error: io::Error,
    },
}

/// An address that is ours before there is something to tell: who asks waits for
/// [`WatchServer::serve`].
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    /// Its port filled in.
    addr: SocketAddr,
}

impl Bound {
    /// Take `addr`.
    ///
    /// # Errors
    /// When somebody else has it, or nobody can.
    pub async fn to(addr: SocketAddr) -> Result<Self, WatchError> {
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::AddrInUse => WatchError::InUse { addr },
            _ => WatchError::Listen { addr, error },
        };
        let listener = TcpListener::bind(addr).await.map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, addr })
    }
}

/// Watches a pipeline and tells of it until it is dropped.
pub struct WatchServer {
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

impl WatchServer {
    /// Watch `watched`; nobody can ask before [`listen`](Self::listen).
    pub fn new(watched: Watched) -> Self {
        let shared = Arc::new(Shared::new(watched));
        let tasks = vec![
            tokio::spawn(shared.clone().sample()),
            tokio::spawn(shared.clone().count()),
            tokio::spawn(shared.clone().tap()),
        ];
        Self { shared, tasks }
    }

    /// Tell whoever asks at `addr`; gives the address, its port filled in.
    ///
    /// # Errors
    /// See [`WatchError`].
    pub async fn listen(&mut self, addr: SocketAddr) -> Result<SocketAddr, WatchError> {
        Ok(self.serve(Bound::to(addr).await?))
    }

    /// Tell whoever asks at `bound`; gives its address.
    pub fn serve(&mut self, bound: Bound) -> SocketAddr {
        let Bound { listener, addr } = bound;
        let mut app = self.app();
        if addr.ip().is_loopback() {
            app = app.layer(middleware::from_fn(access::only_local_names));
        }
        let app = app.into_make_service_with_connect_info::<SocketAddr>();
        let stopped = self.shared.stop.clone().cancelled_owned();
        self.tasks.push(tokio::spawn(async move {
            let served = axum::serve(listener, app).with_graceful_shutdown(stopped);
            if let Err(error) = served.await {
                tracing::error!(%error, "metrics are no longer served");
            }
        }));
        addr
    }

    /// Tell this user's processes, by a socket at `path` that nobody else may open.
    ///
    /// # Errors
    /// [`WatchError::Socket`].
    pub fn listen_unix(&mut self, path: &Path) -> Result<(), WatchError> {
        let failed = |error| WatchError::Socket {
            path: path.to_owned(),
            error,
        };
        // The directory is the owner's alone, so nobody gets in between these two.
        let listener = UnixListener::bind(path).map_err(failed)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
        // Reading all counts is work: who may ask for it may end the pipeline as well.
        let counts = Router::new().route("/counts", get(counts));
        let app = self.app().merge(counts.with_state(self.shared.clone()));
        let stopped = self.shared.stop.clone().cancelled_owned();
        self.tasks.push(tokio::spawn(async move {
            let served = axum::serve(listener, app).with_graceful_shutdown(stopped);
            if let Err(error) = served.await {
                tracing::error!(%error, "the status is no longer served");
            }
        }));
        Ok(())
    }

    /// Tell readers of streams that this is the end, and wait a moment until they know.
    pub async fn close(mut self) {
        self.shared.stop.cancel();
        let tasks = std::mem::take(&mut self.tasks);
        let ended = async {
            for task in tasks {
                // One that panicked has ended too.
                let _ = task.await;
            }
        };
        let _ = tokio::time::timeout(CLOSING, ended).await;
    }

    fn app(&self) -> Router {
        // Records themselves: not for everybody who may read numbers.
        let records = Router::new()
            .route("/tap", get(live::tap))
            .route("/dead-letters", get(dead_letters))
            .layer(middleware::from_fn(access::only_this_machine));
        Router::new()
            .route("/", get(page::index))
            .route("/page/{name}", get(page::asset))
            .route("/metrics", get(show_metrics))
            .route("/healthz", get(healthz))
            .route("/readyz", get(readyz))
            .route("/status", get(status))
            .route("/events", get(live::events))
            .route("/history", get(history))
            .merge(records)
            .layer(middleware::map_response(page::guard))
            .with_state(self.shared.clone())
    }
}

impl Drop for WatchServer {
    fn drop(&mut self) {
        self.shared.stop.cancel();
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

#[derive(serde::Deserialize)]
struct Span {
    seconds: Option<usize>,
}

async fn show_metrics(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    let text = metrics::render(&shared.watched);
    ([(header::CONTENT_TYPE, kind)], text)
}

async fn healthz(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    if shared.watched.is_healthy() {
        (StatusCode::OK, "ok\n".to_owned())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, shared.watched.states())
    }
}

async fn readyz(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    let code = if shared.watched.is_ready() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (code, shared.watched.states())
}

async fn status(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    as_json(&shared.status())
}

#[derive(serde::Deserialize)]
struct Which {
    #[serde(default)]
    windows: bool,
}

async fn counts(State(shared): State<Arc<Shared>>, which: Query<Which>) -> Response {
    match shared.counted(which.windows).await {
        Ok(counted) => as_json(&counted),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, reason).into_response(),
    }
}

async fn history(State(shared): State<Arc<Shared>>, span: Query<Span>) -> impl IntoResponse {
    as_json(&shared.history(span.seconds.unwrap_or(HOUR_SECONDS)))
}

async fn dead_letters(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    as_json(&shared.recent_rejects())
}

fn as_json(value: &impl serde::Serialize) -> Response {
    let kind = "application/json";
    let text = super::sampler::json(value).to_string();
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}
