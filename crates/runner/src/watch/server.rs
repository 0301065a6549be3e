//! The HTTP server around the pages.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use gristmill_flow::CancellationToken;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::{Watched, metrics};

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
}

/// Serves until it is dropped.
#[derive(Debug)]
pub struct WatchServer {
    addr: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl WatchServer {
    /// Listen on `addr` and tell of `watched`.
    ///
    /// # Errors
    /// See [`WatchError`].
    pub async fn start(addr: SocketAddr, watched: Watched) -> Result<Self, WatchError> {
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::AddrInUse => WatchError::InUse { addr },
            _ => WatchError::Listen { addr, error },
        };
        let listener = TcpListener::bind(addr).await.map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;
        let stop = CancellationToken::new();
        let app = app(addr.ip(), Arc::new(watched));
        let stopped = stop.clone().cancelled_owned();
        let task = tokio::spawn(async move {
            let served = axum::serve(listener, app).with_graceful_shutdown(stopped);
            if let Err(error) = served.await {
                tracing::error!(%error, "metrics are no longer served");
            }
        });
        Ok(Self { addr, stop, task })
    }

    /// Where it listens, the port filled in.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for WatchServer {
    fn drop(&mut self) {
        self.stop.cancel();
        self.task.abort();
    }
}

fn app(listens_on: IpAddr, watched: Arc<Watched>) -> Router {
    let app = Router::new()
        .route("/", get(index))
        .route("/metrics", get(show_metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .with_state(watched);
    if listens_on.is_loopback() {
        app.layer(middleware::from_fn(only_local_names))
    } else {
        app
    }
}

/// A page in a browser may ask any name for which its own DNS server says 127.0.0.1, and read the
/// answer. So on loopback only names that mean this machine are answered.
async fn only_local_names(headers: HeaderMap, request: Request, next: Next) -> Response {
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or_default();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    if bare == "localhost" || bare.parse::<IpAddr>().is_ok() {
        next.run(request).await
    } else {
        let text = format!("`{name}` is not a name of this server: ask 127.0.0.1\n");
        (StatusCode::FORBIDDEN, text).into_response()
    }
}

async fn index(State(watched): State<Arc<Watched>>) -> String {
    format!(
        "gristmill: pipeline {}\n\n{}\n/metrics  /healthz  /readyz\n",
        watched.pipeline,
        watched.states()
    )
}

async fn show_metrics(State(watched): State<Arc<Watched>>) -> impl IntoResponse {
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], metrics::render(&watched))
}

async fn healthz(State(watched): State<Arc<Watched>>) -> impl IntoResponse {
    if watched.is_healthy() {
        (StatusCode::OK, "ok\n".to_owned())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, watched.states())
    }
}

async fn readyz(State(watched): State<Arc<Watched>>) -> impl IntoResponse {
    let code = if watched.is_ready() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (code, watched.states())
}
