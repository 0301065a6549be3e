//! A pipeline's counting sinks as SQL on Arroyo.
//!
//! ```text
//! topic ─▶ extract_type (UDF) ─▶ TUMBLE … GROUP BY ─▶ Redis: a hash for each window
//!                             └▶ GROUP BY ─▶ debezium_json topic ─▶ redis-sink with `upsert`
//! ```
//!
//! Arroyo's Redis sink only sets, and repeats after a crash: a window's count is final when it is
//! set, so that does no harm. A running total is not; its changes go through a topic, exactly once,
//! and our own sink sets them together with its position. What brings the records into the topic
//! stays with Gristmill, which resumes a stream exactly.
//!
//! **Invariant:** what cannot be expressed is refused; nothing is left out in silence.

mod kafka;
mod sql;
mod text;

use gristmill_flow::Connector as _;
use gristmill_manifest::{Connector, Direction, Manifest, Place, Transform};
use gristmill_redis_sink::{Config, RedisSink};

use crate::export::Refusal;
use crate::plan::config;

/// The UDF, as it is tested in `udfs/`.
const EXTRACT_TYPE: &str = include_str!("../../../../udfs/extract-type/src/lib.rs");
/// How often Arroyo checkpoints, and so commits to the topic of totals.
const CHECKPOINT_MICROS: u64 = 10_000_000;

/// A job for Arroyo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// The pipeline's name.
    pub name: String,
    /// The query: tables and inserts.
    pub sql: String,
    /// Connector configs for `gristmill up -f`, by name: each applies the changes of one sink's
    /// running totals to Redis.
    pub totals: Vec<(String, String)>,
    parallelism: u32,
}

/// What one sink is on Arroyo.
struct Sink<'m> {
    entry: &'m Connector,
    config: Config,
    /// What a record counts for, as an SQL expression over `value`.
    key: String,
}

impl Job {
    /// The job of all sinks of `manifest`.
    ///
    /// # Errors
    /// Everything that cannot be expressed.
    pub fn new(manifest: &Manifest) -> Result<Self, Vec<Refusal>> {
        let mut refusals = Vec::new();
        let mut sinks = Vec::new();
        let entries = manifest.connectors.iter();
        let entries = entries.filter(|entry| entry.direction == Direction::Sink);
        for entry in entries {
            match Sink::new(entry) {
                Ok(sink) => sinks.push(sink),
                Err(more) => refusals.extend(more),
            }
        }
        let first = Place { line: 1, column: 1 };
        if sinks.is_empty() && refusals.is_empty() {
            refusals.push(Refusal {
                place: first,
                reason: "there is no sink: Arroyo would have nothing to compute".to_owned(),
            });
        }
        let cluster = kafka::options(&manifest.kafka).unwrap_or_else(|reasons| {
            let refusal = |reason| Refusal {
                place: first,
                reason,
            };
            refusals.extend(reasons.into_iter().map(refusal));
            Vec::new()
        });
        if !refusals.is_empty() {
            return Err(refusals);
        }
        let copies = sinks.iter().map(|sink| sink.entry.replicas);
        Ok(Self {
            name: manifest.name.clone(),
            parallelism: copies.max().unwrap_or(1),
            sql: sql::query(manifest, &sinks, &cluster),
            totals: sinks
                .iter()
                .filter(|sink| sink.config.window.is_none())
                .map(|sink| (sink.entry.name.clone(), sql::totals(manifest, sink)))
                .collect(),
        })
    }

    /// The call that starts the job, as a shell script.
    pub fn api(&self) -> String {
        let body = serde_json::json!({
            "name": self.name,
            "parallelism": self.parallelism,
            "checkpoint_interval_micros": CHECKPOINT_MICROS,
            "udfs": [{"language": "rust", "definition": EXTRACT_TYPE}],
            "query": self.sql,
        });
        let name = &self.name;
        format!(
            "#!/bin/sh
# Starts the job `{name}` on Arroyo, unless it is there: the UDF and the query in one call.
# ARROYO is where its API is; `gristmill export arroyo` prints the query alone.
set -eu
arroyo=${{ARROYO:-http://127.0.0.1:5115}}
until curl -sf \"$arroyo/api/v1/ping\" > /dev/null; do sleep 1; done
if curl -sf \"$arroyo/api/v1/pipelines\" | grep -q '\"name\":\"{name}\"'; then
  echo '{name} is there already' >&2
  exit 0
fi
curl -sS --fail-with-body -X POST -H 'Content-Type: application/json' --data-binary @- \\
  \"$arroyo/api/v1/pipelines\" <<'JSON'
{body}
JSON
echo
"
        )
    }
}

impl<'m> Sink<'m> {
    fn new(entry: &'m Connector) -> Result<Self, Vec<Refusal>> {
        let mut reasons: Vec<(Place, String)> = Vec::new();
        let mut refuse = |reason: &str| reasons.push((entry.span, reason.to_owned()));
        if entry.kind != RedisSink::TYPE {
            refuse("only redis-sink can be expressed");
        }
        if entry.consumer.partitions.is_some() {
            refuse("`consumer.partition`: Arroyo reads all partitions of a topic");
        }
        let written = entry.section.as_written();
        if written.get("upsert").is_some() {
            refuse(
                "`upsert`: the topic holds a table's changes already, so there is nothing to \
                 compute; run this sink with Gristmill",
            );
        }
        for (key, reason) in [
            (
                "keep",
                "Arroyo's hashes do not expire; take it out and delete old windows by hand",
            ),
            ("idle", "Arroyo has an idle time of its own; take it out"),
            (
                "late",
                "Arroyo drops what comes after the watermark; take it out, or make `grace` longer",
            ),
        ] {
            if written
                .get("window")
                .is_some_and(|window| window.get(key).is_some())
            {
                refuse(&format!("`window.{key}`: {reason}"));
            }
        }
        if let Err(reason) = text::redis_options(written) {
            refuse(&reason);
        }
        let config = config::<RedisSink>(entry);
        let config = config.map_err(|error| refuse(&error.to_string())).ok();
        let value = match entry.transforms.as_slice() {
            [] => Some("value".to_owned()),
            [transform] => extract(transform).map_or_else(
                |reason| {
                    reasons.push((transform.span, reason));
                    None
                },
                Some,
            ),
            [_, second, ..] => {
                let reason = "a second transform: only one extract-type can be expressed";
                reasons.push((second.span, reason.to_owned()));
                None
            }
        };
        let key = value.zip(config.as_ref()).and_then(|(value, config)| {
            text::key(&config.count, &value, &entry.topic).map_or_else(
                |reason| {
                    reasons.push((entry.span, reason));
                    None
                },
                Some,
            )
        });
        match (config, key) {
            (Some(config), Some(key)) if reasons.is_empty() => Ok(Self { entry, config, key }),
            _ => {
                let refusal = |(place, reason)| Refusal {
                    place,
                    reason: format!("{}: {reason}", entry.name),
                };
                Err(reasons.into_iter().map(refusal).collect())
            }
        }
    }
}

/// The transform as an SQL expression.
fn extract(transform: &Transform) -> Result<String, String> {
    let uses = transform.uses.split('@').next().unwrap_or_default();
    let name = uses.rsplit('/').next().unwrap_or_default();
    if name != "extract-type" {
        return Err(format!(
            "`{}`: there is no UDF of it; extract-type is the only module that has one",
            transform.uses
        ));
    }
    if transform.lookback.is_some() {
        return Err("`lookback`: SQL functions see one record; take it out".to_owned());
    }
    if transform.limits != gristmill_manifest::Limits::default() {
        return Err("`limits`: Arroyo runs UDFs without a sandbox; take them out".to_owned());
    }
    let field = transform.with.get("field").map_or("type", |field| &**field);
    Ok(format!("extract_type({}, value)", text::text(field)))
}
