//! Where topics and counts live: a Kafka or Fluvio cluster with Redis, or a directory.

use std::collections::BTreeMap;
use std::path::Path;

use gristmill_counter::WindowCounts;
use gristmill_flow::Connector;
use gristmill_kafka_topic::{KafkaConfig, Sasl, Security, Tls};
use gristmill_local_topic::LocalLog;
use gristmill_manifest::{KafkaTls, Manifest, Place};
use gristmill_redis_sink::{ClosedCursor, CountReader, RedisSink};
use gristmill_tls::Files;

use crate::plan::{PlanError, config, wrong};

/// The directory of embedded topics and counts, beside the pipeline file, unless another is named.
pub const LOCAL_DIR: &str = ".gristmill";

/// Where topics and counts live.
#[derive(Debug, Clone)]
pub enum Backend {
    /// A Kafka or Redpanda cluster; counts in the Redis that the sink names.
    Kafka(KafkaConfig),
    /// A Fluvio cluster; counts as with Kafka.
    #[cfg(feature = "fluvio")]
    Fluvio(gristmill_fluvio_topic::FluvioConfig),
    /// A directory with embedded topics and counts.
    Local(LocalLog),
}

/// Why a backend cannot be opened, or asked.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// Embedded topics or counts.
    #[error(transparent)]
    Local(#[from] gristmill_local_topic::LocalError),
    /// The counts in Redis.
    #[error(transparent)]
    Redis(#[from] gristmill_redis_sink::ReadError),
    /// A sink's section.
    #[error(transparent)]
    Section(#[from] PlanError),
    /// Neither brokers nor `--local`.
    #[error(
        "no brokers: add `kafka: {{brokers: [127.0.0.1:9092]}}` to the file, or run with --local"
    )]
    NoBrokers,
    /// The file names a Fluvio cluster, and this build knows none.
    #[error(
        "topics on Fluvio are not in this build of gristmill: build it with `cargo build --release \
         --features fluvio`"
    )]
    NoFluvio,
    /// A topic of the file that Fluvio cannot have.
    #[error("{0}")]
    Fluvio(String),
    /// How to reach Kafka.
    #[error("{error}")]
    Kafka {
        /// What is wrong.
        error: gristmill_kafka_topic::ConfigError,
        /// Where in the file, if it is in the file.
        place: Option<Place>,
    },
}

impl BackendError {
    /// The process that has the directory, where that is what is wrong and it is known.
    pub fn holder(&self) -> Option<u32> {
        match self {
            Self::Local(gristmill_local_topic::LocalError::InUse { pid, .. }) => *pid,
            _ => None,
        }
    }

    /// Where in the file it is, if it is in the file.
    pub fn place(&self) -> Option<Place> {
        match self {
            Self::Kafka { place, .. } => *place,
            Self::Section(error) => error.place(),
            _ => None,
        }
    }
}

/// What the sinks of a pipeline have counted, as far as it was asked for.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Counted {
    /// Whether some sink counts in windows.
    pub has_windows: bool,
    /// The counts of all sinks by key.
    pub counts: BTreeMap<String, i64>,
    /// Every window of every sink that is open, or closed and kept.
    pub windows: Vec<Window>,
    /// Records that came too late for their window, by key.
    pub late: BTreeMap<String, i64>,
}

impl Backend {
    /// The cluster that `manifest` names, certificates read and checked; asks no broker.
    ///
    /// # Errors
    /// [`BackendError::NoBrokers`], [`BackendError::Kafka`], [`BackendError::NoFluvio`] and
    /// [`BackendError::Fluvio`].
    pub fn cluster(manifest: &Manifest) -> Result<Self, BackendError> {
        match &manifest.fluvio {
            Some(_) => Self::fluvio(manifest),
            None => Self::kafka(manifest),
        }
    }

    #[cfg(not(feature = "fluvio"))]
    fn fluvio(_manifest: &Manifest) -> Result<Self, BackendError> {
        Err(BackendError::NoFluvio)
    }

    #[cfg(feature = "fluvio")]
    fn fluvio(manifest: &Manifest) -> Result<Self, BackendError> {
        crate::fluvio::config(manifest).map(Self::Fluvio)
    }

    fn kafka(manifest: &Manifest) -> Result<Self, BackendError> {
        let kafka = &manifest.kafka;
        if kafka.brokers.is_empty() {
            return Err(BackendError::NoBrokers);
        }
        let wrong = |error: gristmill_kafka_topic::ConfigError| BackendError::Kafka {
            place: error.key().and_then(|key| manifest.kafka_place(&key)),
            error,
        };
        let mut properties = security(kafka).properties().map_err(wrong)?;
        let by_hand = kafka.properties.iter();
        properties.extend(by_hand.map(|(k, v)| (k.clone(), v.to_string())));
        let config = KafkaConfig {
            brokers: kafka.brokers.clone(),
            client_id: format!("gristmill-{}", manifest.name),
            properties,
        };
        config.validate().map_err(wrong)?;
        Ok(Self::Kafka(config))
    }

    /// Embedded topics and counts in `dir`, made if need be.
    ///
    /// # Errors
    /// When the directory cannot be used, or another process uses it.
    pub fn local(dir: &Path) -> Result<Self, BackendError> {
        Ok(Self::Local(LocalLog::open(dir)?))
    }
}

fn security(kafka: &gristmill_manifest::Kafka) -> Security {
    let tls = |tls: &KafkaTls| Tls {
        files: Files {
            ca_file: tls.ca_file.clone(),
            cert_file: tls.cert_file.clone(),
            key_file: tls.key_file.clone(),
        },
        key_password: tls.key_password.as_deref().map(str::to_owned),
    };
    Security {
        tls: kafka.tls.as_ref().map(tls),
        sasl: kafka.sasl.as_ref().map(|sasl| Sasl {
            mechanism: sasl.mechanism.clone(),
            username: (*sasl.username).to_owned(),
            password: (*sasl.password).to_owned(),
        }),
    }
}

/// Reads the running counts of a plan's sinks, wherever they are.
pub struct CountStore {
    stores: Vec<Stored>,
    /// Closed windows that were read and not yet told, because the call was given up.
    closed: Vec<Window>,
}

/// What one sink has stored.
struct Stored {
    connector: String,
    windows: bool,
    counts: Counts,
}

enum Counts {
    Redis {
        reader: Box<CountReader>,
        seen: Option<ClosedCursor>,
    },
    Local {
        log: LocalLog,
        pipeline: String,
        /// Windows that end by then were told.
        seen: Option<i64>,
    },
}

/// A window of one sink.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Window {
    /// The sink, `meta.name`.
    pub sink: String,
    /// When it starts, milliseconds since the epoch.
    pub start: i64,
    /// When it ends; an event of this time is in the next one.
    pub end: i64,
    /// Whether it is final.
    pub closed: bool,
    /// Its counts by key.
    pub counts: BTreeMap<String, i64>,
}

impl Window {
    fn of(sink: &str, window: WindowCounts) -> Self {
        Self {
            sink: sink.to_owned(),
            start: window.start_ms,
            end: window.end_ms,
            closed: window.closed,
            counts: window.counts,
        }
    }
}

impl CountStore {
    /// A reader for the counts of every sink of `manifest`. Connects when it is first asked.
    ///
    /// # Errors
    /// A sink's section that makes no sense.
    pub fn open(manifest: &Manifest, backend: &Backend) -> Result<Self, BackendError> {
        let mut stores = Vec::new();
        for entry in manifest
            .connectors
            .iter()
            .filter(|entry| entry.kind == RedisSink::TYPE)
        {
            let config = config::<RedisSink>(entry)?;
            let counts = match backend {
                Backend::Local(log) => Counts::Local {
                    log: log.clone(),
                    pipeline: manifest.name.clone(),
                    seen: None,
                },
                _ => Counts::Redis {
                    reader: Box::new(
                        CountReader::new(&manifest.name, &entry.name, &config)
                            .map_err(|error| wrong(entry, &error.key(), &error))?,
                    ),
                    seen: None,
                },
            };
            stores.push(Stored {
                connector: entry.name.clone(),
                windows: config.window.is_some(),
                counts,
            });
        }
        Ok(Self {
            stores,
            closed: Vec::new(),
        })
    }

    /// The counts of all sinks by key; sinks that count into the same key share it.
    ///
    /// # Errors
    /// When a store cannot be asked.
    pub async fn counts(&mut self) -> Result<BTreeMap<String, i64>, BackendError> {
        let mut all = BTreeMap::new();
        for store in &mut self.stores {
            all.extend(match &mut store.counts {
                Counts::Redis { reader, .. } => reader.counts().await?,
                Counts::Local { log, pipeline, .. } => log.counts(pipeline, &store.connector)?,
            });
        }
        Ok(all)
    }

    /// The running counts, or instead of them what was counted `in_windows`.
    ///
    /// # Errors
    /// When a store cannot be asked.
    pub async fn counted(&mut self, in_windows: bool) -> Result<Counted, BackendError> {
        let mut counted = Counted {
            has_windows: self.has_windows(),
            ..Counted::default()
        };
        if in_windows {
            counted.windows = self.windows().await?;
            counted.late = self.late().await?;
        } else {
            counted.counts = self.counts().await?;
        }
        Ok(counted)
    }

    /// Whether there is a sink that counts.
    pub fn has_sinks(&self) -> bool {
        !self.stores.is_empty()
    }

    /// Whether some sink counts in windows.
    pub fn has_windows(&self) -> bool {
        self.stores.iter().any(|store| store.windows)
    }

    /// Every window of every sink that is open, or closed and kept.
    ///
    /// # Errors
    /// When a store cannot be asked.
    pub async fn windows(&mut self) -> Result<Vec<Window>, BackendError> {
        let mut all = Vec::new();
        for store in self.stores.iter_mut().filter(|store| store.windows) {
            let windows = match &mut store.counts {
                Counts::Redis { reader, .. } => reader.windows().await?,
                Counts::Local { log, pipeline, .. } => {
                    log.windows(pipeline, &store.connector, i64::MIN)?
                }
            };
            let windows = windows.into_iter();
            all.extend(windows.map(|window| Window::of(&store.connector, window)));
        }
        Ok(all)
    }

    /// Windows that have closed since the last call; none at the first one. Cancel-safe: what a
    /// dropped call has read is told by the next one.
    ///
    /// # Errors
    /// When a store cannot be asked.
    pub async fn closed(&mut self) -> Result<Vec<Window>, BackendError> {
        for store in self.stores.iter_mut().filter(|store| store.windows) {
            let closed = match &mut store.counts {
                Counts::Redis { reader, seen } => reader.closed_since(seen).await?,
                Counts::Local {
                    log,
                    pipeline,
                    seen,
                } => {
                    let edge = log.windows_closed(pipeline, &store.connector)?;
                    let edge = edge.unwrap_or(i64::MIN);
                    let windows = match seen.replace(edge) {
                        Some(before) if before < edge => {
                            log.windows(pipeline, &store.connector, before)?
                        }
                        _ => Vec::new(),
                    };
                    // One may have closed between the two readings: it is told next time.
                    let told = |window: &WindowCounts| window.end_ms <= edge;
                    windows.into_iter().filter(told).collect()
                }
            };
            let closed = closed.into_iter();
            self.closed
                .extend(closed.map(|window| Window::of(&store.connector, window)));
        }
        Ok(std::mem::take(&mut self.closed))
    }

    /// Records of all sinks that came too late for their window, by key.
    ///
    /// # Errors
    /// When a store cannot be asked.
    pub async fn late(&mut self) -> Result<BTreeMap<String, i64>, BackendError> {
        let mut all = BTreeMap::new();
        for store in self.stores.iter_mut().filter(|store| store.windows) {
            let late = match &mut store.counts {
                Counts::Redis { reader, .. } => reader.late().await?,
                Counts::Local { log, pipeline, .. } => log.late(pipeline, &store.connector)?,
            };
            for (key, records) in late {
                *all.entry(key).or_insert(0) += records;
            }
        }
        Ok(all)
    }
}
