//! SSE streams: whether they answer, through the very source that a pipeline uses.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gristmill_flow::{LegStats, NoTail, Source, SourceError, SourceEvent, Status};
use gristmill_manifest::Connector as Entry;
use gristmill_record::Positions;
use gristmill_sse_source::{Config, SseSource, Streams};

use super::Finding;
use crate::plan::{SseSource as Kind, config};

const AREA: &str = "stream";
/// How long a stream may take to its first event: recentchange has dozens a second.
const FIRST_EVENT: Duration = Duration::from_secs(10);
/// What the shipped pipeline says until somebody puts an address of their own in.
const PLACEHOLDER: &str = "you@example.org";

pub(super) async fn check(entry: &Entry) -> Vec<Finding> {
    let config = match config::<Kind>(entry) {
        Ok(config) => config,
        Err(error) => return vec![Finding::fail_with(AREA, &entry.name, error.to_string())],
    };
    let mut findings = Vec::new();
    let streams = config.streams();
    let wikimedia =
        |url: &Streams| matches!(url, Streams::One(url) if url.contains("wikimedia.org"));
    if config.user_agent.contains(PLACEHOLDER)
        && streams.iter().any(|(_, stream)| wikimedia(&stream.url))
    {
        findings.push(Finding::warn(
            AREA,
            format!("user-agent of {}", entry.name),
            format!("holds the placeholder {PLACEHOLDER}"),
            "put your own contact address in: Wikimedia asks for one, and blocks who has none",
        ));
    }
    for (_, stream) in streams {
        findings.push(answers(entry, stream).await);
    }
    findings
}

/// `config` of one stream.
async fn answers(entry: &Entry, config: Config) -> Finding {
    let url = match &config.url {
        Streams::One(url) => shown(url),
        Streams::Named(_) => String::new(),
    };
    let subject = format!("{} at {url}", entry.name);
    let stats = Arc::<LegStats>::default();
    let name = entry.name.as_str().into();
    let source = SseSource::new(name, config, NoTail, stats.clone());
    let mut source = match source {
        Ok(source) => source,
        Err(error) => return Finding::fail_with(AREA, subject, error.to_string()),
    };
    let started = Instant::now();
    let first = tokio::time::timeout(FIRST_EVENT, first_event(&mut source)).await;
    source.close().await;
    match (first, stats.status()) {
        (Ok(Ok(Some(bytes))), _) => {
            let after = started.elapsed().as_secs_f64();
            let detail = format!("first event of {bytes} bytes after {after:.1} s");
            Finding::ok(AREA, subject, detail)
        }
        (Ok(Ok(None)), _) => Finding::warn(
            AREA,
            subject,
            "it is over (the server answers 204)",
            "check the URL if there should be events",
        ),
        (Ok(Err(reason)), _) => Finding::fail_with(AREA, subject, reason),
        (Err(_), Status::Waiting(reason)) => Finding::fail(
            AREA,
            subject,
            reason,
            "check the URL, the network and a proxy in between; `curl -N URL` shows what comes",
        ),
        (Err(_), _) => Finding::warn(
            AREA,
            subject,
            format!("no event within {} s", FIRST_EVENT.as_secs()),
            "fine for a quiet stream; else check the URL",
        ),
    }
}

/// Bytes of the first batch, or `None` if the stream is over.
async fn first_event(source: &mut SseSource<NoTail>) -> Result<Option<usize>, String> {
    loop {
        match source.next().await {
            Ok(SourceEvent::Assigned(lanes)) => {
                let resumed = source.resume(&lanes, &Positions::new()).await;
                resumed.map_err(|error| error.to_string())?;
            }
            Ok(SourceEvent::Batch(batch)) => {
                let rejected: usize = batch.rejects.iter().map(|reject| reject.value.len()).sum();
                return Ok(Some(batch.records.bytes() + rejected));
            }
            Ok(SourceEvent::End) => return Ok(None),
            Ok(SourceEvent::Revoked(_)) => {}
            Err(SourceError::Retry { after, .. }) => tokio::time::sleep(after).await,
            Err(SourceError::Fatal(reason)) => return Err(reason),
        }
    }
}

/// Without query and credentials, which may be secrets.
fn shown(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
            let host = authority
                .rsplit_once('@')
                .map_or(authority, |(_, host)| host);
            format!("{scheme}://{host}/{path}")
        }
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn urls_are_shown_without_secrets() {
        for (url, expect) in [
            ("https://u:p@h:1/a/b?token=x#y", "https://h:1/a/b"),
            ("http://h", "http://h/"),
            ("h", "h"),
        ] {
            assert_eq!(super::shown(url), expect);
        }
    }
}
