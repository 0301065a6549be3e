//! One instance of a module, and calls into it.

use std::fmt;

use wasmtime::{Memory, Store, TypedFunc};

use crate::abi::{self, Garbage, Params};
use crate::fault::{Fault, one_line};
use crate::host::Host;
use crate::ticker::TICK;
use crate::{EngineError, Limits, Lookback, Module};

/// `SmartModuleInitErrorStatus::InitError`: the guest's own error, in its output.
const INIT_REFUSED: i32 = -2;
/// `SmartModuleLookbackErrorStatus::PropagatedError`: the same for `look_back`.
const LOOK_BACK_REFUSED: i32 = -99;

/// What a guest on our SDK exports for the host to say that it is Gristmill, and the only version
/// of what follows from that.
const INTRODUCTION: &str = "gristmill_host";
const INTRODUCTION_VERSION: i32 = 1;
/// Inputs up to here are asked for in powers of two, so that the room that a guest keeps soon fits.
const ROOM_ROUNDED_MAX: u32 = 64 << 10;
const ROOM_MIN: u32 = 2 << 10;

type Call = TypedFunc<(u32, u32, i32), i32>;

/// An instance that was initialised.
pub(crate) struct Guest {
    instance: Instance,
    // Beside the instance and not in it: to clone one for a call costs more than a short call's work.
    transform: Call,
    look_back: Option<Call>,
}

/// What every call goes through.
struct Instance {
    store: Store<Host>,
    memory: Memory,
    alloc: TypedFunc<u32, u32>,
    /// The guest was told that this is Gristmill, and said yes: what `alloc` gave stays an input's
    /// place, and `array_map`'s outputs have the offset of the record that they are made from.
    knows_us: bool,
    /// The place and size of the last input, where they last.
    room: Option<(u32, u32)>,
}

impl fmt::Debug for Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Guest({} bytes)", self.memory_bytes())
    }
}

impl Guest {
    /// Instantiate `module` and run its `init` with `params`.
    pub(crate) fn start(
        module: &Module,
        params: &Params,
        lookback: Option<&Lookback>,
        limits: Limits,
    ) -> Result<Self, EngineError> {
        let fail = |reason: String| EngineError::Instantiate {
            module: module.name().to_owned(),
            reason,
        };
        let mut store = Store::new(module.engine().wasmtime(), Host::new(limits));
        store.limiter(|host| host);
        store.set_epoch_deadline(ticks(limits.call_time_ms));
        let instance = module
            .pre()
            .instantiate(&mut store)
            .map_err(|error| fail(store.data().fault(&error, limits.call_time_ms).to_string()))?;
        // A wasip1 reactor sets its statics up here.
        if let Ok(initialize) = instance.get_typed_func::<(), ()>(&mut store, "_initialize") {
            initialize
                .call(&mut store, ())
                .map_err(|e| fail(store.data().fault(&e, limits.call_time_ms).to_string()))?;
        }
        let memory = instance.get_memory(&mut store, "memory");
        let memory = memory.ok_or_else(|| fail("it exports no `memory`".to_owned()))?;
        store.data_mut().memory = Some(memory);
        let alloc = instance
            .get_typed_func(&mut store, "alloc")
            .map_err(|error| fail(error.to_string()))?;
        let mut function = |name: &str| {
            instance
                .get_typed_func(&mut store, name)
                .map_err(|error| fail(error.to_string()))
        };
        let transform = function(module.kind().name())?;
        let look_back = if module.has_look_back() {
            Some(function("look_back")?)
        } else {
            None
        };
        let init = if module.has_init() {
            Some(function("init")?)
        } else {
            None
        };
        let introduction = instance.get_typed_func::<i32, i32>(&mut store, INTRODUCTION);
        let knows_us = match introduction {
            Ok(introduction) => {
                let version = introduction
                    .call(&mut store, INTRODUCTION_VERSION)
                    .map_err(|e| fail(store.data().fault(&e, limits.call_time_ms).to_string()))?;
                version == INTRODUCTION_VERSION
            }
            Err(_) => false,
        };
        let mut instance = Instance {
            store,
            memory,
            alloc,
            knows_us,
            room: None,
        };
        if let Some(init) = init {
            instance
                .init(&init, params, lookback)
                .map_err(|reason| EngineError::Init {
                    module: module.name().to_owned(),
                    reason,
                })?;
        }
        Ok(Self {
            instance,
            transform,
            look_back,
        })
    }

    /// Run `look_back` over `input`.
    ///
    /// # Errors
    /// The guest's own words, or what went wrong.
    pub(crate) fn look_back(&mut self, input: &abi::Input<'_>) -> Result<(), String> {
        let Some(look_back) = &self.look_back else {
            return Ok(());
        };
        let limit_ms = self.instance.limits().call_time_ms;
        let code = self
            .instance
            .call(
                look_back,
                input.len(),
                |buffer| input.write(buffer),
                limit_ms,
            )
            .map_err(|fault| fault.to_string())?;
        match code {
            0.. => Ok(()),
            LOOK_BACK_REFUSED => match abi::decode_look_back_error(self.instance.output()?) {
                Ok(error) => {
                    let hint = one_line(&String::from_utf8_lossy(error.hint));
                    Err(format!("at offset {}: {hint}", error.offset))
                }
                Err(garbage) => Err(format!("refused, and {garbage}")),
            },
            code => Err(format!("returned {code}")),
        }
    }

    /// Run the transform over `input` and give the count that it returned. What it handed over is
    /// in [`output`](Self::output).
    ///
    /// # Errors
    /// After one, the instance is not to be used again.
    pub(crate) fn transform(
        &mut self,
        input: &abi::Input<'_>,
        limit_ms: u64,
    ) -> Result<usize, Fault> {
        let code = self.instance.call(
            &self.transform,
            input.len(),
            |buffer| input.write(buffer),
            limit_ms,
        )?;
        usize::try_from(code).map_err(|_| Fault::transform_code(code))
    }

    /// What the last call handed over.
    ///
    /// # Errors
    /// It handed nothing over.
    pub(crate) fn output(&self) -> Result<&[u8], Garbage> {
        self.instance.output()
    }

    /// Whether the guest is on our SDK and was told who its host is.
    pub(crate) fn knows_us(&self) -> bool {
        self.instance.knows_us
    }

    /// Bytes of the guest's memory. It only grows: stock guests never free their outputs.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.instance.memory.data_size(&self.instance.store)
    }
}

impl Instance {
    fn init(
        &mut self,
        init: &Call,
        params: &Params,
        lookback: Option<&Lookback>,
    ) -> Result<(), String> {
        let input = abi::encode_init(params, lookback)?;
        let limit_ms = self.limits().call_time_ms;
        let code = self
            .call(
                init,
                input.len(),
                |buffer| buffer.copy_from_slice(&input),
                limit_ms,
            )
            .map_err(|fault| fault.to_string())?;
        match code {
            0.. => Ok(()),
            INIT_REFUSED => match abi::decode_init_error(self.output()?) {
                Ok(hint) => Err(one_line(&String::from_utf8_lossy(hint))),
                Err(garbage) => Err(format!("refused, and {garbage}")),
            },
            -10 => Err("the guest could not decode its input".to_owned()),
            code => Err(format!("returned {code}")),
        }
    }

    fn call(
        &mut self,
        function: &Call,
        len: usize,
        write: impl FnOnce(&mut [u8]),
        limit_ms: u64,
    ) -> Result<i32, Fault> {
        self.store.set_epoch_deadline(ticks(limit_ms));
        let host = self.store.data_mut();
        host.begin();
        let limit_bytes = host.limits.memory_bytes;
        let wanted = u32::try_from(len).map_err(|_| Fault::Memory { limit_bytes })?;
        let ptr = match self.room {
            Some((ptr, size)) if wanted <= size => ptr,
            _ => self
                .make_room(wanted)
                .map_err(|error| self.store.data().fault(&error, limit_ms))?,
        };
        let end = (ptr as usize).saturating_add(len);
        let memory = self.memory.data_mut(&mut self.store);
        let memory_bytes = memory.len();
        let Some(buffer) = memory.get_mut(ptr as usize..end) else {
            return Err(Garbage(format!(
                "`alloc` gave {len} bytes at {ptr}, beyond its memory of {memory_bytes}"
            ))
            .into());
        };
        write(buffer);
        function
            .call(&mut self.store, (ptr, wanted, abi::VERSION))
            .map_err(|error| self.store.data().fault(&error, limit_ms))
    }

    /// Ask the guest for room for an input.
    fn make_room(&mut self, wanted: u32) -> wasmtime::Result<u32> {
        if !self.knows_us {
            return self.alloc.call(&mut self.store, wanted);
        }
        let size = match wanted {
            ..=ROOM_ROUNDED_MAX => wanted.next_power_of_two().max(ROOM_MIN),
            _ => wanted,
        };
        self.room = None;
        let ptr = self.alloc.call(&mut self.store, size)?;
        self.room = Some((ptr, size));
        Ok(ptr)
    }

    fn output(&self) -> Result<&[u8], Garbage> {
        self.store.data().output()
    }

    fn limits(&self) -> Limits {
        self.store.data().limits
    }
}

impl From<Garbage> for String {
    fn from(garbage: Garbage) -> Self {
        garbage.0
    }
}

/// Epochs until a call is over its time; one more, since the first one may come at once.
fn ticks(limit_ms: u64) -> u64 {
    limit_ms.div_ceil(TICK.as_millis() as u64) + 1
}
