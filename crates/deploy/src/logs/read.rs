//! Reading a log while it is written.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::{FILES, path};

/// A line of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// When the supervisor got it.
    pub at: SystemTime,
    /// Whose it is: a stage, or the supervisor's own.
    pub stage: String,
    /// What it says.
    pub text: String,
}

/// Reads a log from the oldest line that is wanted to the newest, and on from there.
#[derive(Debug)]
pub struct Reader {
    dir: PathBuf,
    since: Option<SystemTime>,
    /// The file that is being read, and its inode: it moves on by renames.
    current: Option<(BufReader<File>, u64)>,
    /// A line that is not complete yet.
    part: String,
}

impl Reader {
    /// Of the log in `dir`, from `since` on.
    pub fn open(dir: &Path, since: Option<SystemTime>) -> Self {
        let oldest = (0..FILES).rev().find_map(|number| open(dir, number));
        Self {
            dir: dir.to_owned(),
            since,
            current: oldest,
            part: String::new(),
        }
    }

    /// The next line; `None` if there is none yet.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn next_line(&mut self) -> io::Result<Option<Line>> {
        loop {
            let Some((file, inode)) = &mut self.current else {
                self.current = open(&self.dir, 0);
                if self.current.is_none() {
                    return Ok(None);
                }
                continue;
            };
            let read = read_line(file, &mut self.part)?;
            if read {
                let text = std::mem::take(&mut self.part);
                let line = parse(text.trim_end_matches('\n'));
                let wanted = |line: &Line| self.since.is_none_or(|since| line.at >= since);
                match line.filter(wanted) {
                    Some(line) => return Ok(Some(line)),
                    None => continue,
                }
            }
            // At its end: is there a newer file? Ours was `current` when it was the last one.
            let inode = *inode;
            match newer(&self.dir, inode) {
                Some(next) => {
                    // What was written between our look at its end and the rename.
                    if read_line(file, &mut self.part)? {
                        file.seek(SeekFrom::Current(-(self.part.len() as i64)))?;
                        self.part.clear();
                        continue;
                    }
                    self.part.clear();
                    self.current = Some(next);
                }
                None => return Ok(None),
            }
        }
    }
}

/// Read on in a line; true once it is complete.
fn read_line(file: &mut BufReader<File>, part: &mut String) -> io::Result<bool> {
    let mut bytes = Vec::new();
    file.read_until(b'\n', &mut bytes)?;
    part.push_str(&String::from_utf8_lossy(&bytes));
    Ok(part.ends_with('\n'))
}

fn open(dir: &Path, number: u32) -> Option<(BufReader<File>, u64)> {
    let file = File::open(path(dir, number)).ok()?;
    let inode = file.metadata().ok()?.ino();
    Some((BufReader::new(file), inode))
}

/// The file that comes after the one with this inode; the oldest one if that is gone.
fn newer(dir: &Path, inode: u64) -> Option<(BufReader<File>, u64)> {
    let mut after = None;
    for number in 0..FILES {
        let file = open(dir, number);
        if file.as_ref().is_some_and(|(_, ino)| *ino == inode) {
            return after;
        }
        after = file.or(after);
    }
    after
}

fn parse(text: &str) -> Option<Line> {
    let (at, rest) = text.split_once(' ')?;
    let (stage, text) = rest.split_once(' ').unwrap_or((rest, ""));
    Some(Line {
        at: humantime::parse_rfc3339(at).ok()?,
        stage: stage.to_owned(),
        text: text.to_owned(),
    })
}
