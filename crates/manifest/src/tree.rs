//! The value tree: what YAML says, with the place of every key and value.

use crate::source::Span;

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) span: Span,
}

#[derive(Debug, Clone)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(Filled),
    List(Vec<Node>),
    Map(Map),
}

/// A mapping in the order of the text; its keys are distinct.
#[derive(Debug, Clone, Default)]
pub(crate) struct Map {
    pub(crate) entries: Vec<Entry>,
    /// Written with braces.
    pub(crate) flow: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_span: Span,
    pub(crate) node: Node,
}

/// A text and, if variables were filled in, how it was written.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filled {
    pub(crate) text: String,
    pub(crate) written: Option<String>,
    /// A variable has no value: that is reported, and what follows from it need not be.
    pub(crate) unfilled: bool,
}

impl Filled {
    pub(crate) fn plain(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            ..Self::default()
        }
    }

    /// The text to show: variables unfilled.
    pub(crate) fn shown(&self) -> &str {
        self.written.as_deref().unwrap_or(&self.text)
    }
}

impl Map {
    pub(crate) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.node)
    }
}

impl Node {
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.map()?.get(key)
    }

    /// Follows keys down.
    pub(crate) fn at(&self, keys: &[&str]) -> Option<&Node> {
        keys.iter().try_fold(self, |node, key| node.get(key))
    }

    pub(crate) fn map(&self) -> Option<&Map> {
        match &self.value {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    pub(crate) fn list(&self) -> Option<&[Node]> {
        match &self.value {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(&text.text),
            _ => None,
        }
    }

    pub(crate) fn int(&self) -> Option<i128> {
        match &self.value {
            Value::Int(int) => Some(*int),
            _ => None,
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    /// As JSON: with variables filled in, or as written.
    pub(crate) fn to_json(&self, filled: bool) -> serde_json::Value {
        use serde_json::Value as Json;
        match &self.value {
            Value::Null => Json::Null,
            Value::Bool(value) => Json::Bool(*value),
            Value::Int(int) => match (i64::try_from(*int), u64::try_from(*int)) {
                (Ok(int), _) => Json::from(int),
                (_, Ok(int)) => Json::from(int),
                _ => Json::from(*int as f64),
            },
            Value::Float(float) => Json::from(*float),
            Value::Text(text) if filled => Json::from(text.text.as_str()),
            Value::Text(text) => Json::from(text.shown()),
            Value::List(items) => items.iter().map(|item| item.to_json(filled)).collect(),
            Value::Map(map) => map
                .entries
                .iter()
                .map(|entry| (entry.key.clone(), entry.node.to_json(filled)))
                .collect(),
        }
    }
}
