//! Streams of Server-Sent Events: the status once a second, and records as they pass.
//!
//! A slow reader loses frames; nothing waits for it.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt, stream};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, broadcast, watch};

use super::sampler::{Shared, json};

/// `GET /events`.
pub(super) async fn events(State(shared): State<Arc<Shared>>) -> Response {
    let Some(permit) = permit(&shared) else {
        return full();
    };
    let first = status_event(&json(&shared.status()));
    let frames = shared.frames.subscribe();
    let next = move |(mut frames, permit): (watch::Receiver<Arc<str>>, OwnedSemaphorePermit)| async {
        frames.changed().await.ok()?;
        let event = status_event(&frames.borrow_and_update());
        Some((event, (frames, permit)))
    };
    let rest = stream::unfold((frames, permit), next);
    answer(&shared, stream::once(async { first }).chain(rest))
}

/// `GET /tap`.
pub(super) async fn tap(State(shared): State<Arc<Shared>>) -> Response {
    let Some(permit) = permit(&shared) else {
        return full();
    };
    let records = shared.tapped.subscribe();
    shared.tap_wanted.notify_one();
    let next = |(mut records, permit): (broadcast::Receiver<Arc<str>>, OwnedSemaphorePermit)| async {
        loop {
            match records.recv().await {
                Ok(frame) => {
                    let event = Event::default().event("records").data(frame);
                    return Some((event, (records, permit)));
                }
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
    };
    answer(&shared, stream::unfold((records, permit), next))
}

fn status_event(status: &str) -> Event {
    Event::default().event("status").data(status)
}

fn permit(shared: &Shared) -> Option<OwnedSemaphorePermit> {
    shared.streams.clone().try_acquire_owned().ok()
}

fn full() -> Response {
    let text = "too many streams are open: close some pages\n";
    (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
}

/// `events` until the pipeline ends, which the last one says.
fn answer(shared: &Shared, events: impl Stream<Item = Event> + Send + 'static) -> Response {
    let stopped = shared.stop.clone().cancelled_owned();
    let end = stream::once(async { Event::default().event("end").data("{}") });
    let events = events.take_until(stopped).chain(end);
    let events = Sse::new(events.map(Ok::<_, Infallible>)).keep_alive(KeepAlive::default());
    // What nginx and its like would else collect until it is worth sending.
    (
        [(header::HeaderName::from_static("x-accel-buffering"), "no")],
        events,
    )
        .into_response()
}
