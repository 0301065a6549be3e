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

/// The keys that the source's texts name, and what was typed here instead. A space comes first, so
/// that no address with such a name in it is changed.
const TYPED: [(&str, &str); 5] = [
    (" sse.url: ", " the URL "),
    (" sse.url", " the URL"),
    (" sse.since", " --since"),
    (" sse.user-agent", " --user-agent"),
    // `tap` has no flag for it.
    (" sse.headers", " a pipeline's sse.headers"),
];

/// A text of the source in the words of the command line.
fn typed(text: &str) -> String {
    let text = TYPED.iter().fold(format!(" {text}"), |text, (key, typed)| {
        text.replace(key, typed)
    });
    text.trim_start().to_owned()
}

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
    let usage = |error: gristmill_sse_source::ConfigError| {
        UsageError(printable(&typed(&error.to_string())))
    };
    let mut source = SseSource::new("tap".into(), config, NoTail, stats).map_err(usage)?;
    let lane = Lane::new("tap", 0);
    let mut from = Positions::new();
    if let Some(id) = &args.last_event_id {
        // No header can carry it, and the connection would not say so.
        if id.chars().any(char::is_control) {
            let text = "--last-event-id: an id has no line break or control character";
            return Err(UsageError(text.to_owned()).into());
        }
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
                output::note(&printable(&typed(&reason)));
                tokio::time::sleep(after).await;
            }
            Err(SourceError::Fatal(reason)) => anyhow::bail!(typed(&reason)),
        }
    }
}

/// Time is up: an error if the stream at `url` is not there, or never was.
pub(super) fn was_there(url: &str, status: &Status) -> anyhow::Result<()> {
    match status {
        Status::Waiting(reason) => anyhow::bail!("{}", printable(&typed(reason))),
        Status::Starting => anyhow::bail!("no answer from {} so far", printable(url)),
        Status::Running | Status::Ended | Status::Failed(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::typed;

    #[test]
    fn keys_of_a_file_are_named_as_they_were_typed() {
        for (text, expect) in [
            ("sse.url: `x` is no URL", "the URL `x` is no URL"),
            ("sse.since: `x` is", "--since: `x` is"),
            ("403: does sse.user-agent say", "403: does --user-agent say"),
            (
                "404 of http://sse.url/: check sse.url",
                "404 of http://sse.url/: check the URL",
            ),
        ] {
            assert_eq!(typed(text), expect);
        }
    }
}
