//! Where `${{ secrets.NAME }}` comes from: a file or a directory that the user names, then the
//! environment. No message here holds a secret, or a line of a file that should.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use gristmill_manifest::Variables;

use crate::{UsageError, output};

/// More is no secret: a wrong path, or a file that never ends.
const BYTES_MAX: u64 = 64 * 1024;

/// Secrets and environment variables of this process.
pub(crate) enum Secrets {
    /// From the environment only.
    Environment,
    /// A file of `NAME=VALUE` lines.
    File(BTreeMap<String, String>),
    /// A directory with a file for each, as Docker and Kubernetes mount them.
    Directory(PathBuf),
}

impl Secrets {
    /// From `path`, if there is one.
    ///
    /// # Errors
    /// A path that is not there, cannot be read or holds something else.
    pub(crate) fn open(path: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = path else {
            return Ok(Self::Environment);
        };
        if path.is_dir() {
            return Ok(Self::Directory(path.to_owned()));
        }
        let text = read(path).map_err(|error| {
            UsageError(format!(
                "--secrets: cannot read {}: {error}",
                path.display()
            ))
        })?;
        warn_if_open(path);
        let pairs = parse(&text)
            .map_err(|line| UsageError(format!(
                "--secrets: {} line {line} is not NAME=VALUE\n  = help: one secret a line, names of \
                 letters, digits and `_`; lines that start with # are left out",
                path.display()
            )))?;
        Ok(Self::File(pairs))
    }
}

impl Variables for Secrets {
    fn env(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn secret(&self, name: &str) -> Result<Option<String>, String> {
        let stored = match self {
            Self::Environment => None,
            Self::File(pairs) => pairs.get(name).cloned(),
            Self::Directory(dir) => in_directory(dir, name)?,
        };
        Ok(stored.or_else(|| std::env::var(name).ok()))
    }
}

fn in_directory(dir: &Path, name: &str) -> Result<Option<String>, String> {
    if !is_name(name) {
        return Ok(None);
    }
    let path = dir.join(name);
    match read(&path) {
        Ok(text) => {
            // Editors end a file with a line feed that nobody means.
            let text = text.strip_suffix('\n').unwrap_or(&text);
            Ok(Some(text.strip_suffix('\r').unwrap_or(text).to_owned()))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{} cannot be read: {error}", path.display())),
    }
}

fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    File::open(path)?
        .take(BYTES_MAX + 1)
        .read_to_string(&mut text)?;
    if text.len() as u64 > BYTES_MAX {
        return Err(std::io::Error::other(format!(
            "it is larger than {BYTES_MAX} bytes"
        )));
    }
    Ok(text)
}

/// The pairs, or the number of the first line that is none.
fn parse(text: &str) -> Result<BTreeMap<String, String>, usize> {
    let mut pairs = BTreeMap::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = line.split_once('=').ok_or(number)?;
        let name = name.trim();
        if !is_name(name) {
            return Err(number);
        }
        pairs.insert(name.to_owned(), value.trim().to_owned());
    }
    Ok(pairs)
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn warn_if_open(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(path).map_or(0, |meta| meta.permissions().mode());
    static WARNED: AtomicBool = AtomicBool::new(false);
    if mode & 0o077 != 0 && !WARNED.swap(true, Relaxed) {
        let name = path.display();
        output::note(&format!(
            "warning: {name} is readable by others\n  = help: chmod 600 {name}"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_holds_a_secret_a_line() {
        let pairs = parse("# mine\nA=x=y \n\n B_2 = hunter2\r\nEMPTY=\n").unwrap();
        let expect = [("A", "x=y"), ("B_2", "hunter2"), ("EMPTY", "")];
        let expect = expect.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(pairs, expect.into());
        assert_eq!(parse("A=1\nhunter2\n"), Err(2));
        assert_eq!(parse("2A=1"), Err(1));
        assert_eq!(parse("=1"), Err(1));
    }

    #[test]
    fn a_bad_line_is_named_and_not_repeated() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secrets");
        std::fs::write(&path, "A=1\nhunter2\n").unwrap();
        let error = Secrets::open(Some(&path)).err().unwrap().to_string();
        assert!(
            error.contains("line 2") && !error.contains("hunter2"),
            "{error}"
        );
        let error = Secrets::open(Some(&dir.path().join("none"))).err().unwrap();
        assert!(error.to_string().contains("cannot read"), "{error}");
    }

    #[test]
    fn a_directory_holds_a_file_a_secret() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("PW"), "hunter2\n").unwrap();
        std::fs::write(dir.path().join("BIG"), "x".repeat(70_000)).unwrap();
        let secrets = Secrets::open(Some(dir.path())).unwrap();
        assert_eq!(secrets.secret("PW"), Ok(Some("hunter2".to_owned())));
        assert_eq!(secrets.secret("NOT_THERE_AT_ALL"), Ok(None));
        assert_eq!(secrets.secret("../PW"), Ok(None));
        assert!(secrets.secret("BIG").unwrap_err().contains("larger"));
    }
}
