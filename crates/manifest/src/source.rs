//! The texts that a manifest is made of, and places in them.
//!
//! Source 0 is the file; each `--set` is a source of its own, so that a value keeps its origin
//! through validation and an error can point at either.

use std::sync::Arc;

use crate::diagnostic::{Label, Origin};

/// A byte range of one source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span {
    pub(crate) source: usize,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Span {
    pub(crate) const FILE: usize = 0;

    pub(crate) fn new(source: usize, start: usize, end: usize) -> Self {
        Self {
            source,
            start,
            end: end.max(start),
        }
    }
}

#[derive(Debug)]
struct SourceText {
    /// `None` for a `--set`.
    file: Option<Arc<str>>,
    text: String,
    /// Byte offset at which each line starts.
    lines: Vec<usize>,
}

/// All sources of one load.
#[derive(Debug)]
pub(crate) struct Sources {
    texts: Vec<SourceText>,
}

impl Sources {
    /// With the file as source 0.
    pub(crate) fn new(file: &str, text: &str) -> Self {
        let mut sources = Self { texts: Vec::new() };
        sources.push(Some(Arc::from(file)), text);
        sources
    }

    /// Adds a `--set`, written as `PATH=VALUE`, and returns its number.
    pub(crate) fn add_override(&mut self, text: &str) -> usize {
        self.push(None, text);
        self.texts.len() - 1
    }

    fn push(&mut self, file: Option<Arc<str>>, text: &str) {
        self.texts.push(SourceText {
            file,
            text: text.to_owned(),
            lines: line_starts(text),
        });
    }

    pub(crate) fn text(&self, source: usize) -> &str {
        &self.texts[source].text
    }

    /// The text that a span covers.
    pub(crate) fn slice(&self, span: Span) -> &str {
        self.text(span.source)
            .get(span.start..span.end)
            .unwrap_or_default()
    }

    /// Resolves a span for showing: the line, and the part of it to underline.
    pub(crate) fn label(&self, span: Span, note: Option<String>) -> Label {
        let source = &self.texts[span.source];
        let start = floor_char(&source.text, span.start);
        let row = source.lines.partition_point(|line| *line <= start).max(1) - 1;
        let from = source.lines[row];
        let to = source
            .lines
            .get(row + 1)
            .copied()
            .unwrap_or(source.text.len());
        let text = source.text[from..to].trim_end_matches(['\n', '\r']);
        let column = source.text[from..start].chars().count();
        let end = floor_char(&source.text, span.end.min(from + text.len())).max(start);
        let width = source.text[start..end].trim_end().chars().count().max(1);
        Label {
            origin: match &source.file {
                Some(file) => Origin::File {
                    name: Arc::clone(file),
                    line: row + 1,
                    column: column + 1,
                },
                None => Origin::Override,
            },
            text: text.to_owned(),
            column: column + 1,
            width,
            note,
        }
    }
}

fn line_starts(text: &str) -> Vec<usize> {
    let bytes = text.as_bytes();
    let mut lines = vec![0];
    for (at, byte) in bytes.iter().enumerate() {
        let ends = *byte == b'\n' || (*byte == b'\r' && bytes.get(at + 1) != Some(&b'\n'));
        if ends {
            lines.push(at + 1);
        }
    }
    lines
}

fn floor_char(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_has_the_line_and_counts_columns_in_characters() {
        let sources = Sources::new("f", "a: b\r\nä: öö # x\nc");
        let label = sources.label(Span::new(0, 10, 14), None);
        assert_eq!(label.text, "ä: öö # x");
        assert_eq!((label.column, label.width), (4, 2));
        let end = sources.label(Span::new(0, 999, 1000), None);
        assert_eq!((end.text.as_str(), end.column, end.width), ("c", 2, 1));
    }
}
