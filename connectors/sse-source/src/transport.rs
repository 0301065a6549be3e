//! HTTP under eventsource-client: what that client leaves to its transport, and what it leaves out.
//!
//! [`Transport::request`] answers with a response only if it is an event stream; everything else
//! is a [`Failure`] that says whether trying again can help. Redirects are followed here, the body
//! goes through the [`Sanitizer`](crate::sanitize::Sanitizer), and silence ends it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{Buf, Bytes};
use futures_util::Stream;
use gristmill_tls::handshake_remedy;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::Empty;
use hyper::body::{Body as _, Incoming};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use launchdarkly_sdk_transport::{ByteStream, HttpTransport, ResponseFuture, TransportError};
use tokio::time::{Instant, Sleep, sleep, timeout};
use url::Url;

use crate::config::{ConfigError, Settings};
use crate::sanitize::Sanitizer;

/// Redirects in a row that are followed.
const REDIRECTS_MAX: usize = 10;
/// Bound of the HTTP read buffer, which else grows to 400 KiB for a fast server.
const READ_BUFFER_BYTES: usize = 64 << 10;
/// The longest Retry-After that is honoured: beyond it a human would rather see an attempt.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);
/// Probes that find a peer gone while the read timeout is long.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Why there is no (more) stream.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// No connection, or it broke before the response.
    #[error("cannot reach {url}: {cause}")]
    Unreachable { url: String, cause: String },
    /// 408, 425, 429 and 5xx: the server wants another try, later.
    #[error("{url} answered {status}")]
    Busy {
        url: String,
        status: StatusCode,
        retry_after: Option<Duration>,
    },
    /// Any other status: the same request would get the same answer.
    #[error("{url} answered {status}{remedy}")]
    Refused {
        url: String,
        status: StatusCode,
        remedy: &'static str,
    },
    /// 200, but no event stream.
    #[error(
        "{url} answered with `{got}` instead of `text/event-stream`: is this the stream's address, \
         and no proxy's error page?"
    )]
    NotAStream { url: String, got: String },
    /// A redirect that is not followed.
    #[error("{url} redirects {reason}")]
    Redirect { url: String, reason: String },
    /// 204: the server asks not to come again.
    #[error("{url} answered 204: there are no more events")]
    NoContent { url: String },
    /// A connection without a byte for too long.
    #[error("no bytes for {0:?}")]
    Silent(Duration),
    /// The response ended in an error.
    #[error("connection broke: {0}")]
    Broken(String),
}

/// A client for one stream; cheap to clone.
#[derive(Clone)]
pub(crate) struct Transport {
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    settings: Arc<Settings>,
    /// The last event id as the stream had it; the one that is sent may be rewound.
    last_event_id: Arc<str>,
}

impl Transport {
    /// Build the TLS setup and the connector; nothing is opened yet.
    pub(crate) fn new(settings: Arc<Settings>) -> Result<Self, ConfigError> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(settings.connect_timeout));
        tcp.set_keepalive(Some(KEEPALIVE));
        let https = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(settings.tls.client_config()?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(0)
            .http1_max_buf_size(READ_BUFFER_BYTES)
            .build(https);
        Ok(Self {
            client,
            settings,
            last_event_id: "".into(),
        })
    }

    /// The same client for a connection before which the stream's last event id was `id`: events
    /// that come without one have it (WHATWG HTML, section 9.2.3).
    pub(crate) fn after(&self, id: &str) -> Self {
        Self {
            last_event_id: id.into(),
            ..self.clone()
        }
    }

    /// Follow redirects until something that is none.
    async fn open(
        self,
        start: Url,
        id: Option<HeaderValue>,
    ) -> Result<Response<ByteStream>, Failure> {
        let mut url = start.clone();
        for _ in 0..=REDIRECTS_MAX {
            let response = self.send(&start, &url, id.as_ref()).await?;
            match response.status().as_u16() {
                301 | 302 | 303 | 307 | 308 => url = redirect(&url, response.headers())?,
                _ => return self.accept(&url, response),
            }
        }
        Err(Failure::Redirect {
            url: shown(&start),
            reason: format!("more than {REDIRECTS_MAX} times: in a circle?"),
        })
    }

    async fn send(
        &self,
        start: &Url,
        url: &Url,
        id: Option<&HeaderValue>,
    ) -> Result<Response<Incoming>, Failure> {
        let unreachable = |cause: String| Failure::Unreachable {
            url: shown(url),
            cause,
        };
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = url.as_str().parse().map_err(|cause| Failure::Redirect {
            url: shown(url),
            reason: format!("to no usable URL ({cause})"),
        })?;
        let headers = request.headers_mut();
        if url.origin() == start.origin() {
            // Anyone's credentials may hide in them: they are for the configured origin alone.
            headers.extend(self.settings.headers.clone());
        }
        headers.insert(header::USER_AGENT, self.settings.user_agent.clone());
        headers.insert(
            header::ACCEPT,
            HeaderValue::from_static("text/event-stream"),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        if let Some(id) = id {
            headers.insert(HeaderName::from_static("last-event-id"), id.clone());
        }
        // The TCP handshake has a bound of its own; this one is for TLS and the response's head.
        let bound = self.settings.connect_timeout + self.settings.read_timeout;
        match timeout(bound, self.client.request(request)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => {
                let mut cause = chain(&error);
                let shows = self.settings.tls.has_client();
                if let Some(remedy) = handshake_remedy(&cause, "sse", shows) {
                    cause = format!("{cause}: {remedy}");
                }
                Err(unreachable(cause))
            }
            Err(_) => Err(unreachable(format!("no response within {bound:?}"))),
        }
    }

    /// An event stream, or why not.
    fn accept(
        &self,
        url: &Url,
        response: Response<Incoming>,
    ) -> Result<Response<ByteStream>, Failure> {
        let status = response.status();
        let url = || shown(url);
        match status.as_u16() {
            200 => {}
            204 => return Err(Failure::NoContent { url: url() }),
            408 | 425 | 429 | 500..=599 => {
                let retry_after = retry_after(response.headers(), SystemTime::now());
                return Err(Failure::Busy {
                    url: url(),
                    status,
                    retry_after,
                });
            }
            code => {
                return Err(Failure::Refused {
                    url: url(),
                    status,
                    remedy: remedy(code),
                });
            }
        }
        check_type(response.headers()).map_err(|got| Failure::NotAStream { url: url(), got })?;
        let sanitizer = Sanitizer::new(self.settings.event_bytes_max, &self.last_event_id);
        Ok(response.map(|incoming| -> ByteStream {
            Box::pin(Body::new(incoming, sanitizer, self.settings.read_timeout))
        }))
    }
}

impl HttpTransport for Transport {
    fn request(&self, request: Request<Option<Bytes>>) -> ResponseFuture {
        let transport = self.clone();
        let id = request.headers().get("last-event-id").cloned();
        let url = Url::parse(&request.uri().to_string());
        Box::pin(async move {
            let url = url.map_err(TransportError::new)?;
            transport.open(url, id).await.map_err(TransportError::new)
        })
    }
}

/// A response body in canonical form, ended by silence.
struct Body {
    incoming: Incoming,
    sanitizer: Sanitizer,
    /// Of the last frame, what the sanitizer has not taken yet.
    rest: Bytes,
    silence: Pin<Box<Sleep>>,
    read_timeout: Duration,
    /// Whether `silence` runs: only while a read is pending, so that time spent on backpressure
    /// is not the server's.
    waiting: bool,
}

impl Body {
    fn new(incoming: Incoming, sanitizer: Sanitizer, read_timeout: Duration) -> Self {
        Self {
            incoming,
            sanitizer,
            rest: Bytes::new(),
            silence: Box::pin(sleep(read_timeout)),
            read_timeout,
            waiting: false,
        }
    }
}

impl Stream for Body {
    type Item = Result<Bytes, TransportError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if !this.rest.is_empty() {
                let mut out = Vec::with_capacity(this.rest.len() + 512);
                let used = this.sanitizer.push(&this.rest, &mut out);
                this.rest.advance(used);
                if !out.is_empty() {
                    return Poll::Ready(Some(Ok(out.into())));
                }
                continue;
            }
            match Pin::new(&mut this.incoming).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    this.waiting = false;
                    this.rest = frame.into_data().unwrap_or_default();
                }
                Poll::Ready(Some(Err(error))) => {
                    let error = TransportError::new(Failure::Broken(chain(&error)));
                    return Poll::Ready(Some(Err(error)));
                }
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => {
                    if !std::mem::replace(&mut this.waiting, true) {
                        let deadline = Instant::now() + this.read_timeout;
                        this.silence.as_mut().reset(deadline);
                    }
                    ready!(this.silence.as_mut().poll(cx));
                    let error = TransportError::new(Failure::Silent(this.read_timeout));
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
    }
}

/// Where a redirect leads; relative to the URL that was asked for.
fn redirect(from: &Url, headers: &HeaderMap) -> Result<Url, Failure> {
    let error = |reason: &str| Failure::Redirect {
        url: shown(from),
        reason: reason.to_owned(),
    };
    let location = headers
        .get(header::LOCATION)
        .ok_or_else(|| error("without a Location"))?;
    let location = std::str::from_utf8(location.as_bytes())
        .map_err(|_| error("to a Location that is no text"))?;
    let mut to = from
        .join(location)
        .map_err(|_| error("to a Location that is no URL"))?;
    to.set_fragment(None);
    match (from.scheme(), to.scheme()) {
        ("https", "http") => Err(error("from https to http: refused, give the right URL")),
        (_, "http" | "https") => Ok(to),
        _ => Err(error("to something that is not HTTP")),
    }
}

/// `Err` names what came instead of an event stream.
fn check_type(headers: &HeaderMap) -> Result<(), String> {
    let value = |name| {
        let value: Option<&HeaderValue> = headers.get(name);
        value.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let content_type = value(header::CONTENT_TYPE).unwrap_or_else(|| "no Content-Type".to_owned());
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("text/event-stream") {
        return Err(content_type);
    }
    match value(header::CONTENT_ENCODING) {
        Some(encoding) if !encoding.eq_ignore_ascii_case("identity") => {
            Err(format!("{content_type}, Content-Encoding {encoding}"))
        }
        _ => Ok(()),
    }
}

/// RFC 9110, section 10.2.3: seconds, or an HTTP date.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match value.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = jiff::fmt::rfc2822::parse(value).ok()?.timestamp();
            let since_epoch = Duration::try_from(date.as_duration()).ok()?;
            (UNIX_EPOCH + since_epoch)
                .duration_since(now)
                .unwrap_or_default()
        }
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

fn remedy(status: u16) -> &'static str {
    match status {
        400 => ": does it know the last event id, or `since`? See sse.since",
        401 => ": give credentials in sse.headers, such as Authorization",
        403 => {
            ": does sse.user-agent say who you are, as `name/version (URL; email)`? Some servers \
             refuse others"
        }
        404 | 410 => ": check sse.url",
        _ => "",
    }
}

/// A URL without its query, which may hold a token.
pub(crate) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.into()
}

/// An error with its causes: hyper's own texts say little without.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}
