//! What a guest may call: `copy_records`, and the little of WASI that a stock wasip1 guest links.

use wasmtime::{Caller, Engine, ExternType, Linker, format_err};

use crate::EngineError;
use crate::host::Host;

const WASI: &str = "wasi_snapshot_preview1";
/// WASI's errno for a file descriptor that is not open.
const EBADF: i32 = 8;
/// WASI's errno for a pointer out of bounds.
const EFAULT: i32 = 21;
/// Buffers in one `fd_write`: std writes one or two.
const IOVECS_MAX: u32 = 16;

/// The imports of `module`, all of them defined.
///
/// WASI functions beyond those that a guest needs to start are defined as traps that name
/// themselves: a guest may link them, not call them.
///
/// # Errors
/// An import that no SmartModule may have.
pub(crate) fn linker(
    engine: &Engine,
    name: &str,
    module: &wasmtime::Module,
) -> Result<Linker<Host>, EngineError> {
    let fail = |reason: String| EngineError::NotASmartModule {
        module: name.to_owned(),
        reason,
    };
    let mut linker = Linker::new(engine);
    define(&mut linker).map_err(|error| fail(format!("{error:#}")))?;
    for import in module.imports() {
        let known = is_known(import.module(), import.name());
        match (known, import.module(), import.ty()) {
            (true, ..) => {}
            (false, WASI, ExternType::Func(ty)) => {
                let function = import.name().to_owned();
                linker
                    .func_new(WASI, import.name(), ty, move |_, _, _| {
                        Err(format_err!(
                            "called {WASI}.{function}, which SmartModules do not have"
                        ))
                    })
                    .map_err(|error| fail(format!("{error:#}")))?;
            }
            (false, from, _) => {
                return Err(fail(format!(
                    "it imports {from}.{}, which SmartModules do not have",
                    import.name()
                )));
            }
        }
    }
    Ok(linker)
}

/// What [`define`] defines.
fn is_known(module: &str, name: &str) -> bool {
    match module {
        "env" => name == "copy_records",
        WASI => matches!(
            name,
            "environ_get" | "environ_sizes_get" | "fd_write" | "proc_exit" | "random_get"
        ),
        _ => false,
    }
}

fn define(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    linker.func_wrap("env", "copy_records", copy_records)?;
    linker.func_wrap(WASI, "environ_sizes_get", environ_sizes_get)?;
    linker.func_wrap(WASI, "environ_get", |_: i32, _: i32| 0_i32)?;
    linker.func_wrap(WASI, "fd_write", fd_write)?;
    linker.func_wrap(WASI, "random_get", random_get)?;
    linker.func_wrap(WASI, "proc_exit", |code: i32| -> wasmtime::Result<()> {
        Err(format_err!("exited with code {code}"))
    })?;
    Ok(())
}

/// The guest hands its output over. It is copied at once: the guest may free it afterwards.
fn copy_records(mut caller: Caller<'_, Host>, ptr: u32, len: u32) -> wasmtime::Result<()> {
    let (memory, host) = memory(&mut caller)?;
    host.take_output(memory, ptr, len)
}

/// No variables.
fn environ_sizes_get(mut caller: Caller<'_, Host>, count: u32, size: u32) -> wasmtime::Result<i32> {
    let (memory, _) = memory(&mut caller)?;
    let written = put(memory, count, &[0; 4]).and_then(|()| put(memory, size, &[0; 4]));
    Ok(written.map_or(EFAULT, |()| 0))
}

/// Standard output and error: kept for the reason of a trap, where panics tell themselves.
fn fd_write(
    mut caller: Caller<'_, Host>,
    fd: i32,
    iovecs: u32,
    iovecs_len: u32,
    written: u32,
) -> wasmtime::Result<i32> {
    if !matches!(fd, 1 | 2) {
        return Ok(EBADF);
    }
    let (memory, host) = memory(&mut caller)?;
    let mut total = 0_u32;
    for index in 0..iovecs_len.min(IOVECS_MAX) {
        let Some(bytes) = iovec(memory, iovecs, index) else {
            return Ok(EFAULT);
        };
        host.tell(bytes);
        total = total.saturating_add(bytes.len() as u32);
    }
    Ok(put(memory, written, &total.to_le_bytes()).map_or(EFAULT, |()| 0))
}

/// The same bytes in every run: a replay must give the same records. They seed hash maps, whose
/// worst case the time limit bounds.
fn random_get(mut caller: Caller<'_, Host>, ptr: u32, len: u32) -> wasmtime::Result<i32> {
    let (memory, host) = memory(&mut caller)?;
    let range = ptr as usize..(ptr as usize).saturating_add(len as usize);
    let Some(bytes) = memory.get_mut(range) else {
        return Ok(EFAULT);
    };
    bytes
        .iter_mut()
        .for_each(|byte| *byte = host.pseudo_random());
    Ok(0)
}

fn memory<'a>(caller: &'a mut Caller<'_, Host>) -> wasmtime::Result<(&'a mut [u8], &'a mut Host)> {
    let memory = match caller.data().memory {
        Some(memory) => memory,
        // While the guest is being set up: looking a name up costs as much as a small record.
        None => caller
            .get_export("memory")
            .and_then(|export| export.into_memory())
            .ok_or_else(|| format_err!("no memory"))?,
    };
    Ok(memory.data_and_store_mut(caller))
}

fn iovec(memory: &[u8], iovecs: u32, index: u32) -> Option<&[u8]> {
    let at = (iovecs as usize).checked_add(index as usize * 8)?;
    let (ptr, rest) = memory.get(at..)?.split_first_chunk::<4>()?;
    let (len, _) = rest.split_first_chunk::<4>()?;
    let ptr = u32::from_le_bytes(*ptr) as usize;
    memory.get(ptr..ptr.checked_add(u32::from_le_bytes(*len) as usize)?)
}

fn put(memory: &mut [u8], ptr: u32, bytes: &[u8]) -> Option<()> {
    let range = ptr as usize..(ptr as usize).checked_add(bytes.len())?;
    memory.get_mut(range)?.copy_from_slice(bytes);
    Some(())
}
