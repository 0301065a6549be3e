//! Collecting mistakes, and naming the places where they are.

use crate::diagnostic::{Diagnostic, Severity};
use crate::source::{Sources, Span};
use crate::tree::Entry;

/// Collects what is wrong, with the place in the text at which it sorts.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    pub(crate) sources: &'a Sources,
    found: Vec<(Span, Diagnostic)>,
}

impl<'a> Report<'a> {
    pub(crate) fn new(sources: &'a Sources) -> Self {
        Self {
            sources,
            found: Vec::new(),
        }
    }

    pub(crate) fn error(
        &mut self,
        span: Span,
        path: &str,
        message: impl Into<String>,
    ) -> &mut Diagnostic {
        self.add(Severity::Error, span, path, message.into())
    }

    pub(crate) fn warning(
        &mut self,
        span: Span,
        path: &str,
        message: impl Into<String>,
    ) -> &mut Diagnostic {
        self.add(Severity::Warning, span, path, message.into())
    }

    fn add(
        &mut self,
        severity: Severity,
        span: Span,
        path: &str,
        message: String,
    ) -> &mut Diagnostic {
        let diagnostic = Diagnostic {
            severity,
            message,
            primary: self.sources.label(span, None),
            secondary: None,
            help: Vec::new(),
            path: path.to_owned(),
        };
        let at = self.found.len();
        self.found.push((span, diagnostic));
        &mut self.found[at].1
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.found
            .iter()
            .any(|(_, d)| d.severity == Severity::Error)
    }

    /// In the order of the text, overrides after the file.
    pub(crate) fn finish(mut self) -> Vec<Diagnostic> {
        self.found
            .sort_by_key(|(span, _)| (span.source, span.start));
        self.found
            .into_iter()
            .map(|(_, diagnostic)| diagnostic)
            .collect()
    }
}

impl Diagnostic {
    pub(crate) fn help(&mut self, help: impl Into<String>) -> &mut Self {
        self.help.push(help.into());
        self
    }
}

/// A value's place in the tree: its path, its own name, and the key that leads to it.
#[derive(Debug, Clone)]
pub(crate) struct At {
    pub(crate) path: String,
    /// What to call the value in a message: its key, or its list's.
    pub(crate) name: String,
    /// The key, to point at when something is missing below it.
    pub(crate) key: Option<Span>,
}

impl At {
    pub(crate) fn root() -> Self {
        Self {
            path: String::new(),
            name: String::new(),
            key: None,
        }
    }

    pub(crate) fn key(&self, entry: &Entry) -> Self {
        let dot = if self.path.is_empty() { "" } else { "." };
        Self {
            path: format!("{}{dot}{}", self.path, entry.key),
            name: entry.key.clone(),
            key: Some(entry.key_span),
        }
    }

    pub(crate) fn item(&self, index: usize) -> Self {
        Self {
            path: format!("{}[{index}]", self.path),
            name: format!("{}[{index}]", self.name),
            key: None,
        }
    }
}
