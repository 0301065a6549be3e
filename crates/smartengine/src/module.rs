//! A compiled SmartModule.

use std::fmt;
use std::sync::Arc;

use wasmtime::{ExternType, InstancePre, ValType};

use crate::host::Host;
use crate::{Engine, EngineError};

/// A module that was checked to be a SmartModule. Cheap to clone.
#[derive(Clone)]
pub struct Module {
    inner: Arc<Inner>,
}

struct Inner {
    engine: Engine,
    name: String,
    digest: [u8; 32],
    kind: Kind,
    init: bool,
    look_back: bool,
    pre: InstancePre<Host>,
}

/// What a module does with records: the name of the function that it exports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Keeps a record or drops it.
    Filter,
    /// Makes one record of each.
    Map,
    /// Makes one record of each, or none.
    FilterMap,
    /// Makes any number of records of each.
    ArrayMap,
    /// Makes the running accumulator of each.
    Aggregate,
}

impl Kind {
    /// In the order in which Fluvio looks for them; the first that is exported counts.
    const ALL: [Self; 5] = [
        Self::Filter,
        Self::Map,
        Self::FilterMap,
        Self::ArrayMap,
        Self::Aggregate,
    ];

    /// The exported function's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Filter => "filter",
            Self::Map => "map",
            Self::FilterMap => "filter_map",
            Self::ArrayMap => "array_map",
            Self::Aggregate => "aggregate",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Module {
    pub(crate) fn new(
        engine: Engine,
        name: &str,
        digest: [u8; 32],
        compiled: &wasmtime::Module,
        pre: InstancePre<Host>,
    ) -> Result<Self, EngineError> {
        let fail = |reason: String| EngineError::NotASmartModule {
            module: name.to_owned(),
            reason,
        };
        if !matches!(compiled.get_export("memory"), Some(ExternType::Memory(_))) {
            return Err(fail("it exports no `memory`".to_owned()));
        }
        if !exports(compiled, "alloc", 1).map_err(fail)? {
            return Err(fail(
                "it exports no `alloc`; build it with #[smartmodule] for wasm32-unknown-unknown"
                    .to_owned(),
            ));
        }
        let mut kind = None;
        for candidate in Kind::ALL {
            if exports(compiled, candidate.name(), 3).map_err(fail)? {
                kind = Some(candidate);
                break;
            }
        }
        let Some(kind) = kind else {
            let names = Kind::ALL.map(Kind::name).join(", ");
            return Err(fail(format!("it exports none of {names}")));
        };
        let inner = Inner {
            engine,
            name: name.to_owned(),
            digest,
            kind,
            init: exports(compiled, "init", 3).map_err(fail)?,
            look_back: exports(compiled, "look_back", 3).map_err(fail)?,
            pre,
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// What errors and rejects call it.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// What it does.
    pub fn kind(&self) -> Kind {
        self.inner.kind
    }

    /// Whether it takes parameters.
    pub fn has_init(&self) -> bool {
        self.inner.init
    }

    /// Whether it wants to see earlier records before its first.
    pub fn has_look_back(&self) -> bool {
        self.inner.look_back
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.inner.engine
    }

    pub(crate) fn pre(&self) -> &InstancePre<Host> {
        &self.inner.pre
    }
}

/// Modules are the same if they have the same name and were made from the same bytes.
impl PartialEq for Module {
    fn eq(&self, other: &Self) -> bool {
        self.inner.name == other.inner.name && self.inner.digest == other.inner.digest
    }
}

impl Eq for Module {}

impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Module({} {})", self.inner.name, self.inner.kind)
    }
}

/// Whether the module exports a function of `params` 32-bit parameters and one such result.
fn exports(module: &wasmtime::Module, name: &str, params: usize) -> Result<bool, String> {
    let Some(export) = module.get_export(name) else {
        return Ok(false);
    };
    let fits = export.func().is_some_and(|ty| {
        ty.params().len() == params
            && ty.results().len() == 1
            && ty
                .params()
                .chain(ty.results())
                .all(|ty| matches!(ty, ValType::I32))
    });
    if fits {
        return Ok(true);
    }
    Err(format!(
        "its export `{name}` is not a function of {params} i32 parameters and one i32 result"
    ))
}
