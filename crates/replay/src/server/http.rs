//! HTTP: which request gets which stream, and which none.

use std::{convert::Infallible, future::Future, io, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use futures_util::stream;
use tokio_util::sync::CancellationToken;

use super::{
    connection::{Connections, Cut},
    feed::{Feed, one_in},
    options::{AtEnd, ServerOptions},
    stats::Counters,
};
use crate::log::{Log, Start, StartError};

const HELP: &str = "Gristmill replay: an SSE server. Stream: GET /v2/stream/recentchange, with a \
                    User-Agent; Last-Event-ID resumes, ?since= takes epoch milliseconds or ISO 8601\n";

/// What every request sees.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    pub(super) log: Log,
    pub(super) options: Arc<ServerOptions>,
    pub(super) counters: Arc<Counters>,
    pub(super) stop: CancellationToken,
}

#[derive(serde::Deserialize)]
struct Parameters {
    since: Option<String>,
}

/// Serves until `stopped`, then until the last response has ended.
pub(super) async fn serve(
    connections: Connections,
    shared: Shared,
    stopped: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let router = Router::new()
        .route("/", get(async || HELP))
        .route("/v2/stream/{*streams}", get(open_stream))
        .with_state(shared);
    let service = router.into_make_service_with_connect_info::<Cut>();
    axum::serve(connections, service)
        .with_graceful_shutdown(stopped)
        .await
}

async fn open_stream(
    State(shared): State<Shared>,
    ConnectInfo(cut): ConnectInfo<Cut>,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
) -> Response {
    match stream_of(&shared, cut, &parameters, &headers).await {
        Ok(response) => response,
        Err(refusal) => {
            shared.counters.refused();
            refusal
        }
    }
}

async fn stream_of(
    shared: &Shared,
    cut: Cut,
    parameters: &Parameters,
    headers: &HeaderMap,
) -> Result<Response, Response> {
    let options = &shared.options;
    let agent = headers
        .get(header::USER_AGENT)
        .is_some_and(|agent| !agent.is_empty());
    if options.require_user_agent && !agent {
        let reason = "a User-Agent is required: name/version (URL; email)\n";
        return Err((StatusCode::FORBIDDEN, reason).into_response());
    }
    let number = shared.counters.request();
    // An odd factor keeps neighbouring requests' seeds apart.
    let seed = options.faults.seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut rng = fastrand::Rng::with_seed(seed);
    if one_in(&mut rng, options.faults.refuse_every) {
        return Err(refuse_for_now(&mut rng, options.faults.retry_after_s));
    }

    let start = start_of(parameters, headers).map_err(bad_request)?;
    let place = find(shared, start).await.map_err(|error| match error {
        StartError::Id { .. } => bad_request(error.to_string()),
        StartError::Read(_) => internal(&error),
    })?;
    if options.at_end == AtEnd::NoContent && place.index >= shared.log.events() {
        return Err(StatusCode::NO_CONTENT.into_response());
    }
    let cursor = shared.log.cursor(place).map_err(|error| internal(&error))?;
    let (options, counters) = (Arc::clone(options), Arc::clone(&shared.counters));
    let feed = Feed::new(
        options,
        counters,
        shared.stop.clone(),
        cut,
        (cursor, place.index),
        rng,
    );
    let body = stream::unfold(feed, async |mut feed| {
        let piece = feed.next().await?;
        Some((Ok::<_, Infallible>(piece), feed))
    });
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream; charset=utf-8"),
        (
            header::CACHE_CONTROL,
            "private, max-age=0, no-cache, no-store, must-revalidate",
        ),
    ];
    Ok((headers, Body::from_stream(body)).into_response())
}

async fn find(shared: &Shared, start: Start) -> Result<crate::recording::Place, StartError> {
    let (log, resume) = (shared.log.clone(), shared.options.resume);
    let found = tokio::task::spawn_blocking(move || log.place(&start, resume)).await;
    found.unwrap_or_else(|panicked| Err(io::Error::other(panicked).into()))
}

/// `Last-Event-ID` wins over `since`, as at Wikimedia. An empty one is none.
fn start_of(parameters: &Parameters, headers: &HeaderMap) -> Result<Start, String> {
    if let Some(id) = headers.get("last-event-id").filter(|id| !id.is_empty()) {
        let id = std::str::from_utf8(id.as_bytes());
        return id.map(|id| Start::After(id.to_owned())).map_err(|_| {
            "Last-Event-ID is not UTF-8; send the id back as the server sent it".to_owned()
        });
    }
    match &parameters.since {
        None => Ok(Start::Beginning),
        Some(since) => parse_since(since).map(Start::Since).ok_or_else(|| {
            format!(
                "since={since:?} is no time; write epoch milliseconds or ISO 8601, such as \
                 1767225600000 or 2026-01-01T00:00:00Z"
            )
        }),
    }
}

/// Epoch milliseconds, a time with its offset, or a date (its first moment in UTC).
fn parse_since(since: &str) -> Option<i64> {
    if let Ok(timestamp_ms) = since.parse() {
        return Some(timestamp_ms);
    }
    let timestamp = since.parse::<jiff::Timestamp>().ok().or_else(|| {
        let date_time = since.parse::<jiff::civil::DateTime>().ok()?;
        jiff::tz::TimeZone::UTC.to_timestamp(date_time).ok()
    })?;
    Some(timestamp.as_millisecond())
}

fn refuse_for_now(rng: &mut fastrand::Rng, retry_after_s: u32) -> Response {
    let status = match rng.bool() {
        true => StatusCode::TOO_MANY_REQUESTS,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    let after = [(header::RETRY_AFTER, retry_after_s.to_string())];
    (
        status,
        after,
        "refused on request of the faults' schedule\n",
    )
        .into_response()
}

fn bad_request(reason: String) -> Response {
    (StatusCode::BAD_REQUEST, reason + "\n").into_response()
}

fn internal(error: &dyn std::error::Error) -> Response {
    tracing::error!(%error, "cannot serve a stream");
    (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_takes_numbers_times_and_dates() {
        for since in [
            "1767225600000",
            "2026-01-01T00:00:00Z",
            "2026-01-01T00:00:00.000Z",
            "2026-01-01T01:00:00+01:00",
            "2026-01-01",
        ] {
            assert_eq!(parse_since(since), Some(1_767_225_600_000), "{since}");
        }
        assert_eq!(parse_since("yesterday"), None);
        assert_eq!(parse_since(""), None);
    }
}
