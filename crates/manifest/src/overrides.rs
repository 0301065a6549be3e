//! `--set PATH=VALUE`: values from the command line, put into the tree before it is checked.

use crate::core;
use crate::load::{connectors, is_single, spec_of};
use crate::report::Report;
use crate::schema::{Additional, Schema, Type};
use crate::source::Span;
use crate::spec::ConnectorSpec;
use crate::text::{all_of, nearest, quote};
use crate::tree::{Entry, Filled, Map, Node, Value};

/// A value to put in place of the file's: `connectors.<meta.name>.<section>.<key>=value`,
/// `kafka.brokers=a:9092,b:9092`, `topics.edits.partitions=1`.
///
/// A step that holds a dot is found by the longest key that fits, or is put into double quotes:
/// `topics."a.b".partitions=1`. The value is YAML; where only text fits it is taken as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    text: String,
    /// Byte offset of `=`.
    equals: usize,
}

/// A `--set` that is no `PATH=VALUE`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not PATH=VALUE; for example `topics.wikipedia-edits.partitions=1`")]
pub struct OverrideError(String);

impl Override {
    /// Reads `PATH=VALUE`; the value may hold further `=`.
    ///
    /// # Errors
    /// Without `=` or path.
    pub fn parse(text: &str) -> Result<Self, OverrideError> {
        let equals = unquoted(text, '=').filter(|at| !text[..*at].trim().is_empty());
        match equals {
            Some(equals) => Ok(Self {
                text: text.to_owned(),
                equals,
            }),
            None => Err(OverrideError(text.to_owned())),
        }
    }

    /// `PATH=VALUE`, as given.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The path.
    pub fn path(&self) -> &str {
        &self.text[..self.equals]
    }

    /// The value's text.
    pub fn value(&self) -> &str {
        &self.text[self.equals + 1..]
    }
}

/// The first `wanted` outside of double quotes.
fn unquoted(text: &str, wanted: char) -> Option<usize> {
    let mut quoted = false;
    text.char_indices().find_map(|(at, c)| {
        quoted ^= c == '"';
        (c == wanted && !quoted).then_some(at)
    })
}

/// A step that leads nowhere.
struct Lost {
    /// Where it is in the override's text.
    at: usize,
    step: String,
    message: String,
    help: String,
}

pub(crate) fn apply(
    root: &mut Node,
    each: &Override,
    source: usize,
    specs: &[ConnectorSpec],
    report: &mut Report<'_>,
) {
    let path = each.path();
    let walk = Walk { source, path };
    let single = is_single(root);
    let done = if let Some(rest) = path.strip_prefix("connectors.") {
        let from = path.len() - rest.len();
        let found = find_connector(root, from, path)
            .map(|(index, from)| (index, from, spec_at(root, index, specs)));
        found.and_then(|(index, from, spec)| {
            let schema = core::connector(specs, spec, single);
            match connector_mut(root, index, single) {
                Some(node) => walk.set(node, &schema, from, each),
                None => Ok(()),
            }
        })
    } else {
        let schema = match single {
            true => core::connector(specs, spec_of(root, specs), true),
            false => core::pipeline(),
        };
        walk.set(root, &schema, 0, each)
    };
    if let Err(lost) = done {
        let span = Span::new(source, lost.at, lost.at + lost.step.len());
        report.error(span, path, lost.message).help(lost.help);
    }
}

fn spec_at<'a>(root: &Node, index: usize, specs: &'a [ConnectorSpec]) -> Option<&'a ConnectorSpec> {
    let all = connectors(root);
    all.get(index).and_then(|(_, node)| spec_of(node, specs))
}

fn connector_mut(root: &mut Node, index: usize, single: bool) -> Option<&mut Node> {
    if single {
        return Some(root);
    }
    let Value::Map(map) = &mut root.value else {
        return None;
    };
    let entry = map
        .entries
        .iter_mut()
        .find(|entry| entry.key == "connectors")?;
    match &mut entry.node.value {
        Value::List(items) => items.get_mut(index),
        _ => None,
    }
}

/// The connector that `path[from..]` starts with, by `meta.name` or by index, and where the path
/// goes on.
fn find_connector(root: &Node, from: usize, path: &str) -> Result<(usize, usize), Lost> {
    let all = connectors(root);
    let names: Vec<&str> = all
        .iter()
        .map(|(_, node)| {
            node.at(&["meta", "name"])
                .and_then(Node::text)
                .unwrap_or_default()
        })
        .collect();
    if let Some((name, next)) = longest(&path[from..], names.iter().copied()) {
        let index = names
            .iter()
            .position(|known| *known == name)
            .unwrap_or_default();
        return Ok((index, from + next));
    }
    let (step, next) = first_step(&path[from..]);
    if let Some(index) = step.parse().ok().filter(|index| *index < all.len()) {
        return Ok((index, from + next));
    }
    let help = match nearest(&step, names.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if names.is_empty() => "the file has no connectors".to_owned(),
        None => format!("the connectors are {}", all_of(&names)),
    };
    Err(Lost {
        at: from,
        message: format!("there is no connector {}", quote(&step)),
        step,
        help,
    })
}

/// The longest of `keys` that `rest` starts with as a step, and how far it reaches, its dot
/// included.
fn longest<'a>(rest: &str, keys: impl Iterator<Item = &'a str>) -> Option<(&'a str, usize)> {
    let fits = |key: &&str| {
        let after = rest.strip_prefix(*key);
        !key.is_empty() && after.is_some_and(|after| after.is_empty() || after.starts_with('.'))
    };
    let key = keys.filter(fits).max_by_key(|key| key.len())?;
    Some((key, (key.len() + 1).min(rest.len())))
}

/// The text up to the next dot, quotes taken off, and how far it reaches, its dot included.
fn first_step(rest: &str) -> (String, usize) {
    let end = unquoted(rest, '.').unwrap_or(rest.len());
    let step = &rest[..end];
    let bare = step
        .strip_prefix('"')
        .and_then(|step| step.strip_suffix('"'));
    (bare.unwrap_or(step).to_owned(), (end + 1).min(rest.len()))
}

struct Walk<'a> {
    source: usize,
    path: &'a str,
}

impl Walk<'_> {
    /// Puts the value at `path[from..]` below `node`, making what is absent and known.
    fn set(
        &self,
        node: &mut Node,
        schema: &Schema,
        from: usize,
        each: &Override,
    ) -> Result<(), Lost> {
        let rest = &self.path[from..];
        if rest.is_empty() {
            return Err(self.lost(from, "the path ends too early", "name the key to set"));
        }
        if let Value::List(items) = &mut node.value {
            let count = items.len();
            let (step, next) = first_step(rest);
            let item = step
                .parse()
                .ok()
                .and_then(|index: usize| items.get_mut(index));
            let any = Schema::anything();
            let child = schema.items.as_deref().unwrap_or(&any);
            return match item {
                Some(item) if from + next >= self.path.len() => {
                    *item = self.value(child, each);
                    Ok(())
                }
                Some(item) => self.set(item, child, from + next, each),
                None => Err(self.lost(
                    from,
                    &format!("{} is no entry of the list", quote(&step)),
                    &match count {
                        0 => "the list is empty".to_owned(),
                        count => format!("its entries are 0 to {}", count - 1),
                    },
                )),
            };
        }
        if !matches!(node.value, Value::Map(_)) {
            if !(node.is_null() || schema.types == [Type::Object]) {
                let before = self.path[..from].trim_end_matches('.');
                return Err(self.lost(
                    from,
                    &format!("{} is not a mapping", quote(before)),
                    "leave the rest of the path out",
                ));
            }
            node.value = Value::Map(Map::default());
        }
        let Value::Map(map) = &mut node.value else {
            return Ok(());
        };
        let (key, next) = step(rest, map, schema);
        let known = map.entry(&key).is_some() || schema.child(&key).is_some();
        if !known && schema.additional != Additional::Any {
            return Err(self.unknown(from, &key, schema));
        }
        let any = Schema::anything();
        let child = schema.child(&key).unwrap_or(&any);
        let key_span = Span::new(self.source, from, from + next.min(rest.len()));
        let index = match map.entries.iter().position(|entry| entry.key == key) {
            Some(index) => index,
            None => {
                let node = Node {
                    value: Value::Null,
                    span: self.value_span(each),
                };
                map.entries.push(Entry {
                    key,
                    key_span,
                    node,
                });
                map.entries.len() - 1
            }
        };
        let entry = &mut map.entries[index];
        if from + next >= self.path.len() {
            entry.node = self.value(child, each);
            entry.key_span = key_span;
            return Ok(());
        }
        self.set(&mut entry.node, child, from + next, each)
    }

    fn value_span(&self, each: &Override) -> Span {
        Span::new(self.source, each.equals + 1, each.text.len())
    }

    /// The value as YAML, or as plain text where YAML would give what cannot stand here.
    fn value(&self, schema: &Schema, each: &Override) -> Node {
        let span = self.value_span(each);
        let plain = || Value::Text(Filled::plain(each.value()));
        let (node, mistakes) = crate::yaml::parse(self.source, each.value());
        let mut value = match node {
            Some(node) if mistakes.is_empty() => {
                let mut node = node;
                restamp(&mut node, span);
                node.value
            }
            None if mistakes.is_empty() && !schema.allows(Type::String) => Value::Null,
            _ => plain(),
        };
        let only_text = schema.types == [Type::String];
        let scalar_text = schema.allows(Type::String) && !schema.types.is_empty();
        let fits = match &value {
            Value::Map(_) => schema.allows(Type::Object),
            Value::List(_) => schema.allows(Type::Array),
            Value::Text(_) => true,
            Value::Null => !only_text,
            _ => !only_text,
        };
        if !fits && scalar_text {
            value = plain();
        }
        Node { value, span }
    }

    fn lost(&self, at: usize, message: &str, help: &str) -> Lost {
        Lost {
            at: at.min(self.path.len()),
            step: self.path.get(at..).unwrap_or_default().to_owned(),
            message: message.to_owned(),
            help: help.to_owned(),
        }
    }

    fn unknown(&self, from: usize, key: &str, schema: &Schema) -> Lost {
        let names: Vec<&str> = schema
            .properties
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        let section = schema.section(key);
        let help = match (section, nearest(key, names.iter().copied())) {
            (Some((_, _, hint)), _) => hint.clone(),
            (_, Some(near)) => format!("did you mean `{near}`?"),
            _ if names.is_empty() => "nothing belongs below it".to_owned(),
            _ => format!("known keys are {}", all_of(&names)),
        };
        let before = self.path[..from].trim_end_matches('.');
        let place = if before.is_empty() {
            String::new()
        } else {
            format!(" in `{before}`")
        };
        Lost {
            at: from,
            step: key.to_owned(),
            message: format!("unknown key {}{place}", quote(key)),
            help,
        }
    }
}

/// The next key of the path: the longest that is there or known; else, where a mapping's keys are
/// free and its values are no mappings, all that is left (`kafka.properties.sasl.mechanism`).
fn step(rest: &str, map: &Map, schema: &Schema) -> (String, usize) {
    if rest.starts_with('"') {
        return first_step(rest);
    }
    let there = map.entries.iter().map(|entry| entry.key.as_str());
    let known = schema.properties.iter().map(|(name, _)| name.as_str());
    if let Some((key, next)) = longest(rest, there.chain(known)) {
        return (key.to_owned(), next);
    }
    if let Additional::Schema(values) = &schema.additional
        && !values.allows(Type::Object)
        && !values.allows(Type::Array)
    {
        return (rest.to_owned(), rest.len());
    }
    first_step(rest)
}

/// Everything in an override's value stands at the value.
fn restamp(node: &mut Node, span: Span) {
    node.span = span;
    match &mut node.value {
        Value::List(items) => items.iter_mut().for_each(|item| restamp(item, span)),
        Value::Map(map) => {
            for entry in &mut map.entries {
                entry.key_span = span;
                restamp(&mut entry.node, span);
            }
        }
        _ => {}
    }
}
