//! What is different between two plans, and what it takes to go from one to the other.

use std::fmt;

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
    /// What `new` changes of `old`. Whether brokers or pipeline are others is not looked at.
    pub fn between(old: &Plan, new: &Plan) -> Self {
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
            let mut keys = different(&before, stage);
            let (from, to) = (before.entry.replicas, stage.entry.replicas);
            if from != to && (!keys.is_empty() || before.steps != stage.steps) {
                keys.push("replicas");
            }
            if !keys.is_empty() {
                notes.extend(surprises(&before, stage));
                add(stage, ChangeKind::Restart(keys));
            } else if from != to {
                add(stage, ChangeKind::Scale { from, to });
            } else if before.steps != stage.steps {
                add(stage, ChangeKind::Swap);
            }
        }
        gone.iter().for_each(|stage| add(stage, ChangeKind::Stop));
        changes.notes = notes;
        changes
    }

    /// As [`between`](Self::between), for plans of two files on a cluster each: other brokers
    /// restart every stage.
    pub fn of_files(old: &Plan, new: &Plan) -> Self {
        let mut changes = Self::between(old, new);
        if old.manifest.kafka != new.manifest.kafka {
            changes.restart_all(old, new);
        }
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

    /// Make it a restart of every stage that is in both plans: the cluster is another.
    pub(crate) fn restart_all(&mut self, old: &Plan, new: &Plan) {
        for stage in &new.stages {
            let change = self.stages.iter_mut().find(|c| c.stage == stage.name);
            match change {
                Some(change) => match &mut change.kind {
                    ChangeKind::Restart(keys) => keys.push("kafka"),
                    kind @ ChangeKind::Swap => *kind = ChangeKind::Restart(vec!["kafka"]),
                    kind @ ChangeKind::Scale { .. } => {
                        *kind = ChangeKind::Restart(vec!["replicas", "kafka"]);
                    }
                    ChangeKind::Start | ChangeKind::Stop => {}
                },
                None if old.stages.iter().any(|s| s.name == stage.name) => {
                    self.stages.push(Change {
                        stage: stage.name.clone(),
                        kind: ChangeKind::Restart(vec!["kafka"]),
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

/// Keys of a stage, other than its transforms, with other values.
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
    ]
    .into_iter()
    .filter_map(|(key, differs)| differs.then_some(key))
    .collect()
}

fn lookbacks(stage: &Stage) -> Vec<Option<Lookback>> {
    let lookbacks = stage.steps.iter().map(|step| step.lookback);
    lookbacks.filter(Option::is_some).collect()
}

/// What is allowed, and may not do what was meant.
fn surprises(old: &Stage, new: &Stage) -> Vec<String> {
    let name = &new.name;
    let mut notes = Vec::new();
    if old.topic != new.topic {
        let (a, b) = (&old.topic, &new.topic);
        notes.push(format!(
            "{name}: topic `{a}` is now `{b}`: positions go by topic, so it starts in `{b}` where \
             it last was there, or as if it were new"
        ));
    }
    let (a, b) = (&old.entry.consumer.id, &new.entry.consumer.id);
    if a != b && matches!(new.config, StageConfig::Redis(_)) {
        notes.push(format!(
            "{name}: consumer group `{a}` is now `{b}`: positions live with the counts, so nothing \
             is counted twice or left out; lag tools know only the new group from here on"
        ));
    }
    match (&old.config, &new.config) {
        (StageConfig::Redis(a), StageConfig::Redis(b)) if a.count != b.count => {
            notes.push(format!(
                "{name}: `count` is another: records from here on count into the new keys, the old \
                 ones stay as they are"
            ));
        }
        (StageConfig::Redis(a), StageConfig::Redis(b)) if a.url != b.url => {
            notes.push(format!(
                "{name}: `url` is another: positions live with the counts, so in a Redis that does \
                 not hold them it counts again from where a new sink starts"
            ));
        }
        (StageConfig::Redis(a), StageConfig::Redis(b))
            if a.hash != b.hash || a.window != b.window =>
        {
            notes.push(format!(
                "{name}: `hash` or `window` is another: records from here on count in the new \
                 place, what was counted stays in the old one"
            ));
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
