//! One process at a time.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::Path;

use crate::LocalError;

/// Holds the directory as long as it lives; the system lets go of it however the process ends.
#[derive(Debug)]
pub(crate) struct DirLock(#[allow(dead_code, reason = "the open file is the lock")] File);

impl DirLock {
    pub(crate) fn take(dir: &Path) -> Result<Self, LocalError> {
        let fail = |error| LocalError::Open {
            dir: dir.to_owned(),
            error,
        };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(dir.join("gristmill.lock")).map_err(fail)?;
        match file.try_lock() {
            Ok(()) => {
                file.set_len(0).map_err(fail)?;
                write!(file, "{}", std::process::id()).map_err(fail)?;
                Ok(Self(file))
            }
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let read = file.read_to_string(&mut text);
                Err(LocalError::InUse {
                    dir: dir.to_owned(),
                    pid: read.ok().and_then(|_| text.trim().parse().ok()),
                })
            }
            Err(TryLockError::Error(error)) => Err(fail(error)),
        }
    }
}
