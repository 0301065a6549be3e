//! What is wrong with a manifest, where, and what to do about it.

use std::fmt;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::render;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The manifest cannot run.
    Error,
    /// It can, though probably not as meant.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// Where a labelled text comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The manifest file.
    File {
        /// As given to [`crate::Manifest::load`].
        name: Arc<str>,
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
    },
    /// A `--set PATH=VALUE`; [`Label::text`] is the `PATH=VALUE`.
    Override,
}

/// A line of source with a part of it underlined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// Where the line is.
    pub origin: Origin,
    /// The whole line, as written: variables are not filled in.
    pub text: String,
    /// First character to underline, from 1.
    pub column: usize,
    /// How many characters to underline; at least 1.
    pub width: usize,
    /// What the underline says, if anything.
    pub note: Option<String>,
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::File { name, line, column } => write!(f, "{name}:{line}:{column}"),
            Origin::Override => write!(f, "--set {}", render::masked(&self.text)),
        }
    }
}

/// One error or warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// One line that names the value.
    pub message: String,
    /// The place to mend.
    pub primary: Label,
    /// Another place that matters, such as the first of two equal keys.
    pub secondary: Option<Label>,
    /// What to do, a line each.
    pub help: Vec<String>,
    /// The value's path, such as `connectors[0].sse.url`; empty where the text has no tree.
    pub path: String,
}

impl Diagnostic {
    /// In the manner of rustc: message, place, line with carets, help. Ends with a newline.
    pub fn render(&self, color: bool) -> String {
        render::diagnostic(self, color)
    }

    /// For scripts: `severity`, `message`, `file`, `line`, `column`, `path`, `help`; for an error
    /// in an override `set` in place of the three of the file.
    pub fn to_json(&self) -> Value {
        let mut out = json!({
            "severity": self.severity.to_string(),
            "message": self.message,
            "path": self.path,
            "help": self.help,
        });
        match &self.primary.origin {
            Origin::File { name, line, column } => {
                out["file"] = json!(name.as_ref());
                out["line"] = json!(line);
                out["column"] = json!(column);
            }
            Origin::Override => out["set"] = json!(render::masked(&self.primary.text)),
        }
        out
    }
}

/// `file:line:column: error: message`, on one line.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = format!("{}: {}: {}", self.primary, self.severity, self.message);
        f.write_str(&render::printable(&line))
    }
}

/// Everything that is wrong with a manifest, in the order of the text; at least one error, and the
/// warnings among them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostics(pub(crate) Vec<Diagnostic>);

impl Diagnostics {
    /// All of them, in the order of the text.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.0.iter()
    }

    /// How many are errors.
    pub fn error_count(&self) -> usize {
        let errors = self.0.iter().filter(|d| d.severity == Severity::Error);
        errors.count()
    }

    /// All of them in rustc's manner, a blank line between, and a last line that counts them.
    pub fn render(&self, color: bool) -> String {
        render::all(&self.0, color)
    }

    /// An array of [`Diagnostic::to_json`].
    pub fn to_json(&self) -> Value {
        self.0.iter().map(Diagnostic::to_json).collect()
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

/// Short form, a line each.
impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{diagnostic}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}
