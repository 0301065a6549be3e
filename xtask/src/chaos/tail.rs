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
    /// Copy what a running Redis has on disk, up to the end of a transaction.
    pub(super) fn take(redis: &Path, number: usize) -> Result<Self> {
        let to = redis.join(format!("snapshot-{number}"));
        // A rewrite may replace files meanwhile; then once more.
        let mut result = copy(&redis.join(APPENDONLY), &to);
        if result.is_err() {
            result = copy(&redis.join(APPENDONLY), &to);
        }
        result.context("cannot copy Redis's append-only files")?;
        cut(&to, 0)?;
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

/// Cut `bytes` off the newest append-only file of a stopped Redis, and what that leaves of a
/// transaction. Returns how many there were.
pub(super) fn truncate(redis: &Path, bytes: u64) -> Result<u64> {
    cut(&redis.join(APPENDONLY), bytes)
}

/// `7` of `appendonly.aof.7.incr.aof`; of other files none.
fn number(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?.strip_suffix(".incr.aof")?;
    name.rsplit_once('.')?.1.parse().ok()
}

fn cut(directory: &Path, bytes: u64) -> Result<u64> {
    let files = std::fs::read_dir(directory)?.flatten();
    let incremental = files.filter_map(|file| Some((number(&file.path())?, file.path())));
    let Some((_, path)) = incremental.max() else {
        return Ok(0);
    };
    let text = std::fs::read(&path)?;
    let kept = text.len().saturating_sub(bytes as usize);
    let kept = last_transaction_end(&text[..kept]);
    File::options()
        .write(true)
        .open(&path)?
        .set_len(kept as u64)?;
    Ok((text.len() - kept) as u64)
}

/// Where the last whole transaction of an append-only file ends, as `redis-check-aof --fix` would
/// leave it. A file that is torn within one is loaded without it by Redis 7.0.15, which leaves its
/// beginning in the file and applies that part, a position without its counts, at the restart after.
fn last_transaction_end(text: &[u8]) -> usize {
    const END: &[u8] = b"\r\n$4\r\nEXEC\r\n";
    let mut windows = text.windows(END.len());
    windows
        .rposition(|window| window == END)
        .map_or(0, |at| at + END.len())
}
