//! What must be there, what is there, and the difference by event id.
//!
//! The expected list is the generator's own. The topics are read by Kafka's reference client
//! (`ConsoleConsumer`, read_committed) and Redis through sockets of ours, so that the judge shares
//! no code with what is judged.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hasher};

use anyhow::{Context, Result, ensure};
use gristmill_replay::{Event, Generator, GeneratorOptions, Tally};

use super::console::{self, Line};
use super::resp::Client;
use crate::cluster::Cluster;

/// Differences of a kind that are told one by one.
const TOLD_MAX: usize = 10;

/// What a run must come to.
pub(super) struct Expected {
    /// By the hash of an event's data.
    data: HashMap<u64, Wanted>,
    /// Event id (its hash) → index.
    ids: HashMap<u64, u64>,
    /// Events in the topic: all but canaries.
    pub(super) records: u64,
    pub(super) tally: Tally,
}

struct Wanted {
    index: u64,
    malformed: bool,
    /// Malformed events may have the same data.
    times: u32,
}

/// What is wrong, if anything is.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    pub(super) records: u64,
    pub(super) missing: u64,
    pub(super) doubled: u64,
    /// Not what the generator made: other bytes, another key, or another event altogether.
    pub(super) wrong: u64,
    /// Keys in Redis that are not what they should be.
    pub(super) counts_wrong: u64,
    pub(super) counted: i64,
    pub(super) letters: u64,
    pub(super) letters_wrong: u64,
    /// One line a difference, as far as they are told.
    pub(super) differences: Vec<String>,
}

/// The keys of an event that the judge reads.
#[derive(serde::Deserialize)]
struct Fields {
    id: Option<i64>,
    meta: Meta,
}

#[derive(serde::Deserialize)]
struct Meta {
    id: String,
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

impl Expected {
    /// The first `events` events of a generator.
    pub(super) fn of(options: &GeneratorOptions, events: u64) -> Result<Self> {
        let mut generator = Generator::new(options.clone());
        let mut event = Event::default();
        let mut expected = Self {
            data: HashMap::with_capacity(events as usize),
            ids: HashMap::with_capacity(events as usize),
            records: 0,
            tally: Tally::default(),
        };
        for index in 0..events {
            generator.fill(&mut event);
            expected.tally.add(&event);
            if event.canary {
                continue;
            }
            expected.records += 1;
            if !event.malformed {
                let fields: Fields = serde_json::from_str(&event.data)?;
                expected.ids.insert(hash(fields.meta.id.as_bytes()), index);
            }
            let wanted = Wanted {
                index,
                malformed: event.malformed,
                times: 1,
            };
            expected
                .data
                .entry(hash(event.data.as_bytes()))
                .and_modify(|wanted| wanted.times += 1)
                .or_insert(wanted);
        }
        Ok(expected)
    }

    /// Compare topics and counts.
    pub(super) fn judge(&self, cluster: &Cluster, topic: &str) -> Result<Verdict> {
        let mut verdict = Verdict::default();
        let malformed = self.judge_topic(cluster, topic, &mut verdict)?;
        self.judge_letters(cluster, topic, malformed, &mut verdict)?;
        self.judge_counts(cluster, &mut verdict)?;
        Ok(verdict)
    }

    /// Returns place and data of what the sink must have put into the dead-letter topic.
    fn judge_topic(
        &self,
        cluster: &Cluster,
        topic: &str,
        verdict: &mut Verdict,
    ) -> Result<HashMap<(i32, i64), u64>> {
        let mut found: HashMap<u64, u32> = HashMap::with_capacity(self.data.len());
        let mut malformed = HashMap::new();
        console::read(cluster, topic, self.records, &mut |line| {
            verdict.records += 1;
            let data = hash(line.value);
            let Some(wanted) = self.data.get(&data) else {
                verdict.wrong += 1;
                return verdict.tell(|| format!("wrong: {}", self.describe(line)));
            };
            let times = found.entry(data).or_default();
            *times += 1;
            if *times > wanted.times {
                verdict.doubled += 1;
                verdict.tell(|| format!("doubled: {}", self.describe(line)));
            }
            if wanted.malformed {
                malformed.insert((line.partition, line.offset), data);
            } else if !key_fits(line) {
                verdict.wrong += 1;
                let key = String::from_utf8_lossy(line.key);
                verdict.tell(|| format!("wrong key {key:?}: {}", self.describe(line)));
            }
        })?;
        for (data, wanted) in &self.data {
            let times = found.get(data).copied().unwrap_or_default();
            if times < wanted.times {
                verdict.missing += u64::from(wanted.times - times);
                verdict.tell(|| format!("missing: event {}", wanted.index));
            }
        }
        Ok(malformed)
    }

    /// The sink's rejects: each once, by the place that it names, with the data that is there.
    fn judge_letters(
        &self,
        cluster: &Cluster,
        topic: &str,
        mut malformed: HashMap<(i32, i64), u64>,
        verdict: &mut Verdict,
    ) -> Result<()> {
        let letters = format!("{topic}.dead-letter");
        let mut seen = HashSet::new();
        console::read(cluster, &letters, self.tally.malformed, &mut |line| {
            verdict.letters += 1;
            let place = line.origin();
            let fits =
                place.is_some_and(|place| malformed.remove(&place) == Some(hash(line.value)));
            if !fits {
                verdict.letters_wrong += 1;
                let again = place.is_some_and(|place| seen.contains(&place));
                let what = if again {
                    "twice"
                } else {
                    "of no malformed event"
                };
                verdict.tell(|| format!("dead letter {what}: {place:?}"));
            }
            seen.extend(place);
        })?;
        verdict.letters_wrong += malformed.len() as u64;
        for place in malformed.keys() {
            verdict.tell(|| format!("no dead letter of {place:?}"));
        }
        Ok(())
    }

    fn judge_counts(&self, cluster: &Cluster, verdict: &mut Verdict) -> Result<()> {
        let counts = counts(cluster.redis_port().context("the cluster has no Redis")?)?;
        verdict.counted = counts.values().sum();
        let names: HashSet<&String> = counts.keys().chain(self.tally.by_type.keys()).collect();
        for name in names {
            let expected = self.tally.by_type.get(name).copied().unwrap_or_default();
            let counted = counts.get(name).copied().unwrap_or_default();
            if i64::try_from(expected) != Ok(counted) {
                verdict.counts_wrong += 1;
                verdict.tell(|| format!("count of {name:?}: {counted}, should be {expected}"));
            }
        }
        Ok(())
    }

    /// An event by its id, where there is one.
    fn describe(&self, line: &Line<'_>) -> String {
        let id = serde_json::from_slice::<Fields>(line.value).map(|fields| fields.meta.id);
        let index = id
            .as_ref()
            .ok()
            .and_then(|id| self.ids.get(&hash(id.as_bytes())));
        let mut text = format!("partition {} offset {}", line.partition, line.offset);
        if let Ok(id) = &id {
            let _ = write!(text, ", meta.id {id}");
        }
        match index {
            Some(index) => text + &format!(", event {index}"),
            None => text + ", no event of this run",
        }
    }
}

impl Verdict {
    fn tell(&mut self, difference: impl FnOnce() -> String) {
        let difference = difference();
        let kind = |text: &str| text.split([':', ' ']).next().map(str::to_owned);
        let told = self.differences.iter();
        if told.filter(|told| kind(told) == kind(&difference)).count() < TOLD_MAX {
            self.differences.push(difference);
        }
    }

    /// Nothing is missing, doubled or wrong.
    pub(super) fn is_clean(&self) -> bool {
        [
            self.missing,
            self.doubled,
            self.wrong,
            self.counts_wrong,
            self.letters_wrong,
        ]
        .iter()
        .all(|wrong| *wrong == 0)
    }
}

/// The record's key is the event's own `id`, as text; none where the event has none.
fn key_fits(line: &Line<'_>) -> bool {
    serde_json::from_slice::<Fields>(line.value).is_ok_and(|fields| match fields.id {
        Some(id) => line.key == id.to_string().as_bytes(),
        None => line.key == b"null",
    })
}

/// Everything in Redis that is not the sink's own.
pub(super) fn counts(port: u16) -> Result<BTreeMap<String, i64>> {
    let mut client = Client::connect(port)?;
    let mut counts = BTreeMap::new();
    for key in client.call(&[b"KEYS", b"*"])?.list()? {
        let key = key.text()?;
        if key.starts_with("gristmill:") {
            continue;
        }
        let value = client.call(&[b"GET", key.as_bytes()])?.text()?;
        let value = value
            .parse()
            .with_context(|| format!("{key:?} holds {value:?}"))?;
        ensure!(value >= 0, "{key:?} holds {value}");
        counts.insert(key, value);
    }
    Ok(counts)
}
