//! A manifest as the runner takes it: validated, typed, variables filled in.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use serde_json::Value as Json;

use crate::places::Places;
use crate::redact::Redactions;
use crate::spec::Direction;

/// A pipeline: where its topics are, and the connectors that fill and drain them.
///
/// `Debug` and JSON show variables as they are written (`${{ secrets.NAME }}`), never what is
/// filled in.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Manifest {
    /// `meta.name`. For a single connector config it is the connector's.
    pub name: String,
    /// `meta.version`.
    pub version: String,
    /// How to reach Kafka; without `kafka` in the file it has no brokers, which suits only
    /// embedded topics.
    pub kafka: Kafka,
    /// How to reach Fluvio, if the topics are there instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fluvio: Option<Fluvio>,
    /// Every topic that a connector reads or writes.
    pub topics: BTreeMap<String, Topic>,
    /// What a running pipeline tells about itself, and where.
    pub metrics: Metrics,
    /// In the order of the file; names are distinct.
    pub connectors: Vec<Connector>,
    #[serde(skip)]
    pub(crate) redactions: Redactions,
    /// Of `kafka` and what is in it.
    #[serde(skip)]
    pub(crate) places: Places,
}

impl Manifest {
    /// The connector of this name.
    pub fn connector(&self, name: &str) -> Option<&Connector> {
        self.connectors
            .iter()
            .find(|connector| connector.name == name)
    }

    /// What must not appear in logs, status or errors: filled-in secrets, and passwords that the
    /// file itself holds.
    pub fn redactions(&self) -> &Redactions {
        &self.redactions
    }

    /// Where `key`, such as `kafka.tls.ca-file`, stands in the file, or else the nearest key
    /// around it; `None` without `kafka` in the file.
    pub fn kafka_place(&self, key: &str) -> Option<Place> {
        self.places.find(key)
    }

    /// Whether the topics of `other` are on the same cluster, reached in the same way.
    pub fn is_on_cluster_of(&self, other: &Self) -> bool {
        (&self.kafka, &self.fluvio) == (&other.kafka, &other.fluvio)
    }

    /// Let the files that the manifest names by relative paths count from `dir`, which is where
    /// the manifest is.
    pub fn resolve_files(&mut self, dir: &Path) {
        if let Some(tls) = &mut self.kafka.tls {
            let files = [&mut tls.ca_file, &mut tls.cert_file, &mut tls.key_file];
            for file in files.into_iter().flatten() {
                *file = dir.join(&file);
            }
        }
        for connector in &mut self.connectors {
            connector.section.resolve_files(dir);
        }
    }
}

/// How to reach Kafka.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Kafka {
    /// `host:port` of some brokers; empty without `kafka` in the file.
    pub brokers: Vec<String>,
    /// Whether and how connections are encrypted.
    pub tls: Option<KafkaTls>,
    /// The login.
    pub sasl: Option<KafkaSasl>,
    /// librdkafka's own properties, such as `socket.timeout.ms`.
    pub properties: BTreeMap<String, Text>,
}

/// How to reach Fluvio.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Fluvio {
    /// `host:port` of the cluster's controller (SC).
    pub endpoint: String,
}

/// TLS to the brokers; without a file it is this machine's CAs that are trusted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct KafkaTls {
    /// The CAs that are trusted.
    pub ca_file: Option<PathBuf>,
    /// The certificate that is shown to brokers.
    pub cert_file: Option<PathBuf>,
    /// Its private key.
    pub key_file: Option<PathBuf>,
    /// What protects the key.
    pub key_password: Option<Text>,
}

/// The login at the brokers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct KafkaSasl {
    /// `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.
    pub mechanism: String,
    /// The user.
    pub username: Text,
    /// The password.
    pub password: Text,
}

/// What a running pipeline tells about itself, and where.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Metrics {
    /// Where the web page, `/metrics` and probes are served; `None` for nowhere.
    pub listen: Option<SocketAddr>,
}

/// A topic that is made if it is missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Topic {
    /// How many; 1 unless said.
    pub partitions: u32,
    /// Copies of each partition; `None` leaves it to the cluster (`default.replication.factor`).
    pub replication_factor: Option<u16>,
    /// The topic's own configuration, such as `retention.ms`.
    pub config: BTreeMap<String, String>,
}

impl Default for Topic {
    fn default() -> Self {
        Self {
            partitions: 1,
            replication_factor: None,
            config: BTreeMap::new(),
        }
    }
}

/// What a crash may do to the records of a leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Delivery {
    /// Nothing: each has its effect once.
    #[default]
    ExactlyOnce,
    /// Repeat some: without transactions.
    AtLeastOnce,
}

/// A stage: one connector between the outside and a topic.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Connector {
    /// `meta.name`: distinct in the pipeline; `a-z`, `0-9`, `-`.
    pub name: String,
    /// `meta.type`, such as `sse-source`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `meta.version`.
    pub version: String,
    /// Follows from the type.
    pub direction: Direction,
    /// The topic that a source writes or a sink reads.
    pub topic: String,
    /// `meta.producer.delivery`, else the file's `delivery`, else exactly once.
    pub delivery: Delivery,
    /// A source's producer; all `None` for a sink.
    pub producer: Producer,
    /// A sink's consumer; for a source it is of no use.
    pub consumer: Consumer,
    /// Copies of a sink that run at once and share its topic's partitions; 1 unless said.
    pub replicas: u32,
    /// SmartModules in the order in which records go through them.
    pub transforms: Vec<Transform>,
    /// The connector's own settings.
    pub section: Section,
    /// Where it starts in the file, both from 1.
    pub span: Place,
}

/// A line and a column of the manifest, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Place {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

/// How a source writes its topic; `None` leaves it to the writer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Producer {
    /// How long a record may wait for company.
    pub linger: Option<Duration>,
    /// Bytes of a batch.
    pub batch_size: Option<u64>,
    /// `none`, `gzip`, `snappy`, `lz4` or `zstd`.
    pub compression: Option<String>,
}

/// Where a new sink starts in its topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// At the oldest record.
    #[default]
    Beginning,
    /// Behind the newest.
    End,
}

/// How a sink reads its topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Consumer {
    /// The consumer group; the connector's name unless said.
    pub id: String,
    /// Only these partitions, outside of the group's assignment; `None` for all.
    pub partitions: Option<Vec<i32>>,
    /// Where to start without a stored position; the beginning unless said.
    pub start: Start,
}

/// A SmartModule with its parameters.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Transform {
    /// `name@0.1.0`, `group/name@0.1.0`, or a path to a `.wasm` file.
    pub uses: String,
    /// Parameters; numbers and booleans are text here, as Fluvio has it.
    pub with: BTreeMap<String, Text>,
    /// Records to show the module before it starts.
    pub lookback: Option<Lookback>,
    /// What one call may take.
    pub limits: Limits,
    /// Where it starts in the file.
    #[serde(skip)]
    pub span: Place,
}

/// How far a module looks back when it starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Lookback {
    /// At most so many records.
    pub last: u64,
    /// None older than this.
    pub age: Option<Duration>,
}

/// What one call of a module may take; `None` leaves it to the host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Limits {
    /// Time of one call.
    pub time: Option<Duration>,
    /// Bytes of linear memory.
    pub memory: Option<u64>,
    /// Bytes that one call may give back.
    pub output: Option<u64>,
}

/// A text into which variables may have been filled. `Debug` and JSON show it as written; it
/// derefs to what it stands for, and has no `Display`, so that showing it takes a decision.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Text {
    pub(crate) value: String,
    pub(crate) written: Option<String>,
}

impl Text {
    /// The value as written in the file: fit to be shown.
    pub fn as_written(&self) -> &str {
        self.written.as_deref().unwrap_or(&self.value)
    }
}

impl From<&str> for Text {
    fn from(value: &str) -> Self {
        Self {
            value: value.to_owned(),
            written: None,
        }
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.value
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_written(), f)
    }
}

impl Serialize for Text {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_written())
    }
}

/// A connector's own settings, checked against its `Connector.toml`; defaults are not filled in,
/// the connector's `Config` does that. `Debug` and JSON show variables as written.
#[derive(Clone)]
pub struct Section {
    pub(crate) value: Json,
    pub(crate) written: Json,
    pub(crate) redactions: Redactions,
    pub(crate) places: Places,
    /// JSON pointers to the files that it names.
    pub(crate) files: Vec<String>,
}

impl Section {
    /// The settings, variables filled in: may hold secrets.
    pub fn value(&self) -> &Json {
        &self.value
    }

    /// The settings, variables as written: fit to be shown.
    pub fn as_written(&self) -> &Json {
        &self.written
    }

    /// Where `key`, such as `redis.tls.ca-file`, stands in the file, or else the nearest key around
    /// it; `None` for a section that is left out.
    pub fn place(&self, key: &str) -> Option<Place> {
        self.places.find(key)
    }

    fn resolve_files(&mut self, dir: &Path) {
        for pointer in &self.files {
            let Some(value) = self.value.pointer_mut(pointer) else {
                continue;
            };
            if let Some(path) = value.as_str() {
                *value = Json::from(dir.join(path).to_string_lossy().into_owned());
            }
        }
    }

    /// As the connector's config.
    ///
    /// # Errors
    /// What its `Deserialize` says, secrets blacked out.
    pub fn parse<C: serde::de::DeserializeOwned>(&self) -> Result<C, SectionError> {
        C::deserialize(&self.value)
            .map_err(|error| SectionError(self.redactions.apply(&error.to_string())))
    }
}

/// A section that its connector does not take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SectionError(String);

impl fmt::Debug for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.written, f)
    }
}

impl Serialize for Section {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.written.serialize(serializer)
    }
}
