//! `gristmill status`: what a running pipeline says of itself, once.

use std::io::IsTerminal;

use anyhow::Context;
use gristmill_manifest::printable;
use gristmill_runner::{PipelineStatus, StageStatus};
use ratatui::crossterm::terminal;

use super::stage_table::{self, Column};
use crate::args::StatusArgs;
use crate::remote::Remote;
use crate::{Outcome, output};

/// Counts that are shown; `gristmill counts` has all of them.
const COUNTS_SHOWN: usize = 10;
/// Kinds of rejects that are shown.
const REJECTS_SHOWN: usize = 5;

pub(super) async fn run(args: StatusArgs) -> anyhow::Result<Outcome> {
    let mut healthy = true;
    for (index, (name, remote)) in Remote::find(args.target.as_deref())?.iter().enumerate() {
        let status = remote.status().await.with_context(|| name.clone())?;
        healthy &= status.healthy;
        if args.json {
            output::line(&serde_json::to_string(&status)?)?;
            continue;
        }
        if index > 0 {
            output::line("")?;
        }
        output::line(&text(&status, room()))?;
    }
    Ok(if healthy {
        Outcome::Done
    } else {
        Outcome::Failed
    })
}

fn text(status: &PipelineStatus, room: usize) -> String {
    let mut lines = vec![head(status), String::new()];
    lines.extend(table(&status.stages, room));
    for stage in &status.stages {
        if let Some(reason) = &stage.reason {
            lines.push(format!(
                "\n{} is {}: {}",
                stage.name,
                stage.state,
                printable(reason)
            ));
        }
    }
    let rejects = status.stages.iter().flat_map(|stage| &stage.rejects);
    let rejects: Vec<_> = rejects.take(REJECTS_SHOWN).collect();
    if !rejects.is_empty() {
        lines.push(format!("\n{:>12}  REJECTED BY", "RECORDS"));
        for kind in rejects {
            let records = output::thousands(kind.records as i64);
            let reason = printable(&kind.reason);
            lines.push(format!(
                "{records:>12}  {}: {reason}",
                printable(&kind.step)
            ));
        }
    }
    if let Some(counts) = &status.counts {
        lines.push(String::new());
        if let Some(error) = &counts.error {
            lines.push(format!("the counts cannot be read: {}", printable(error)));
        }
        let ranked = counts.ranked();
        for (key, count) in ranked.iter().take(COUNTS_SHOWN) {
            let count = output::thousands(*count);
            lines.push(format!("{count:>12}  {}", output::shown(key)));
        }
        let rest = counts.keys.saturating_sub(COUNTS_SHOWN);
        if rest > 0 {
            let more = output::many(rest as u64, "more key");
            lines.push(format!("{:>12}  and {more}", ""));
        }
        if counts.at_ms > 0 {
            let total = output::thousands(counts.total);
            lines.push(format!("{total:>12}  in all"));
        }
    }
    lines.join("\n")
}

/// Who it is and how it is.
pub(super) fn head(status: &PipelineStatus) -> String {
    let state = match (status.healthy, status.ready) {
        (false, _) => "has failed",
        (true, true) => "runs",
        (true, false) => "waits",
    };
    let mut text = format!(
        "{} {state}, for {}, process {}",
        status.pipeline,
        output::millis((status.at_ms - status.started_ms) as f64),
        status.pid
    );
    if let Some(bytes) = status.memory_bytes {
        text.push_str(&format!(", {}", bytesize::ByteSize(bytes)));
    }
    text
}

/// A heading and a line for each stage.
fn table(stages: &[StageStatus], room: usize) -> Vec<String> {
    let columns = stage_table::fitting(stages, room);
    let line = |text: &dyn Fn(&Column) -> String| {
        let cells = columns.iter().map(|(column, width)| {
            let text = text(column);
            match column.is_number {
                true => format!("{text:>width$}"),
                false => format!("{text:<width$}"),
            }
        });
        let cells: Vec<String> = cells.collect();
        cells.join(&" ".repeat(stage_table::GAP))
    };
    let head = line(&|column| column.head.to_uppercase());
    let rows = stages
        .iter()
        .map(|stage| line(&|column| (column.text)(stage)));
    std::iter::once(head).chain(rows).collect()
}

/// Columns of the terminal; a file or a pipe has room for all.
fn room() -> usize {
    let size = std::io::stdout().is_terminal().then(terminal::size);
    match size {
        Some(Ok((columns @ 1.., _))) => usize::from(columns),
        _ => usize::MAX,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use gristmill_runner::{CountsStatus, Quantiles, Rates, Rejects};

    use super::*;

    /// A pipeline in the middle of its work, with control characters in what comes from outside.
    pub(in crate::commands) fn example() -> PipelineStatus {
        let stage = |name: &str, is_source: bool| StageStatus {
            name: name.to_owned(),
            connector: if is_source {
                "sse-source"
            } else {
                "redis-sink"
            }
            .to_owned(),
            is_source,
            topic: "edits".to_owned(),
            transforms: Vec::new(),
            state: "running".to_owned(),
            reason: None,
            records_in: 12_345,
            bytes_in: 1,
            records_out: 12_300,
            bytes_out: 1,
            rejected: 45,
            rejects: Vec::new(),
            duplicates: 0,
            dropped: 0,
            late: 0,
            gaps: 0,
            batches: 1,
            reconnects: 0,
            rebalances: 0,
            waits: 0,
            lag: Default::default(),
            last_event_age_ms: None,
            newest_event_ms: None,
            rates: Rates {
                records_in: 499.8,
                ..Rates::default()
            },
            latency_ms: None,
            batch_records: None,
            transform_ms: None,
            write_ms: None,
        };
        let mut counts = stage("counts", false);
        counts.lag = [(0, 1_000), (1, 234)].into();
        counts.state = "waiting".to_owned();
        counts.reason = Some("redis\u{1b}]0;x: no connection".to_owned());
        counts.latency_ms = Some(Quantiles {
            count: 9,
            mean: 30.0,
            p50: 25.4,
            p95: 900.0,
            p99: 1_250.0,
            bound: 3_600_000.0,
        });
        counts.rejects = vec![Rejects {
            step: "extract-type".to_owned(),
            reason: "no field `…`".to_owned(),
            records: 45,
        }];
        PipelineStatus {
            pipeline: "wikipedia".to_owned(),
            version: "0.1.0".to_owned(),
            pid: 4711,
            started_ms: 1_000,
            at_ms: 134_000,
            healthy: true,
            ready: false,
            stages: vec![stage("stream", true), counts],
            counts: Some(CountsStatus {
                at_ms: 134_000,
                keys: 12,
                total: 12_000,
                largest: (0..12).map(|n| (format!("key{n}"), n * n)).collect(),
                windows: Vec::new(),
                error: None,
            }),
            memory_bytes: Some(40 << 20),
            cpu_seconds: None,
        }
    }

    #[test]
    fn a_status_is_a_page_of_text() {
        let text = text(&example(), usize::MAX);
        for expect in [
            "wikipedia waits, for 2m 13s, process 4711, 40.0 MiB\n",
            "STAGE   WAY                 STATE       IN/S    OUT/S    RECORDS      LAG      P50      P99  REJECTED\n",
            "stream  sse-source ▶ edits  running      500        0     12,345                                   45\n",
            "counts  edits ▶ redis-sink  waiting      500        0     12,345    1,234  25.4 ms   1.25 s        45\n",
            "counts is waiting: redis␛]0;x: no connection\n",
            "          45  extract-type: no field `…`\n",
            "         121  key11\n",
            "              and 2 more keys\n      12,000  in all",
        ] {
            assert!(text.contains(expect), "{expect}\n{text}");
        }
    }

    #[test]
    fn counts_that_were_never_read_have_no_total() {
        let mut status = example();
        let error = Some("no connection".to_owned());
        status.counts = Some(CountsStatus {
            error,
            ..CountsStatus::default()
        });
        let text = text(&status, 80);
        assert!(text.contains("cannot be read: no connection"), "{text}");
        assert!(!text.contains("in all"), "{text}");
    }
}
