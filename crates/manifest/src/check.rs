//! The engine: a value tree against a schema, every mistake reported.

use serde_json::Value as Json;

use crate::mistakes::{missing, unknown_key, wrong_type};
use crate::report::{At, Report};
use crate::schema::{Additional, Schema, Type};
use crate::text::{nearest, one_of, quote};
use crate::tree::{Entry, Filled, Map, Node, Value};

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
