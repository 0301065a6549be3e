//! What is different between two plans, and what it takes to go from one to the other.

use std::fmt;

use gristmill_manifest::Start;
use gristmill_redis_sink::Config as Redis;
use gristmill_smartengine::Lookback;

use crate::plan::{Plan, Stage, StageConfig};

/// What a new plan changes, in the order of its stages; empty if nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Stage by stage.
    pub stages: Vec<Change>,
    /// What a user may not expect of them.
    pub notes: Vec<String>,
}

/// What happens to one stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// `meta.name`.
    pub stage: String,
    /// What it takes.
    pub kind: ChangeKind,
}

/// What a change takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangeKind {
    /// Other transforms between two batches; the stage runs on.
    Swap,
    /// The stage stops after the write that is under way and starts at its stored position, with
    /// these keys changed.
    Restart(Vec<&'static str>),
    /// So many more or fewer copies share the partitions; those that are there run on.
    Scale {
        /// How many there were.
        from: u32,
        /// How many there are to be.
        to: u32,
    },
    /// A stage that was not there.
    Start,
    /// The stage is no longer there.
    Stop,
}

impl Changes {
    /// What `new` changes of `old` where topics and counts are embedded. Whether the pipeline is
    /// another is not looked at.
    pub fn between(old: &Plan, new: &Plan) -> Self {
        Self::compare(old, new, true)
    }

    /// The same where they are in Kafka and Redis. Whether the brokers are others is not looked at.
    pub(crate) fn on_a_cluster(old: &Plan, new: &Plan) -> Self {
        Self::compare(old, new, false)
    }

    fn compare(old: &Plan, new: &Plan, is_local: bool) -> Self {
        let mut changes = Self::default();
        let mut add = |stage: &Stage, kind| {
            changes.stages.push(Change {
                stage: stage.name.clone(),
                kind,
            });
        };
        let find = |plan: &Plan, name: &str| {
            let mut stages = plan.stages.iter();
            stages.find(|stage| stage.name == name).cloned()
        };
        let gone: Vec<&Stage> = old
            .stages
            .iter()
            .filter(|stage| find(new, &stage.name).is_none())
            .collect();
        let mut notes = Vec::new();
        for stage in &new.stages {
            let Some(before) = find(old, &stage.name) else {
                add(stage, ChangeKind::Start);
                let renamed = gone
                    .iter()
                    .find(|gone| gone.topic == stage.topic && gone.kind() == stage.kind());
                if let Some(gone) = renamed {
                    notes.push(format!(
                        "{} is new and {} is gone: positions and counts go by the name, so {} \
                         starts at its own position, or at the topic's beginning",
                        stage.name, gone.name, stage.name
                    ));
                }
                continue;
            };
            let Some(kind) = ChangeKind::between(&before, stage) else {
                continue;
            };
            if let ChangeKind::Restart(_) = kind {
                notes.extend(surprises((old, &before), (new, stage), is_local));
            }
            add(stage, kind);
        }
        gone.iter().for_each(|stage| add(stage, ChangeKind::Stop));
        changes.notes = notes;
        changes
    }

    /// As [`between`](Self::between), for plans of two files on a cluster each: other brokers
    /// restart every stage.
    pub fn of_files(old: &Plan, new: &Plan) -> Self {
        let mut changes = Self::on_a_cluster(old, new);
        let others = !old.manifest.is_on_cluster_of(&new.manifest);
        changes.restart_on_another(old, new, |_| others);
        changes
    }

    /// Make a restart of every change of the number of copies, where those that are there must
    /// share anew.
    pub(crate) fn restart_scaled(&mut self) {
        for change in &mut self.stages {
            if matches!(change.kind, ChangeKind::Scale { .. }) {
                change.kind = ChangeKind::Restart(vec!["replicas"]);
            }
        }
    }

    /// Make it a restart of every stage that is in both plans and for which the cluster
    /// `is_another`.
    pub(crate) fn restart_on_another(
        &mut self,
        old: &Plan,
        new: &Plan,
        is_another: impl Fn(&str) -> bool,
    ) {
        let cluster = match new.manifest.fluvio {
            Some(_) => "fluvio",
            None => "kafka",
        };
        for stage in new.stages.iter().filter(|stage| is_another(&stage.name)) {
            let change = self.stages.iter_mut().find(|c| c.stage == stage.name);
            match change {
                Some(change) => match &mut change.kind {
                    ChangeKind::Restart(keys) => keys.push(cluster),
                    kind @ ChangeKind::Swap => *kind = ChangeKind::Restart(vec![cluster]),
                    kind @ ChangeKind::Scale { .. } => {
                        *kind = ChangeKind::Restart(vec!["replicas", cluster]);
                    }
                    ChangeKind::Start | ChangeKind::Stop => {}
                },
                None if old.stages.iter().any(|s| s.name == stage.name) => {
                    self.stages.push(Change {
                        stage: stage.name.clone(),
                        kind: ChangeKind::Restart(vec![cluster]),
                    });
                }
                None => {}
            }
        }
    }

    /// Whether nothing is different.
    pub fn is_empty(&self) -> bool {
        self.stages.is_empty()
    }
}

/// Keys of a stage with other values, of those that need another leg; other transforms do so only
/// where they begin to matter to a source.
fn different(old: &Stage, new: &Stage) -> Vec<&'static str> {
    let (a, b) = (&old.entry, &new.entry);
    let section = match new.config {
        StageConfig::Sse(_) => "sse",
        StageConfig::Redis(_) => "redis",
    };
    [
        ("type", a.kind != b.kind),
        ("topic", a.topic != b.topic),
        ("consumer", a.consumer != b.consumer),
        ("producer", a.producer != b.producer),
        ("delivery", a.delivery != b.delivery),
        (section, a.section.value() != b.section.value()),
        // Only a leg that starts looks back in its topic.
        ("lookback", lookbacks(old) != lookbacks(new)),
        // A source marks its records for its transforms from its start on.
        ("transforms", !marks(old) && marks(new)),
    ]
    .into_iter()
    .filter_map(|(key, differs)| differs.then_some(key))
    .collect()
}

/// Whether the stage's records carry what their events are known by.
fn marks(stage: &Stage) -> bool {
    let dedupes = match &stage.config {
        StageConfig::Sse(config) => config.dedupe.is_some(),
        StageConfig::Redis(_) => false,
    };
    dedupes && !stage.steps.is_empty()
}

fn lookbacks(stage: &Stage) -> Vec<Option<Lookback>> {
    let lookbacks = stage.steps.iter().map(|step| step.lookback);
    lookbacks.filter(Option::is_some).collect()
}

/// What is allowed, and may not do what was meant.
fn surprises(
    (of, old): (&Plan, &Stage),
    (to, new): (&Plan, &Stage),
    is_local: bool,
) -> Vec<String> {
    let name = &new.name;
    let mut notes = Vec::new();
    if old.topic != new.topic {
        let (a, b) = (&old.topic, &new.topic);
        notes.push(format!(
            "{name}: topic `{a}` is now `{b}`: positions go by topic, so it starts in `{b}` where \
             it last was there, or as if it were new"
        ));
    }
    match (&old.config, &new.config) {
        (StageConfig::Redis(a), StageConfig::Redis(b)) => {
            let own = |plan: &Plan, config: &Redis| config.own_prefix(&plan.name, name).ok();
            let moved = match (own(of, a), own(to, b)) {
                (Some(a), Some(b)) if a != b && !is_local => Some((a, b)),
                _ => None,
            };
            let (c, d) = (&old.entry.consumer.id, &new.entry.consumer.id);
            if c != d && moved.is_none() {
                notes.push(format!(
                    "{name}: consumer group `{c}` is now `{d}`: positions live with the counts, so \
                     nothing is counted twice or left out; lag tools know only the new group from \
                     here on"
                ));
            }
            let keys = [
                ("`count`", a.count != b.count),
                ("`hash`", a.hash != b.hash),
                ("`window`", a.window != b.window),
            ];
            let keys = keys.into_iter().filter_map(|(key, is)| is.then_some(key));
            let keys = keys.collect::<Vec<_>>().join(" and ");
            if let Some((a, b)) = moved {
                let start = match new.entry.consumer.start {
                    Start::Beginning => {
                        "with `start: beginning` the whole topic is counted again, in the new place"
                    }
                    Start::End => {
                        "with `start: end` at the topic's end, and what is not counted by then is \
                         left out for good"
                    }
                };
                notes.push(format!(
                    "{name}: {keys} changed, and the position lives with the counts: in `{b}:…` from \
                     here on, no longer in `{a}:…`. Unless it was there before, it starts as a new \
                     sink does, {start}; what was counted stays in the old place"
                ));
            } else if a.count != b.count {
                notes.push(format!(
                    "{name}: `count` is another: records from here on count into the new keys, the \
                     old ones stay as they are"
                ));
            } else if a.window != b.window || (a.hash != b.hash && !is_local) {
                notes.push(format!(
                    "{name}: {keys} changed: records from here on count in the new place, what was \
                     counted stays in the old one"
                ));
            }
            if a.url != b.url {
                notes.push(format!(
                    "{name}: `url` is another: positions live with the counts, so in a Redis that \
                     does not hold them it counts again from where a new sink starts"
                ));
            }
        }
        (StageConfig::Sse(a), StageConfig::Sse(b)) if a.url != b.url => {
            notes.push(format!(
                "{name}: `url` is another: it goes on there after the last event id of the old \
                 stream"
            ));
        }
        _ => {}
    }
    notes
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for change in &self.stages {
            let end = if first { "" } else { "\n" };
            write!(f, "{end}{change}")?;
            first = false;
        }
        for note in &self.notes {
            write!(f, "\nnote: {note}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = &self.stage;
        match &self.kind {
            ChangeKind::Swap => write!(f, "{stage}: other transforms from the next batch on"),
            ChangeKind::Restart(keys) => write!(
                f,
                "{stage}: restarts at its stored position ({} changed)",
                keys.join(", ")
            ),
            ChangeKind::Scale { from, to } => {
                let copies = if *to == 1 { "copy" } else { "copies" };
                write!(f, "{stage}: {to} {copies} instead of {from}")
            }
            ChangeKind::Start => write!(f, "{stage}: starts"),
            ChangeKind::Stop => write!(f, "{stage}: stops"),
        }
    }
}

impl ChangeKind {
    /// What it takes for a stage to go from `old` to `new`; `None` if nothing is different.
    pub(crate) fn between(old: &Stage, new: &Stage) -> Option<Self> {
        let mut keys = different(old, new);
        let (from, to) = (old.entry.replicas, new.entry.replicas);
        let other_steps = old.steps != new.steps;
        if from != to && (!keys.is_empty() || other_steps) {
            keys.push("replicas");
        }
        if !keys.is_empty() {
            Some(Self::Restart(keys))
        } else if from != to {
            Some(Self::Scale { from, to })
        } else {
            other_steps.then_some(Self::Swap)
        }
    }

    /// In a word, for scripts.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Swap => "in-place",
            Self::Restart(_) => "restart",
            Self::Scale { .. } => "scale",
            Self::Start => "start",
            Self::Stop => "stop",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gristmill_manifest::{Manifest, NoVariables};

    /// The notes of a sink's change from one `redis:` section, without its url, to another.
    fn notes(start: &str, from: &str, to: &str) -> [Vec<String>; 2] {
        let plan = |section: &str| {
            let text = format!(
                "apiVersion: 0.1.0
meta: {{name: wikipedia, version: 0.1.0}}
topics: {{edits: {{partitions: 3}}}}
connectors:
  - meta:
      name: counts
      type: redis-sink
      version: 0.1.0
      topic: edits
      consumer: {{id: group, offset: {{start: {start}}}}}
    redis: {{url: redis://127.0.0.1:6379/0, {section}}}
"
            );
            let specs = crate::registry::specs();
            let loaded = Manifest::load_bytes("p.yaml", text.as_bytes(), &specs, &[], &NoVariables);
            let (manifest, _) = loaded.unwrap_or_else(|errors| panic!("{}", errors.render(false)));
            let sources = crate::module_sources("p.yaml".as_ref());
            Plan::new(manifest, &[], &sources, &mut |_| {}).unwrap()
        };
        let (old, new) = (plan(from), plan(to));
        [Changes::of_files(&old, &new), Changes::between(&old, &new)].map(|changes| changes.notes)
    }

    #[test]
    fn a_sink_whose_own_keys_move_is_told_to_lose_its_position() {
        let again = "it starts as a new sink does, with `start: beginning` the whole topic is \
                     counted again";
        let left_out = "with `start: end` at the topic's end, and what is not counted by then is \
                        left out for good";
        let plain = r#"count: "{value}""#;
        let tagged = r#"count: "{{wiki}}:{value}""#;
        let window = r#"count: "{{wiki}}:{value}", window: {size: 3m}"#;
        let hash = r#"count: "{value}", hash: types"#;
        for (from, to, keys) in [
            (plain, hash, "`hash` changed"),
            (hash, plain, "`hash` changed"),
            (hash, r#"count: "{value}", hash: kinds"#, "`hash` changed"),
            (plain, tagged, "`count` changed"),
            (tagged, window, "`window` changed"),
            (tagged, hash, "`count` and `hash` changed"),
        ] {
            for (start, expect) in [("beginning", again), ("end", left_out)] {
                let [cluster, local] = notes(start, from, to);
                assert!(
                    cluster.len() == 1 && cluster[0].contains(expect) && cluster[0].contains(keys),
                    "{from} to {to}: {cluster:?}"
                );
                assert!(
                    !cluster[0].contains("from here on count"),
                    "{from} to {to}: {cluster:?}"
                );
                // Embedded positions go by the name alone.
                assert!(
                    local.iter().all(|note| !note.contains("start:")),
                    "{from} to {to}: {local:?}"
                );
            }
        }
        let [cluster, _] = notes("beginning", plain, hash);
        assert!(
            cluster[0].contains("`gristmill:{types}:wikipedia/counts:…`")
                && cluster[0].contains("`gristmill:{wikipedia/counts}:…`"),
            "{cluster:?}"
        );
    }

    #[test]
    fn a_sink_whose_own_keys_stay_goes_on_in_the_new_place() {
        let slot = |name: &str| format!(r#"count: "{{value}}", hash: "{{types}}:{name}""#);
        for (from, to, expect) in [
            (slot("a"), slot("b"), "`hash` changed: records from here on"),
            (
                r#"count: "{value}""#.to_owned(),
                r#"count: "n:{value}""#.to_owned(),
                "`count` is another: records from here on",
            ),
            (
                r#"count: "{value}""#.to_owned(),
                r#"count: "{value}", window: {size: 3m}"#.to_owned(),
                "`window` changed: records from here on",
            ),
        ] {
            let [cluster, _] = notes("beginning", &from, &to);
            assert!(
                cluster.len() == 1 && cluster[0].contains(expect),
                "{from} to {to}: {cluster:?}"
            );
        }
    }
}
