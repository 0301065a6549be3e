//! The web page: three kinds of files, made by hand and part of the binary.

use axum::extract::Path;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// The page asks nobody but us, and nobody may put it into a frame. No `unsafe-inline`: what a
/// record holds is shown as text, and this is the second lock on that door.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Name, type and text of each file under `/page/`.
const FILES: [(&str, &str, &str); 8] = [
    ("page.css", CSS, include_str!("page/page.css")),
    ("page.js", JS, include_str!("page/page.js")),
    ("format.js", JS, include_str!("page/format.js")),
    ("graph.js", JS, include_str!("page/graph.js")),
    ("counts.js", JS, include_str!("page/counts.js")),
    ("chart.js", JS, include_str!("page/chart.js")),
    ("tap.js", JS, include_str!("page/tap.js")),
    ("icon.svg", SVG, include_str!("page/icon.svg")),
];

/// `GET /`.
pub(super) async fn index() -> Response {
    file(HTML, include_str!("page/index.html"))
}

/// `GET /page/NAME`.
pub(super) async fn asset(Path(name): Path<String>) -> Response {
    match FILES.iter().find(|(file, _, _)| *file == name) {
        Some((_, kind, text)) => file(kind, text),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn file(kind: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

/// What every answer says to browsers.
pub(super) async fn guard(mut response: Response) -> Response {
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}
