//! A deployment's log: one line an event, each with its time and its stage, in files of bounded
//! size and number. Written by the supervisor alone, read by anyone.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

pub use read::{Line, Reader};

mod read;

/// Bytes of a file; then the next one is begun.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// Files that are kept: `current`, `1` (the one before it), `2`, …
const FILES: u32 = 4;
/// Bytes of a line; what is longer is cut.
const LINE_BYTES_MAX: usize = 16 << 10;

/// Appends lines. It never fails: what cannot be written is counted, and told once it can be.
#[derive(Debug)]
pub(crate) struct Log {
    dir: PathBuf,
    file: Option<File>,
    bytes: u64,
    lost: u64,
    why: String,
    /// The last write broke off within a line.
    torn: bool,
}

fn path(dir: &Path, number: u32) -> PathBuf {
    match number {
        0 => dir.join("current"),
        _ => dir.join(number.to_string()),
    }
}

/// `1 line`, `2 lines`.
pub(crate) fn lines(n: u64) -> String {
    match n {
        1 => "1 line".to_owned(),
        _ => format!("{n} lines"),
    }
}

impl Log {
    pub(crate) fn open(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            file: None,
            bytes: 0,
            lost: 0,
            why: String::new(),
            torn: false,
        }
    }

    /// Lines that are lost since the last one that was written, and why.
    pub(crate) fn lost(&self) -> Option<(u64, String)> {
        (self.lost > 0).then(|| (self.lost, self.why.clone()))
    }

    /// A line of `stage`, now.
    pub(crate) fn line(&mut self, stage: &str, text: &str) {
        let result = match self.lost {
            0 => Ok(()),
            lost => {
                let text = format!("{} could not be written: {}", lines(lost), self.why);
                self.put(stage, &text)
            }
        };
        match result.and_then(|()| {
            self.lost = 0;
            self.put(stage, text)
        }) {
            Ok(()) => {}
            Err(error) => {
                self.lost += 1;
                self.why = error.to_string();
                // Open it anew next time: it may be another disk, or a file that was removed.
                self.file = None;
            }
        }
    }

    fn put(&mut self, stage: &str, text: &str) -> io::Result<()> {
        let now = humantime::format_rfc3339_millis(SystemTime::now());
        let end = text.floor_char_boundary(LINE_BYTES_MAX);
        let more = if end < text.len() { " …" } else { "" };
        let start = if self.torn { "\n" } else { "" };
        let line = format!("{start}{now} {stage} {}{more}\n", &text[..end]);
        if self.bytes + line.len() as u64 > FILE_BYTES_MAX {
            self.rotate()?;
        }
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                let path = path(&self.dir, 0);
                let mut options = File::options();
                let file = options.create(true).append(true).mode(0o600).open(path)?;
                self.bytes = file.metadata()?.len();
                self.file.insert(file)
            }
        };
        // One call a line: what a reader sees ends with a line unless the disk is full.
        let written = file.write(line.as_bytes())?;
        self.bytes += written as u64;
        self.torn = written < line.len();
        match self.torn {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => Ok(()),
        }
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.file = None;
        for number in (0..FILES - 1).rev() {
            match fs::rename(path(&self.dir, number), path(&self.dir, number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        self.bytes = 0;
        self.torn = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn all(dir: &Path) -> Vec<Line> {
        let mut reader = Reader::open(dir, None);
        let mut lines = Vec::new();
        while let Some(line) = reader.next_line().unwrap() {
            lines.push(line);
        }
        lines
    }

    #[test]
    fn size_and_number_of_files_are_bounded_and_the_newest_lines_stay() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = Log::open(dir.path());
        let text = "x".repeat(10_000);
        for number in 0..2_500 {
            log.line("stage", &format!("{number} {text}"));
        }
        assert_eq!(log.lost(), None);
        let mut sizes = Vec::new();
        for entry in fs::read_dir(dir.path()).unwrap() {
            sizes.push(entry.unwrap().metadata().unwrap().len());
        }
        assert_eq!(sizes.len(), FILES as usize);
        assert!(
            sizes.iter().all(|size| *size <= FILE_BYTES_MAX),
            "{sizes:?}"
        );
        let lines = all(dir.path());
        assert!(lines.last().unwrap().text.starts_with("2499 "));
        let numbers: Vec<u32> = lines
            .iter()
            .map(|line| line.text.split_once(' ').unwrap().0.parse().unwrap())
            .collect();
        assert!(numbers.len() > 1_000);
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1));
    }

    #[test]
    fn a_full_disk_loses_lines_and_says_how_many() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/dev/full", dir.path().join("current")).unwrap();
        let mut log = Log::open(dir.path());
        log.line("a", "one");
        log.line("a", "two");
        let (lost, why) = log.lost().unwrap();
        assert_eq!(lost, 2);
        assert!(why.contains("No space left"), "{why}");
        fs::remove_file(dir.path().join("current")).unwrap();
        log.line("b", "three");
        assert_eq!(log.lost(), None);
        let texts: Vec<String> = all(dir.path()).into_iter().map(|line| line.text).collect();
        assert_eq!(texts.len(), 2);
        assert!(texts[0].starts_with("2 lines could not be written: No space"));
        assert_eq!(texts[1], "three");
    }

    #[test]
    fn a_reader_follows_over_a_rotation_and_starts_where_it_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = Log::open(dir.path());
        log.line("a", "first");
        let mut reader = Reader::open(dir.path(), None);
        assert_eq!(reader.next_line().unwrap().unwrap().text, "first");
        assert!(reader.next_line().unwrap().is_none());
        log.line("b", "second");
        log.rotate().unwrap();
        log.line("a", "third");
        let second = reader.next_line().unwrap().unwrap();
        assert_eq!(
            (second.stage.as_str(), second.text.as_str()),
            ("b", "second")
        );
        assert_eq!(reader.next_line().unwrap().unwrap().text, "third");
        assert!(reader.next_line().unwrap().is_none());

        let soon = SystemTime::now() + Duration::from_secs(5);
        let mut reader = Reader::open(dir.path(), Some(soon));
        assert!(reader.next_line().unwrap().is_none());
    }

    #[test]
    fn a_torn_line_and_a_long_one_do_no_harm() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("current"), "2026-01-01T00:00:00.000Z a tor").unwrap();
        let mut log = Log::open(dir.path());
        log.torn = true;
        log.line("a", &"é".repeat(20_000));
        let lines = all(dir.path());
        assert_eq!(lines[0].text, "tor");
        assert!(lines[1].text.len() < LINE_BYTES_MAX + 8);
        assert!(lines[1].text.ends_with('…'));
    }
}
