//! Where keys stand in the file, for mistakes that are found after it was read.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::diagnostic::Origin;
use crate::format::Format;
use crate::model::Place;
use crate::schema::{Schema, Type};
use crate::source::{Sources, Span};
use crate::tree::{Entry, Node, Value};

/// Of one key of the file and of everything below it, by path: `kafka.tls.ca-file`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places(Arc<BTreeMap<String, Place>>);

impl Places {
    /// Of `entry` and what is in it; mappings only, which is what paths lead through.
    pub(crate) fn of(entry: &Entry, sources: &Sources) -> Self {
        let mut all = BTreeMap::new();
        note(entry, "", sources, &mut all);
        Self(Arc::new(all))
    }

    /// The place of `path`, or of the nearest key above it.
    pub(crate) fn find(&self, path: &str) -> Option<Place> {
        let mut path = path;
        loop {
            if let Some(place) = self.0.get(path) {
                return Some(*place);
            }
            (path, _) = path.rsplit_once('.')?;
        }
    }
}

fn note(entry: &Entry, above: &str, sources: &Sources, all: &mut BTreeMap<String, Place>) {
    let path = format!("{above}{}", entry.key);
    all.insert(path.clone(), place(entry.key_span, sources));
    let below = format!("{path}.");
    for inner in entry.node.map().map_or(&[][..], |map| &map.entries) {
        note(inner, &below, sources, all);
    }
}

pub(crate) fn place(span: Span, sources: &Sources) -> Place {
    match sources.label(span, None).origin {
        Origin::File { line, column, .. } => Place { line, column },
        Origin::Override => Place { line: 1, column: 1 },
    }
}

/// JSON pointers to the texts below `node` that name a file, by `schema`.
pub(crate) fn files(node: &Node, schema: &Schema) -> Vec<String> {
    let mut found = Vec::new();
    collect(node, schema, "", &mut found);
    found
}

fn collect(node: &Node, schema: &Schema, at: &str, found: &mut Vec<String>) {
    match &node.value {
        Value::Text(_) if schema.format == Some(Format::File) && schema.allows(Type::String) => {
            found.push(at.to_owned());
        }
        Value::Map(map) => {
            for entry in &map.entries {
                if let Some(child) = schema.child(&entry.key) {
                    let key = entry.key.replace('~', "~0").replace('/', "~1");
                    collect(&entry.node, child, &format!("{at}/{key}"), found);
                }
            }
        }
        _ => {}
    }
}
