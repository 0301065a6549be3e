//! Who has a directory of embedded topics and counts, and how to have it back.

use std::path::Path;

use gristmill_manifest::printable;
use gristmill_runner::BackendError;

use crate::remote::Remote;
use crate::runs;

/// Characters of a command that are shown.
const COMMAND_SHOWN: usize = 80;

/// A process that has a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Holder {
    pid: u32,
    /// What it was started as; empty where the system does not tell.
    command: Vec<String>,
}

impl Holder {
    /// The process that `error` is about, if it is about one.
    pub(crate) fn of(error: &BackendError) -> Option<Self> {
        let pid = error.holder()?;
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words = command
            .split(|byte| *byte == 0)
            .filter(|word| !word.is_empty());
        let words = words.map(|word| String::from_utf8_lossy(word).into_owned());
        Some(Self {
            pid,
            command: words.collect(),
        })
    }

    /// Where it can be asked, if it runs `pipeline` and answers.
    pub(crate) fn remote(&self, pipeline: &str) -> Option<Remote> {
        let runs = runs::all().ok()?.into_iter();
        let mut ours = runs.filter(|run| run.pid == self.pid && run.pipeline == pipeline);
        ours.next()?.socket.map(Remote::Unix)
    }

    /// Who it is, and what ends it.
    pub(crate) fn text(&self) -> String {
        let Self { pid, .. } = self;
        if let Some(name) = self.deployment() {
            return format!(
                "it is in use by the deployment {name} (process {pid})\n  = help: `gristmill deploy \
                 shutdown {name}` stops that, or name another directory"
            );
        }
        let command = match self.shown() {
            command if command.is_empty() => String::new(),
            command => format!(" (`{command}`)"),
        };
        format!(
            "it is in use by process {pid}{command}\n  = help: end that with Ctrl-C or `kill {pid}`, \
             which loses nothing, or name another directory"
        )
    }

    /// The deployment whose stages it runs.
    fn deployment(&self) -> Option<String> {
        let [_, verb, rest @ ..] = self.command.as_slice() else {
            return None;
        };
        let dir = rest.iter().skip_while(|word| *word != "--dir").nth(1)?;
        let name = Path::new(dir).file_name()?;
        (verb == "stage").then(|| printable(&name.to_string_lossy()))
    }

    fn shown(&self) -> String {
        let Some((program, args)) = self.command.split_first() else {
            return String::new();
        };
        let program = Path::new(program).file_name().unwrap_or_default();
        let mut text = program.to_string_lossy().into_owned();
        for arg in args {
            text.push(' ');
            text.push_str(arg);
        }
        match text.char_indices().nth(COMMAND_SHOWN) {
            Some((end, _)) => format!("{}…", printable(&text[..end])),
            None => printable(&text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(command: &str) -> String {
        let command = command.split_whitespace().map(str::to_owned).collect();
        Holder { pid: 7, command }.text()
    }

    #[test]
    fn a_holder_is_named_with_what_ends_it() {
        let up = text("/usr/bin/gristmill up --local");
        assert!(up.contains("process 7 (`gristmill up --local`)"), "{up}");
        assert!(up.contains("`kill 7`"), "{up}");
        let stage = text("gristmill stage -v --dir /state/wiki --revision /r --supervisor=1");
        assert!(stage.contains("the deployment wiki (process 7)"), "{stage}");
        assert!(
            stage.contains("`gristmill deploy shutdown wiki`"),
            "{stage}"
        );
        assert!(text("").contains("in use by process 7\n"), "{}", text(""));
        let long = text(&format!("vi {}", "é".repeat(200)));
        assert!(long.contains("é…`)"), "{long}");
    }
}
