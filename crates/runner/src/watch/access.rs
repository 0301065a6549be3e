//! Who is answered.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// A page in a browser may ask any name for which its own DNS server says 127.0.0.1, and read the
/// answer. So on loopback only names that mean this machine are answered.
pub(super) async fn only_local_names(request: Request, next: Next) -> Response {
    let name = host(request.headers());
    if is_local(name) {
        return next.run(request).await;
    }
    let text = format!("`{name}` is not a name of this server: ask 127.0.0.1\n");
    (StatusCode::FORBIDDEN, text).into_response()
}

/// Records are shown where the pipeline runs, wherever numbers may be read: there is no login.
pub(super) async fn only_this_machine(request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    // Without one it came by the socket that only this user may open.
    let here = peer.is_none_or(|peer| {
        peer.0.ip().to_canonical().is_loopback() && is_local(host(request.headers()))
    });
    if here {
        return next.run(request).await;
    }
    let text = "records are shown on the machine where the pipeline runs only: ask 127.0.0.1\n";
    (StatusCode::FORBIDDEN, text).into_response()
}

/// The name that was asked, without its port.
fn host(headers: &HeaderMap) -> &str {
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or_default();
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

fn is_local(name: &str) -> bool {
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost" || bare.parse::<IpAddr>().is_ok()
}
