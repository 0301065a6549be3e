//! A Redis that comes back with less than it had.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Where Redis keeps its append-only files, below its directory.
const APPENDONLY: &str = "appendonlydir";

/// Its data as of some moment.
#[derive(Debug)]
pub(super) struct Snapshot(PathBuf);

impl Snapshot {
    /// Copy what a running Redis has on disk; as after a crash, its last command may be cut.
    pub(super) fn take(redis: &Path, number: usize) -> Result<Self> {
        let to = redis.join(format!("snapshot-{number}"));
        // A rewrite may replace files meanwhile; then once more.
        let mut result = copy(&redis.join(APPENDONLY), &to);
        if result.is_err() {
            result = copy(&redis.join(APPENDONLY), &to);
        }
        result.context("cannot copy Redis's append-only files")?;
        Ok(Self(to))
    }

    /// Put it in the place of what a stopped Redis has.
    pub(super) fn restore(&self, redis: &Path) -> Result<()> {
        let place = redis.join(APPENDONLY);
        std::fs::remove_dir_all(&place)?;
        copy(&self.0, &place)?;
        std::fs::remove_dir_all(&self.0)?;
        Ok(())
    }
}

/// Forget everything of a stopped Redis.
pub(super) fn remove(redis: &Path) -> Result<()> {
    Ok(std::fs::remove_dir_all(redis.join(APPENDONLY))?)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    if to.exists() {
        std::fs::remove_dir_all(to)?;
    }
    std::fs::create_dir(to)?;
    // The manifest first: the files it names stay until a newer one is there.
    let mut files: Vec<_> = std::fs::read_dir(from)?.collect::<std::io::Result<_>>()?;
    files.sort_by_key(|file| file.path().extension().is_none_or(|end| end != "manifest"));
    for file in files {
        std::fs::copy(file.path(), to.join(file.file_name()))?;
    }
    Ok(())
}

/// Cut `bytes` off the newest append-only file of a stopped Redis. Returns how many there were.
pub(super) fn truncate(redis: &Path, bytes: u64) -> Result<u64> {
    let mut newest: Option<PathBuf> = None;
    for file in std::fs::read_dir(redis.join(APPENDONLY))? {
        let path = file?.path();
        if path.to_string_lossy().ends_with(".incr.aof") && newest.as_ref() < Some(&path) {
            newest = Some(path);
        }
    }
    let Some(path) = newest else {
        return Ok(0);
    };
    let length = std::fs::metadata(&path)?.len();
    let cut = bytes.min(length);
    File::options()
        .write(true)
        .open(&path)?
        .set_len(length - cut)?;
    Ok(cut)
}
