//! One instance of a module, and calls into it.

use std::fmt;

use wasmtime::{Memory, ResourceLimiter, Store, Trap, TypedFunc, format_err};

use crate::abi::{self, Garbage, Params};
use crate::fault::{Fault, one_line};
use crate::ticker::TICK;
use crate::{EngineError, Limits, Lookback, Module};

/// What a guest may say on standard error before the rest is dropped: a panic's message fits.
const SAID_BYTES_MAX: usize = 1024;
/// Entries of all tables of a guest: stock ones have a few hundred.
const TABLE_ELEMENTS_MAX: usize = 100_000;
/// `SmartModuleInitErrorStatus::InitError`: the guest's own error, in its output.
const INIT_REFUSED: i32 = -2;
/// `SmartModuleLookbackErrorStatus::PropagatedError`: the same for `look_back`.
const LOOK_BACK_REFUSED: i32 = -99;

type Call = TypedFunc<(u32, u32, i32), i32>;

/// An instance that was initialised.
pub(crate) struct Guest {
    store: Store<Host>,
    memory: Memory,
    alloc: TypedFunc<u32, u32>,
    transform: Call,
    look_back: Option<Call>,
}

impl fmt::Debug for Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Guest({} bytes)", self.memory_bytes())
    }
}

/// The host's side of an instance.
#[derive(Debug)]
pub(crate) struct Host {
    limits: Limits,
    /// The guest's, once it is there.
    pub(crate) memory: Option<Memory>,
    memory_denied: bool,
    output: Vec<u8>,
    handed_over: bool,
    output_denied: Option<u64>,
    said: Vec<u8>,
    random: u64,
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
        let mut guest = Self {
            store,
            memory,
            alloc,
            transform,
            look_back,
        };
        if let Some(init) = init {
            guest
                .init(&init, params, lookback)
                .map_err(|reason| EngineError::Init {
                    module: module.name().to_owned(),
                    reason,
                })?;
        }
        Ok(guest)
    }

    fn init(
        &mut self,
        init: &Call,
        params: &Params,
        lookback: Option<&Lookback>,
    ) -> Result<(), String> {
        let input = abi::encode_init(params, lookback)?;
        let limit_ms = self.store.data().limits.call_time_ms;
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
            INIT_REFUSED => match abi::decode_init_error(self.store.data().output()?) {
                Ok(hint) => Err(one_line(&String::from_utf8_lossy(hint))),
                Err(garbage) => Err(format!("refused, and {garbage}")),
            },
            -10 => Err("the guest could not decode its input".to_owned()),
            code => Err(format!("returned {code}")),
        }
    }

    /// Run `look_back` over `input`.
    ///
    /// # Errors
    /// The guest's own words, or what went wrong.
    pub(crate) fn look_back(&mut self, input: &abi::Input<'_>) -> Result<(), String> {
        let Some(look_back) = self.look_back.clone() else {
            return Ok(());
        };
        let limit_ms = self.store.data().limits.call_time_ms;
        let code = self
            .call(
                &look_back,
                input.len(),
                |buffer| input.write(buffer),
                limit_ms,
            )
            .map_err(|fault| fault.to_string())?;
        match code {
            0.. => Ok(()),
            LOOK_BACK_REFUSED => match abi::decode_look_back_error(self.store.data().output()?) {
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
        let transform = self.transform.clone();
        let code = self.call(
            &transform,
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
        self.store.data().output()
    }

    /// Bytes of the guest's memory. It only grows: stock guests never free their outputs.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.memory.data_size(&self.store)
    }

    fn call(
        &mut self,
        function: &Call,
        len: usize,
        write: impl FnOnce(&mut [u8]),
        limit_ms: u64,
    ) -> Result<i32, Fault> {
        self.store.data_mut().begin();
        self.store.set_epoch_deadline(ticks(limit_ms));
        let limit_bytes = self.store.data().limits.memory_bytes;
        let wanted = u32::try_from(len).map_err(|_| Fault::Memory { limit_bytes })?;
        let ptr = self
            .alloc
            .call(&mut self.store, wanted)
            .map_err(|error| self.store.data().fault(&error, limit_ms))?;
        let end = (ptr as usize).saturating_add(len);
        let memory_bytes = self.memory.data_size(&self.store);
        let Some(buffer) = self
            .memory
            .data_mut(&mut self.store)
            .get_mut(ptr as usize..end)
        else {
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
}

impl Host {
    fn new(limits: Limits) -> Self {
        Self {
            limits,
            memory: None,
            memory_denied: false,
            output: Vec::new(),
            handed_over: false,
            output_denied: None,
            said: Vec::new(),
            random: 0x9e37_79b9_7f4a_7c15,
        }
    }

    fn begin(&mut self) {
        self.memory_denied = false;
        self.handed_over = false;
        self.output_denied = None;
        self.said.clear();
    }

    fn output(&self) -> Result<&[u8], Garbage> {
        match self.handed_over {
            true => Ok(&self.output),
            false => Err(Garbage(
                "no output handed over (copy_records was not called)".to_owned(),
            )),
        }
    }

    /// Copy what the guest hands over out of its memory. The last of several calls counts, as in
    /// Fluvio.
    pub(crate) fn take_output(
        &mut self,
        memory: &[u8],
        ptr: u32,
        len: u32,
    ) -> wasmtime::Result<()> {
        if len as usize > self.limits.output_bytes {
            self.output_denied = Some(u64::from(len));
            return Err(format_err!("output limit"));
        }
        let end = (ptr as usize).saturating_add(len as usize);
        let output = memory.get(ptr as usize..end).ok_or_else(|| {
            let memory_bytes = memory.len();
            format_err!("handed over {len} bytes at {ptr}, beyond its memory of {memory_bytes}")
        })?;
        self.output.clear();
        self.output.extend_from_slice(output);
        self.handed_over = true;
        Ok(())
    }

    /// Keep what the guest writes to standard error, up to a bound.
    pub(crate) fn tell(&mut self, bytes: &[u8]) {
        let room = SAID_BYTES_MAX - self.said.len();
        self.said.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// The next byte of a fixed sequence (splitmix64).
    pub(crate) fn pseudo_random(&mut self) -> u8 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) as u8
    }

    fn fault(&self, error: &wasmtime::Error, limit_ms: u64) -> Fault {
        let trap = error.downcast_ref::<Trap>();
        if trap == Some(&Trap::Interrupt) {
            return Fault::Time { limit_ms };
        }
        if let Some(bytes) = self.output_denied {
            return Fault::Output {
                bytes,
                limit_bytes: self.limits.output_bytes,
            };
        }
        // A Rust guest that is refused memory aborts, which looks like any other trap.
        if self.memory_denied {
            return Fault::Memory {
                limit_bytes: self.limits.memory_bytes,
            };
        }
        let mut reason = match trap {
            Some(trap) => trap.to_string(),
            None => error.root_cause().to_string(),
        };
        if !self.said.is_empty() {
            reason.push_str("; it said: ");
            reason.push_str(&String::from_utf8_lossy(&self.said));
        }
        Fault::Trap(one_line(&reason))
    }
}

impl ResourceLimiter for Host {
    fn memory_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let granted = desired <= self.limits.memory_bytes;
        self.memory_denied |= !granted;
        Ok(granted)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS_MAX)
    }

    fn memories(&self) -> usize {
        1
    }

    fn tables(&self) -> usize {
        4
    }

    fn instances(&self) -> usize {
        1
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
