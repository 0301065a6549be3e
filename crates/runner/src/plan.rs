//! A manifest with everything made that can fail before a broker is asked: typed connector
//! configs, built and compiled SmartModules.

use std::path::PathBuf;

use gristmill_flow::{Connector, NoTail};
use gristmill_manifest::{Connector as ConnectorEntry, Manifest};
use gristmill_redis_sink::RedisSink;
use gristmill_smartbuild::{BuildError, Sources};
use gristmill_smartengine::{Chain, Engine, EngineError, EngineOptions, Limits, Lookback, Step};

/// The source as a connector; what it does not depend on is the topic it looks back into.
pub(crate) type SseSource = gristmill_sse_source::SseSource<NoTail>;

/// A pipeline that is ready to be started.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The pipeline's name.
    pub name: String,
    /// The manifest it was made from.
    pub manifest: Manifest,
    /// The stages, in the manifest's order.
    pub stages: Vec<Stage>,
}

/// One connector of the pipeline with its typed config.
#[derive(Debug, Clone)]
pub struct Stage {
    /// `meta.name`.
    pub name: String,
    /// `meta.topic`.
    pub topic: String,
    /// The connector's own section.
    pub config: StageConfig,
    /// The rest of the connector's entry: producer, consumer, delivery.
    pub entry: ConnectorEntry,
    /// The transforms, compiled; a chain with state of its own is made of them for each run.
    pub steps: Vec<Step>,
}

/// A connector's own section, typed.
#[derive(Debug, Clone)]
pub enum StageConfig {
    /// `sse-source`.
    Sse(<SseSource as Connector>::Config),
    /// `redis-sink`.
    Redis(<RedisSink as Connector>::Config),
}

/// Why a manifest cannot become a plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// A connector's section is well-formed and still makes no sense.
    #[error("{connector}: {reason}")]
    Config {
        /// `meta.name`.
        connector: String,
        /// What is wrong, naming the key.
        reason: String,
    },
    /// `--only` names a stage that is not there.
    #[error("no stage `{name}` in this pipeline; it has: {there}")]
    NoSuchStage {
        /// The name asked for.
        name: String,
        /// The names that are there.
        there: String,
    },
    /// A SmartModule cannot be found or built.
    #[error("{connector}: transforms: {error}")]
    Module {
        /// `meta.name`.
        connector: String,
        /// What is wrong.
        #[source]
        error: BuildError,
    },
    /// SmartModules cannot run on this machine.
    #[error("SmartModules cannot run here: {0}")]
    Sandbox(#[source] EngineError),
    /// A SmartModule cannot be loaded, or refuses its parameters.
    #[error("{connector}: transforms: {error}")]
    Engine {
        /// `meta.name`.
        connector: String,
        /// What is wrong.
        #[source]
        error: EngineError,
    },
}

impl Plan {
    /// Type the configs of `manifest` and build its SmartModules from `sources`, saying so through
    /// `progress` where that takes long. `only` keeps the named stages; empty keeps all.
    ///
    /// # Errors
    /// The first thing that is wrong; see [`PlanError`].
    pub fn new(
        manifest: Manifest,
        only: &[String],
        sources: &Sources,
        progress: &mut dyn FnMut(&str),
    ) -> Result<Self, PlanError> {
        for name in only {
            if !manifest
                .connectors
                .iter()
                .any(|connector| connector.name == *name)
            {
                let there: Vec<&str> = manifest
                    .connectors
                    .iter()
                    .map(|connector| connector.name.as_str())
                    .collect();
                return Err(PlanError::NoSuchStage {
                    name: name.clone(),
                    there: there.join(", "),
                });
            }
        }
        let options = EngineOptions {
            cache_dir: cache_dir(),
            ..EngineOptions::default()
        };
        let engine = Engine::new(options).map_err(PlanError::Sandbox)?;
        let mut stages = Vec::new();
        for entry in &manifest.connectors {
            if only.is_empty() || only.contains(&entry.name) {
                stages.push(stage(entry, &engine, sources, progress)?);
            }
        }
        Ok(Self {
            name: manifest.name.clone(),
            manifest,
            stages,
        })
    }
}

impl Stage {
    /// `meta.type`.
    pub fn kind(&self) -> &'static str {
        match self.config {
            StageConfig::Sse(_) => SseSource::TYPE,
            StageConfig::Redis(_) => RedisSink::TYPE,
        }
    }
}

fn stage(
    entry: &ConnectorEntry,
    engine: &Engine,
    sources: &Sources,
    progress: &mut dyn FnMut(&str),
) -> Result<Stage, PlanError> {
    let config = match entry.kind.as_str() {
        SseSource::TYPE => StageConfig::Sse(config::<SseSource>(entry)?),
        RedisSink::TYPE => StageConfig::Redis(config::<RedisSink>(entry)?),
        other => {
            return Err(PlanError::Config {
                connector: entry.name.clone(),
                reason: format!("no connector of type `{other}` in this build"),
            });
        }
    };
    let steps = steps(entry, engine, sources, progress)?;
    Ok(Stage {
        name: entry.name.clone(),
        topic: entry.topic.clone(),
        config,
        entry: entry.clone(),
        steps,
    })
}

/// The section of `entry` as the config of connector `C`.
pub(crate) fn config<C: Connector>(entry: &ConnectorEntry) -> Result<C::Config, PlanError> {
    entry.section.parse().map_err(|error| PlanError::Config {
        connector: entry.name.clone(),
        reason: error.to_string(),
    })
}

/// Build and load the connector's transforms, and try their parameters: a module that refuses them
/// is a mistake in the file, not in a record.
fn steps(
    entry: &ConnectorEntry,
    engine: &Engine,
    sources: &Sources,
    progress: &mut dyn FnMut(&str),
) -> Result<Vec<Step>, PlanError> {
    let engine_error = |error: EngineError| PlanError::Engine {
        connector: entry.name.clone(),
        error,
    };
    let mut steps = Vec::new();
    for transform in &entry.transforms {
        let built = sources
            .resolve(&transform.uses, progress)
            .map_err(|error| PlanError::Module {
                connector: entry.name.clone(),
                error,
            })?;
        steps.push(Step {
            module: engine
                .load(&built.name, &built.wasm)
                .map_err(engine_error)?,
            params: transform
                .with
                .iter()
                .map(|(k, v)| (k.clone(), v.to_string()))
                .collect(),
            lookback: transform.lookback.as_ref().map(|lookback| Lookback {
                last: usize::try_from(lookback.last).unwrap_or(usize::MAX),
                age: lookback.age,
            }),
            limits: limits(&transform.limits),
        });
    }
    if !steps.is_empty() {
        Chain::new(steps.clone()).map_err(engine_error)?;
    }
    Ok(steps)
}

fn limits(asked: &gristmill_manifest::Limits) -> Limits {
    let default = Limits::default();
    let bytes = |asked: Option<u64>, default: usize| {
        asked.map_or(default, |bytes| {
            usize::try_from(bytes).unwrap_or(usize::MAX)
        })
    };
    Limits {
        call_time_ms: asked
            .time
            .map_or(default.call_time_ms, |time| time.as_millis() as u64),
        memory_bytes: bytes(asked.memory, default.memory_bytes),
        output_bytes: bytes(asked.output, default.output_bytes),
    }
}

/// Compiled modules are kept in the user's cache directory, which only the user can write.
fn cache_dir() -> Option<PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))?;
    base.is_absolute().then(|| base.join("gristmill"))
}
