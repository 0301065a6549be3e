//! Where topics and counts live: a Kafka cluster with Redis, or a directory.

use std::collections::BTreeMap;
use std::path::Path;

use gristmill_flow::Connector;
use gristmill_kafka_topic::KafkaConfig;
use gristmill_local_topic::LocalLog;
use gristmill_manifest::Manifest;
use gristmill_redis_sink::{CountReader, RedisSink};

use crate::plan::{PlanError, config};

/// The directory of embedded topics and counts, beside the pipeline file, unless another is named.
pub const LOCAL_DIR: &str = ".gristmill";

/// Where topics and counts live.
#[derive(Debug, Clone)]
pub enum Backend {
    /// A Kafka or Redpanda cluster; counts in the Redis that the sink names.
    Kafka(KafkaConfig),
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
    /// A sink's settings.
    #[error(transparent)]
    Config(#[from] gristmill_redis_sink::ConfigError),
    /// A sink's section.
    #[error(transparent)]
    Section(#[from] PlanError),
    /// Neither brokers nor `--local`.
    #[error(
        "no brokers: add `kafka: {{brokers: [127.0.0.1:9092]}}` to the file, or run with --local"
    )]
    NoBrokers,
}

impl Backend {
    /// The cluster that `manifest` names.
    ///
    /// # Errors
    /// [`BackendError::NoBrokers`].
    pub fn kafka(manifest: &Manifest) -> Result<Self, BackendError> {
        let kafka = &manifest.kafka;
        if kafka.brokers.is_empty() {
            return Err(BackendError::NoBrokers);
        }
        let properties = kafka
            .properties
            .iter()
            .map(|(k, v)| (k.clone(), v.to_string()));
        Ok(Self::Kafka(KafkaConfig {
            brokers: kafka.brokers.clone(),
            client_id: format!("gristmill-{}", manifest.name),
            properties: properties.collect(),
        }))
    }

    /// Embedded topics and counts in `dir`, made if need be.
    ///
    /// # Errors
    /// When the directory cannot be used, or another process uses it.
    pub fn local(dir: &Path) -> Result<Self, BackendError> {
        Ok(Self::Local(LocalLog::open(dir)?))
    }
}

/// Reads the running counts of a plan's sinks, wherever they are.
pub struct CountStore(Vec<Counts>);

enum Counts {
    Redis(Box<CountReader>),
    Local {
        log: LocalLog,
        pipeline: String,
        connector: String,
    },
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
            stores.push(match backend {
                Backend::Kafka(_) => Counts::Redis(Box::new(CountReader::new(
                    &manifest.name,
                    &entry.name,
                    &config,
                )?)),
                Backend::Local(log) => Counts::Local {
                    log: log.clone(),
                    pipeline: manifest.name.clone(),
                    connector: entry.name.clone(),
                },
            });
        }
        Ok(Self(stores))
    }

    /// The counts of all sinks by key; sinks that count into the same key share it.
    ///
    /// # Errors
    /// When a store cannot be asked.
    pub async fn counts(&mut self) -> Result<BTreeMap<String, i64>, BackendError> {
        let mut all = BTreeMap::new();
        for store in &mut self.0 {
            all.extend(match store {
                Counts::Redis(reader) => reader.counts().await?,
                Counts::Local {
                    log,
                    pipeline,
                    connector,
                } => log.counts(pipeline, connector)?,
            });
        }
        Ok(all)
    }
}
