//! A stream, through the very source that a pipeline uses.

use std::sync::Arc;

use gristmill_flow::{LegStats, NoTail, Source, SourceError, SourceEvent, Status};
use gristmill_manifest::printable;
use gristmill_record::{Lane, Positions};
use gristmill_sse_source::{Config, SseSource};
use serde_json::json;

use super::Printer;
use crate::args::TapArgs;
use crate::{UsageError, output};

/// Print the events of the stream at `args.target` until it ends (the server answers 204).
pub(super) async fn tap(
    args: &TapArgs,
    mut printer: Printer,
    stats: Arc<LegStats>,
) -> anyhow::Result<()> {
    let mut section = json!({
        "url": args.target,
        "user-agent": args.user_agent,
        // Error events too: who looks wants to see them.
        "events": ["*"],
    });
    if let Some(since) = &args.since {
        section["since"] = json!(since);
    }
    let config: Config = serde_json::from_value(section)?;
    let usage = |error: gristmill_sse_source::ConfigError| UsageError(error.to_string());
    let mut source = SseSource::new("tap".into(), config, NoTail, stats).map_err(usage)?;
    let lane = Lane::new("tap", 0);
    let mut from = Positions::new();
    if let Some(id) = &args.last_event_id {
        from.insert(lane, gristmill_sse_source::position(id));
    }
    loop {
        match source.next().await {
            Ok(SourceEvent::Assigned(lanes)) => {
                source
                    .resume(&lanes, &from)
                    .await
                    .map_err(|error| anyhow::anyhow!("{error}"))?;
            }
            Ok(SourceEvent::Batch(batch)) => {
                for reject in &batch.rejects {
                    output::note(&format!("not shown: {}", printable(&reject.reason)));
                }
                for record in batch.records.iter() {
                    if printer.print(record, None)? {
                        return Ok(());
                    }
                }
            }
            Ok(SourceEvent::End) => return Ok(()),
            Ok(SourceEvent::Revoked(_)) => {}
            Err(SourceError::Retry { after, reason }) => {
                output::note(&printable(&reason));
                tokio::time::sleep(after).await;
            }
            Err(SourceError::Fatal(reason)) => anyhow::bail!(reason),
        }
    }
}

/// Time is up: an error if the stream at `url` is not there, or never was.
pub(super) fn was_there(url: &str, status: &Status) -> anyhow::Result<()> {
    match status {
        Status::Waiting(reason) => anyhow::bail!("{}", printable(reason)),
        Status::Starting => anyhow::bail!("no answer from {} so far", printable(url)),
        Status::Running | Status::Ended | Status::Failed(_) => Ok(()),
    }
}
