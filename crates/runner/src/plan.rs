//! A manifest with everything made that can fail before a broker is asked: typed connector
//! configs, built and compiled SmartModules.

use gristmill_flow::{Connector, NoTail};
use gristmill_manifest::{Connector as ConnectorEntry, Manifest, Place};
use gristmill_redis_sink::RedisSink;
use gristmill_smartbuild::{BuildError, Sources};
use gristmill_smartengine::{Chain, Engine, EngineError, EngineOptions, Limits, Lookback, Step};

use crate::compiled_modules_dir;

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
    /// The stages that it was asked to keep; empty for all.
    only: Vec<String>,
    engine: Engine,
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

/// One of the legs that a stage runs as: a copy of a sink, or one of a source's streams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    /// Distinct in the stage, and the same as long as the part is: a copy's number from 1, or the
    /// stream's name; empty for a source's only stream, whose position goes by the stage alone.
    pub(crate) name: String,
    /// From 0.
    pub(crate) index: u32,
    /// How many parts the stage has.
    pub(crate) of: u32,
}

/// A connector's own section, typed.
#[derive(Debug, Clone)]
pub enum StageConfig {
    /// `sse-source`.
    Sse(Box<<SseSource as Connector>::Config>),
    /// `redis-sink`.
    Redis(Box<<RedisSink as Connector>::Config>),
}

/// Why a manifest cannot become a plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// A connector's section is well-formed and still makes no sense.
    #[error("{connector}: {reason}")]
    Config {
        /// `meta.name`.
        connector: String,
        /// Where the connector is in the file.
        place: Place,
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
        /// Where the transform is in the file.
        place: Place,
        /// What is wrong.
        #[source]
        error: Box<BuildError>,
    },
    /// SmartModules cannot run on this machine.
    #[error("SmartModules cannot run here: {0}")]
    Sandbox(#[source] EngineError),
    /// `with` is not what the module's `SmartModule.toml` says it takes.
    #[error("{connector}: transforms: {reason}")]
    Params {
        /// `meta.name`.
        connector: String,
        /// Where the transform is in the file.
        place: Place,
        /// What is wrong, and the remedy.
        reason: String,
    },
    /// A SmartModule cannot be loaded, or refuses its parameters.
    #[error("{connector}: transforms: {error}")]
    Engine {
        /// `meta.name`.
        connector: String,
        /// Where the transform is in the file.
        place: Place,
        /// What is wrong.
        #[source]
        error: Box<EngineError>,
    },
}

impl PlanError {
    /// Where in the file it is, if it is in the file.
    pub fn place(&self) -> Option<Place> {
        match self {
            Self::Config { place, .. }
            | Self::Module { place, .. }
            | Self::Params { place, .. }
            | Self::Engine { place, .. } => Some(*place),
            Self::NoSuchStage { .. } | Self::Sandbox(_) => None,
        }
    }
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
        let options = EngineOptions {
            cache_dir: compiled_modules_dir(),
        };
        let engine = Engine::new(options).map_err(PlanError::Sandbox)?;
        Self::with(engine, manifest, only, sources, progress)
    }

    /// The plan of a changed `manifest`, or of changed SmartModules: the same stages are kept, and
    /// the same engine runs the modules.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn renewed(
        &self,
        manifest: Manifest,
        sources: &Sources,
        progress: &mut dyn FnMut(&str),
    ) -> Result<Self, PlanError> {
        Self::with(self.engine.clone(), manifest, &self.only, sources, progress)
    }

    fn with(
        engine: Engine,
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
            only: only.to_vec(),
            engine,
        })
    }
}

impl Stage {
    /// Whether it brings records into its topic.
    pub fn is_source(&self) -> bool {
        matches!(self.config, StageConfig::Sse(_))
    }

    /// What it runs as.
    pub(crate) fn parts(&self) -> Vec<Part> {
        let names: Vec<String> = match &self.config {
            StageConfig::Sse(config) => {
                let streams = config.streams().into_iter();
                streams.map(|(name, _)| name).collect()
            }
            StageConfig::Redis(_) => {
                let copies = 1..=self.entry.replicas.max(1);
                copies.map(|copy| copy.to_string()).collect()
            }
        };
        let of = names.len() as u32;
        let part = |(index, name)| Part { name, index, of };
        (0..of).zip(names).map(part).collect()
    }

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
        SseSource::TYPE => {
            let config = config::<SseSource>(entry)?;
            (config.prepare()).map_err(|error| wrong(entry, &error.key(), &error))?;
            StageConfig::Sse(Box::new(config))
        }
        // Its files are read with the backend: embedded counts need none.
        RedisSink::TYPE => StageConfig::Redis(Box::new(config::<RedisSink>(entry)?)),
        other => {
            return Err(PlanError::Config {
                connector: entry.name.clone(),
                place: entry.span,
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

/// A mistake in the section of `entry`, at `key`.
pub(crate) fn wrong(entry: &ConnectorEntry, key: &str, error: &dyn std::error::Error) -> PlanError {
    PlanError::Config {
        connector: entry.name.clone(),
        place: entry.section.place(key).unwrap_or(entry.span),
        reason: error.to_string(),
    }
}

/// The section of `entry` as the config of connector `C`.
pub(crate) fn config<C: Connector>(entry: &ConnectorEntry) -> Result<C::Config, PlanError> {
    entry.section.parse().map_err(|error| PlanError::Config {
        connector: entry.name.clone(),
        place: entry.span,
        reason: error.to_string(),
    })
}

/// Build and load the connector's transforms, and try their parameters.
fn steps(
    entry: &ConnectorEntry,
    engine: &Engine,
    sources: &Sources,
    progress: &mut dyn FnMut(&str),
) -> Result<Vec<Step>, PlanError> {
    let mut steps = Vec::new();
    let engine_error = |place, error| PlanError::Engine {
        connector: entry.name.clone(),
        place,
        error: Box::new(error),
    };
    for transform in &entry.transforms {
        let place = transform.span;
        let built = sources
            .resolve(&transform.uses, progress)
            .map_err(|error| PlanError::Module {
                connector: entry.name.clone(),
                place,
                error: Box::new(error),
            })?;
        if let Some(described) = &built.manifest {
            described
                .check_params(transform.with.keys().map(String::as_str))
                .map_err(|reason| PlanError::Params {
                    connector: entry.name.clone(),
                    place,
                    reason,
                })?;
        }
        let step = Step {
            module: engine
                .load(&built.name, &built.wasm)
                .map_err(|error| engine_error(place, error))?,
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
        };
        // A module that refuses its parameters is a mistake in the file, not in a record.
        Chain::new(vec![step.clone()]).map_err(|error| engine_error(place, error))?;
        steps.push(step);
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
