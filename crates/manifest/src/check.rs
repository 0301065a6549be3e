//! The engine: a value tree against a schema, every mistake reported.

use serde_json::Value as Json;

use crate::diagnostic::{Diagnostic, Severity};
use crate::format::Format;
use crate::schema::{Additional, Schema, Type};
use crate::source::{Sources, Span};
use crate::text::{all_of, nearest, one_of, quote};
use crate::tree::{Entry, Filled, Map, Node, Value};

/// Unknown keys beyond this many are listed by the first ones only.
const KNOWN_KEYS_MAX: usize = 12;

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

/// Checks `node` and everything below it.
pub(crate) fn check(node: &Node, schema: &Schema, at: &At, report: &mut Report<'_>) {
    match &node.value {
        Value::Text(filled) if filled.unfilled => {}
        // `topics: {edits: }` means a topic with all its defaults.
        Value::Null if schema.types == [Type::Object] => {
            map(&Map::default(), node, schema, at, report);
        }
        Value::Map(inner) if schema.allows(Type::Object) => map(inner, node, schema, at, report),
        Value::List(items) if schema.allows(Type::Array) => list(items, node, schema, at, report),
        Value::Text(filled) if schema.allows(Type::String) => {
            text(filled, node, schema, at, report)
        }
        Value::Int(int) if schema.allows(Type::Integer) || schema.allows(Type::Number) => {
            number(*int as f64, node, schema, at, report);
        }
        Value::Float(float) if schema.allows(Type::Number) && float.is_finite() => {
            number(*float, node, schema, at, report);
        }
        Value::Bool(_) if schema.allows(Type::Boolean) => {
            choice(node, schema, at, report);
        }
        Value::Null if schema.types.is_empty() => {}
        _ => wrong_type(node, schema, at, report),
    }
}

fn map(map: &Map, node: &Node, schema: &Schema, at: &At, report: &mut Report<'_>) {
    let known = || schema.properties.iter().map(|(name, _)| name.as_str());
    // A required key that is there under a misspelt name is reported once.
    let mut meant: Vec<&str> = Vec::new();
    for entry in &map.entries {
        let (parent, at) = (at, at.key(entry));
        if let Some(names) = &schema.names {
            text(
                &Filled::plain(&entry.key),
                &key_node(entry),
                names,
                &at,
                report,
            );
        }
        if let Some(property) = schema.property(&entry.key) {
            check(&entry.node, property, &at, report);
            continue;
        }
        match &schema.additional {
            Additional::Any => {}
            Additional::Schema(values) => check(&entry.node, values, &at, report),
            Additional::Denied if schema.extensions && entry.key.starts_with("x-") => {}
            Additional::Denied => {
                let absent = known().filter(|name| map.entry(name).is_none());
                let near = nearest(&entry.key, absent).or_else(|| nearest(&entry.key, known()));
                meant.extend(near);
                if let Some((_, own, _)) = schema.section(&entry.key) {
                    meant.push(own);
                }
                unknown_key(entry, near, schema, (parent, &at), report);
            }
        }
    }
    for name in &schema.required {
        if map.entry(name).is_none() && !meant.contains(&name.as_str()) {
            missing(name, node, map, schema, at, report);
        }
    }
    length(map.entries.len(), "keys", node, schema, at, report);
}

fn key_node(entry: &Entry) -> Node {
    Node {
        value: Value::Text(Filled::plain(&entry.key)),
        span: entry.key_span,
    }
}

fn unknown_key(
    entry: &Entry,
    near: Option<&str>,
    schema: &Schema,
    (parent, at): (&At, &At),
    report: &mut Report<'_>,
) {
    let key = entry.key.as_str();
    let place = match parent.name.as_str() {
        "" => String::new(),
        name => format!(" in {}", quote(name)),
    };
    let message = format!("unknown key {}{place}", quote(key));
    let error = report.error(entry.key_span, &at.path, message);
    if key == "<<" {
        error.help(
            "merge keys left YAML with version 1.2: write the keys out, or alias whole values",
        );
        return;
    }
    let hint = schema
        .hints
        .iter()
        .find(|(name, _)| *name == key)
        .map(|(_, hint)| hint);
    let section = schema.section(key).map(|(_, _, hint)| hint);
    if let Some(hint) = hint.or(section) {
        error.help(hint.clone());
        return;
    }
    if let Some(near) = near {
        error.help(format!("did you mean `{near}`?"));
        return;
    }
    let names: Vec<&str> = schema
        .properties
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    if names.is_empty() {
        error.help("take it out: nothing belongs here");
    } else if names.len() > KNOWN_KEYS_MAX {
        error.help(format!(
            "known keys are {} and others",
            names[..KNOWN_KEYS_MAX].join(", ")
        ));
    } else {
        error.help(format!("known keys are {}", all_of(names)));
    }
}

fn missing(name: &str, node: &Node, map: &Map, schema: &Schema, at: &At, report: &mut Report<'_>) {
    // The key that leads here; in a list's item the item's first key; else the mapping itself.
    let first = map.entries.first().map(|entry| entry.key_span);
    let start = Span::new(node.span.source, node.span.start, node.span.start + 1);
    let span = at.key.or(first).unwrap_or(start);
    let place = match at.name.as_str() {
        "" => "in the file".to_owned(),
        name => format!("in {}", quote(name)),
    };
    let path = if at.path.is_empty() {
        name.to_owned()
    } else {
        format!("{}.{name}", at.path)
    };
    let error = report.error(span, &path, format!("the key `{name}` is missing {place}"));
    let property = schema.property(name);
    let sample = property.map_or_else(|| "…".to_owned(), Schema::sample);
    let about = property.and_then(|property| property.description.as_deref());
    error.help(match about.map(crate::describe::first_sentence) {
        Some(about) => format!("add `{name}: {sample}` ({about})"),
        None => format!("add `{name}: {sample}`"),
    });
}

fn list(items: &[Node], node: &Node, schema: &Schema, at: &At, report: &mut Report<'_>) {
    length(items.len(), "entries", node, schema, at, report);
    if let Some(each) = &schema.items {
        for (index, item) in items.iter().enumerate() {
            check(item, each, &at.item(index), report);
        }
    }
}

fn length(have: usize, what: &str, node: &Node, schema: &Schema, at: &At, report: &mut Report<'_>) {
    let wrong = match (schema.length_min, schema.length_max) {
        (Some(min), _) if have < min => format!("at least {min}"),
        (_, Some(max)) if have > max => format!("at most {max}"),
        _ => return,
    };
    let span = at.key.unwrap_or(node.span);
    let (name, what) = (
        quote(&at.name),
        if wrong.ends_with(" 1") {
            what.trim_end_matches('s').replace("entrie", "entry")
        } else {
            what.to_owned()
        },
    );
    let error = report.error(
        span,
        &at.path,
        format!("{name} has {have} {what}, it needs {wrong}").replace(" 0 ", " no "),
    );
    if have == 0 {
        error.help("fill it in, or take the key out if it may be absent");
    }
}

fn number(value: f64, node: &Node, schema: &Schema, at: &At, report: &mut Report<'_>) {
    let shown = report.sources.slice(node.span).to_owned();
    let (min, max) = (schema.minimum, schema.maximum);
    if min.is_some_and(|min| value < min) || max.is_some_and(|max| value > max) {
        let range = match (min, max) {
            (Some(min), Some(max)) => format!("from {min} to {max}"),
            (Some(min), None) => format!("{min} or more"),
            (_, max) => format!("{} or less", max.unwrap_or_default()),
        };
        let message = format!(
            "{} is {}, it must be {range}",
            quote(&at.name),
            quote(&shown)
        );
        let sample = schema.sample();
        report
            .error(node.span, &at.path, message)
            .help(format!("for example `{}: {sample}`", at.name));
        return;
    }
    choice(node, schema, at, report);
}

fn text(filled: &Filled, node: &Node, schema: &Schema, at: &At, report: &mut Report<'_>) {
    let chars = filled.text.chars().count();
    if schema.format.is_none() {
        length(chars, "characters", node, schema, at, report);
    }
    if !choice(node, schema, at, report) {
        return;
    }
    let Some(format) = schema.format else { return };
    if let Err(wrong) = format.check(&filled.text, schema) {
        // What is wrong may quote a part of the value, which a secret must not be.
        let (what, help) = match filled.written {
            None => (wrong.what, wrong.help),
            Some(_) => (
                format!("is not {} once it is filled in", format.noun()),
                format!(
                    "the whole must be {}, such as `{}`",
                    format.noun(),
                    format.example()
                ),
            ),
        };
        let name = if at.name == filled.text {
            String::new()
        } else {
            format!("`{}`: ", at.name)
        };
        let message = format!("{name}{} {what}", quote(filled.shown()));
        report.error(node.span, &at.path, message).help(help);
    }
}

/// Whether the value is one of the schema's choices, if it has some.
fn choice(node: &Node, schema: &Schema, at: &At, report: &mut Report<'_>) -> bool {
    if schema.choices.is_empty() {
        return true;
    }
    let value = node.to_json(true);
    if schema.choices.contains(&value) {
        return true;
    }
    let shown = match &node.value {
        Value::Text(text) => text.shown().to_owned(),
        _ => report.sources.slice(node.span).to_owned(),
    };
    let names: Vec<String> = schema.choices.iter().map(plain).collect();
    let message = format!("{} cannot be {}", quote(&at.name), quote(&shown));
    let error = report.error(node.span, &at.path, message);
    let near = nearest(&shown, names.iter().map(String::as_str)).filter(|_| names.len() > 1);
    if let Some(near) = near {
        error.help(format!("did you mean {}?", quote(near)));
    }
    error.help(match names.as_slice() {
        [only] => format!("write {}", quote(only)),
        names => format!("use one of {}", one_of(names)),
    });
    false
}

fn plain(json: &Json) -> String {
    match json {
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn wrong_type(node: &Node, schema: &Schema, at: &At, report: &mut Report<'_>) {
    let source = report.sources.slice(node.span);
    let shown = source.lines().next().unwrap_or_default().to_owned();
    let (have, scalar) = match &node.value {
        Value::Null => ("nothing".to_owned(), false),
        Value::Bool(_) => (format!("the boolean {}", quote(&shown)), true),
        Value::Int(_) | Value::Float(_) => (format!("the number {}", quote(&shown)), true),
        Value::Text(text) => (format!("the text {}", quote(text.shown())), false),
        Value::List(_) => ("a list".to_owned(), false),
        Value::Map(_) => ("a mapping".to_owned(), false),
    };
    let wants = match schema.format {
        Some(format) if schema.types == [Type::String] => format.noun().to_owned(),
        _ => {
            let nouns: Vec<&str> = schema.types.iter().map(|kind| kind.noun()).collect();
            nouns.join(" or ")
        }
    };
    let braces = schema.allows(Type::String)
        && matches!(&node.value, Value::Map(map) if map.flow)
        && !shown.is_empty();
    let span = if node.is_null() {
        at.key.unwrap_or(node.span)
    } else {
        node.span
    };
    let name = if at.name.is_empty() {
        "the file".to_owned()
    } else {
        quote(&at.name)
    };
    let error = report.error(
        span,
        &at.path,
        format!("{name} is {have}, it must be {wants}"),
    );
    if braces {
        error.help(format!("quote it: {}", Json::from(shown.as_str())));
    } else if scalar && schema.allows(Type::String) {
        error.help(match schema.format {
            Some(Format::Duration) => {
                format!("add the unit: `{shown}s`, `{shown}ms` or `{shown}m`")
            }
            Some(Format::Size) => {
                format!("add the unit: `{shown} B`, `{shown} KiB` or `{shown} MiB`")
            }
            Some(Format::Version) => {
                let zeros = ".0".repeat(2_usize.saturating_sub(shown.matches('.').count()));
                format!("quote it, all three numbers of it: \"{shown}{zeros}\"")
            }
            _ => format!("quote it: \"{shown}\""),
        });
    } else if let Some(unquoted) = unquote(&node.value, schema) {
        error.help(format!("take the quotes off: {unquoted}"));
    } else if schema.types == [Type::Array] && !node.is_null() {
        error.help(format!(
            "make it a list: `{}: [{}]`",
            at.name,
            shown.trim_start_matches("- ")
        ));
    } else {
        error.help(match at.name.contains('[') {
            true => format!("for example `{}`", schema.sample()),
            false => format!("for example `{}: {}`", at.name, schema.sample()),
        });
    }
}

/// A quoted text that would be right without quotes.
fn unquote(value: &Value, schema: &Schema) -> Option<String> {
    let Value::Text(Filled {
        text,
        written: None,
        ..
    }) = value
    else {
        return None;
    };
    let fits = match crate::scalar::resolve(text) {
        Value::Int(_) => schema.allows(Type::Integer) || schema.allows(Type::Number),
        Value::Float(_) => schema.allows(Type::Number),
        Value::Bool(_) => schema.allows(Type::Boolean),
        _ => false,
    };
    fits.then(|| text.clone())
}
