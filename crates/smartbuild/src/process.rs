//! Child processes that must not hang.

use std::io::{BufReader, Read};
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

/// Bytes of output that are kept: the end, where errors are told.
const OUTPUT_BYTES_MAX: usize = 64 * 1024;

/// Run `command` to its end and give the end of what it wrote, standard error included.
///
/// It is killed if it writes nothing for `silence_max`; `None` waits for ever.
///
/// # Errors
/// It cannot be started, failed, or fell silent: its last words, or why.
pub(crate) fn run(command: &mut Command, silence_max: Option<Duration>) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{name}: {error}"))?;
    let (sender, chunks) = sync_channel::<Vec<u8>>(64);
    let mut readers = Vec::new();
    let streams = [
        child
            .stdout
            .take()
            .map(|s| Box::new(s) as Box<dyn Read + Send>),
        child
            .stderr
            .take()
            .map(|s| Box::new(s) as Box<dyn Read + Send>),
    ];
    for stream in streams.into_iter().flatten() {
        let sender = sender.clone();
        readers.push(std::thread::spawn(move || {
            let mut stream = BufReader::new(stream);
            let mut chunk = [0; 4096];
            while let Ok(len @ 1..) = stream.read(&mut chunk) {
                if sender.send(chunk[..len].to_vec()).is_err() {
                    break;
                }
            }
        }));
    }
    drop(sender);
    let mut output = Vec::new();
    let fell_silent = loop {
        let chunk = match silence_max {
            Some(silence_max) => chunks.recv_timeout(silence_max),
            None => chunks.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match chunk {
            Ok(chunk) => {
                output.extend_from_slice(&chunk);
                let over = output.len().saturating_sub(OUTPUT_BYTES_MAX);
                output.drain(..over);
            }
            Err(RecvTimeoutError::Timeout) => break true,
            Err(RecvTimeoutError::Disconnected) => break false,
        }
    };
    if fell_silent {
        let _ = child.kill();
    }
    let status = child.wait().map_err(|error| format!("{name}: {error}"))?;
    if fell_silent {
        // A grandchild may hold the pipes open: the readers end with it, nobody waits for them.
        let seconds = silence_max.unwrap_or_default().as_secs();
        return Err(format!("{name} made no progress for {seconds} s"));
    }
    for reader in readers {
        let _ = reader.join();
    }
    let output = String::from_utf8_lossy(&output).into_owned();
    match status.success() {
        true => Ok(output),
        false => Err(format!("{name} failed ({status}): {}", output.trim())),
    }
}
