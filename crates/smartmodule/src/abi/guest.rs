//! What connects a module to its host: memory, exports, the import. For `#[smartmodule]` alone.

#![allow(unsafe_code)]

use std::alloc::Layout;
use std::cell::UnsafeCell;

use super::{Buffers, Call, Handed, Output, Outputs};
use crate::{Bytes, Params, Record, Result};

#[cfg(target_feature = "atomics")]
compile_error!("a SmartModule has one thread: build it without `-C target-feature=+atomics`");

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    /// The host copies `len` bytes at `ptr` before it returns.
    fn copy_records(ptr: *const u8, len: usize);
}

/// Buffers that live as long as the instance.
struct Memory {
    /// What the host writes its next input into; its length is its size.
    input: Vec<u8>,
    /// The host has it and has not called yet.
    lent: bool,
    buffers: Buffers,
}

struct Static(UnsafeCell<Memory>);

// SAFETY: without atomics a wasm32 instance has one thread. Nothing here calls out while it holds a
// reference but the module's own functions, which cannot reach `alloc` or an export.
unsafe impl Sync for Static {}

static MEMORY: Static = Static(UnsafeCell::new(Memory {
    input: Vec::new(),
    lent: false,
    buffers: Buffers::new(),
}));

/// Room for an input of `len` bytes: the buffer of the last one, grown if need be. A host that asks
/// twice before it calls gets memory of its own the second time.
#[unsafe(no_mangle)]
extern "C" fn alloc(len: usize) -> *mut u8 {
    // SAFETY: see `Static`.
    let memory = unsafe { &mut *MEMORY.0.get() };
    if memory.lent {
        return match layout(len) {
            // SAFETY: the layout's size is not zero.
            Some(layout) => unsafe { std::alloc::alloc_zeroed(layout) },
            None => std::ptr::dangling_mut(),
        };
    }
    if memory.input.len() < len.max(1) {
        // What it holds is of no use any more: give it back before asking for more.
        memory.input = Vec::new();
        memory.input = vec![0; len + len / 4 + 1];
    }
    memory.lent = true;
    memory.input.as_mut_ptr()
}

/// Give memory from `alloc` back without a call. Our own buffers are kept: a host that frees the
/// output that it was handed does no harm.
///
/// # Safety
/// `ptr` and `len` are from `alloc`, or an output's.
#[unsafe(no_mangle)]
unsafe extern "C" fn dealloc(ptr: *mut u8, len: usize) {
    // SAFETY: see `Static`.
    let memory = unsafe { &mut *MEMORY.0.get() };
    if memory.input.as_ptr_range().contains(&ptr.cast_const()) {
        memory.lent = false;
    } else if !memory
        .buffers
        .out
        .as_ptr_range()
        .contains(&ptr.cast_const())
        && let Some(layout) = layout(len)
    {
        // SAFETY: the caller's promise, and it is neither of the buffers.
        unsafe { std::alloc::dealloc(ptr, layout) }
    }
}

/// The version of what a host may rely on that knows this SDK.
const KNOWN: i32 = 1;

/// For a host that is Gristmill: it says so before `init`, and may rely on two things from then on.
/// What `alloc` gave is the place for the inputs of all later calls that fit; and what `array_map`
/// makes has the offset of the record that it is made from, so that records can come together and
/// each still has the blame for what it does. Fluvio never calls this.
#[unsafe(no_mangle)]
extern "C" fn gristmill_host(version: i32) -> i32 {
    if version < KNOWN {
        return 0;
    }
    // SAFETY: see `Static`.
    let memory = unsafe { &mut *MEMORY.0.get() };
    memory.buffers.keep_origins = true;
    KNOWN
}

fn layout(len: usize) -> Option<Layout> {
    match len {
        0 => None,
        _ => Layout::array::<u8>(len).ok(),
    }
}

/// Run a call over the input that the host wrote to `ptr`.
///
/// # Safety
/// `ptr` is from `alloc`, which was asked for `len` bytes or more; nothing else uses it until the
/// call is over.
unsafe fn run<'a>(
    ptr: *mut u8,
    len: usize,
    call: impl FnOnce(&'a mut [u8], &mut Buffers) -> Call,
) -> i32 {
    // SAFETY: see `Static`; `input` is not touched below while its slice is in use.
    let memory = unsafe { &mut *MEMORY.0.get() };
    let start = ptr;
    // SAFETY: `alloc` gave `len` initialised bytes there, which nothing else uses until this call
    // is over: the module's own functions cannot reach it, and the host has no other call.
    let input: &'a mut [u8] = unsafe { std::slice::from_raw_parts_mut(ptr, len) };
    let call = call(input, &mut memory.buffers);
    match call.handed {
        Handed::Nothing => {}
        Handed::Buffer => {
            let out = &memory.buffers.out;
            // SAFETY: the host reads `out`, and no more.
            unsafe { copy_records(out.as_ptr(), out.len()) }
        }
        Handed::Input(range) => {
            // SAFETY: a range of the input.
            unsafe { copy_records(start.add(range.start), range.len()) }
        }
    }
    // SAFETY: the call is over.
    unsafe { dealloc(ptr, len) };
    call.code
}

/// Implements an export by the function of the same name in [`super`].
macro_rules! exports {
    ($($name:ident <$($generic:ident : $bound:path),*> ($($argument:ty),*) -> $result:ty;)*) => {$(
        /// The export of that name.
        ///
        /// # Safety
        /// `ptr` is from `alloc` for `len` bytes or more, and not in use otherwise.
        pub unsafe fn $name<'a, $($generic: $bound),*>(
            ptr: *mut u8,
            len: usize,
            version: i32,
            f: impl FnMut($($argument),*) -> Result<$result>,
        ) -> i32 {
            // SAFETY: the caller's promise.
            unsafe {
                run(ptr, len, |input: &'a mut [u8], buffers| {
                    super::$name(input, version, buffers, f)
                })
            }
        }
    )*};
}

exports! {
    filter<>(Record<'_>) -> bool;
    map<K: Bytes, V: Bytes>(Record<'a>) -> (Option<K>, V);
    map_into<>(Record<'a>, &mut Output<'_>) -> ();
    filter_map<K: Bytes, V: Bytes>(Record<'a>) -> Option<(Option<K>, V)>;
    filter_map_into<>(Record<'a>, &mut Output<'_>) -> bool;
    array_map_into<>(Record<'a>, &mut Outputs<'_>) -> ();
    aggregate<V: Bytes>(&[u8], Record<'a>) -> V;
    look_back<>(Record<'a>) -> ();
}

/// The export of that name.
///
/// # Safety
/// `ptr` is from `alloc` for `len` bytes or more, and not in use otherwise.
pub unsafe fn array_map<'a, K: Bytes, V: Bytes, I: IntoIterator<Item = (Option<K>, V)>>(
    ptr: *mut u8,
    len: usize,
    version: i32,
    f: impl FnMut(Record<'a>) -> Result<I>,
) -> i32 {
    // SAFETY: the caller's promise.
    unsafe {
        run(ptr, len, |input: &'a mut [u8], buffers| {
            super::array_map(input, version, buffers, f)
        })
    }
}

/// The export of that name.
///
/// # Safety
/// `ptr` is from `alloc` for `len` bytes or more, and not in use otherwise.
pub unsafe fn init(
    ptr: *mut u8,
    len: usize,
    _version: i32,
    module: &'static str,
    f: impl FnOnce(Params) -> Result<()>,
) -> i32 {
    // SAFETY: the caller's promise.
    unsafe {
        run(ptr, len, |input, buffers| {
            super::init(input, module, buffers, f)
        })
    }
}
