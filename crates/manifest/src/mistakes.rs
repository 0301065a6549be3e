//! The messages that take more than a sentence: unknown and missing keys, wrong types.

use serde_json::Value as Json;

use crate::format::Format;
use crate::report::{At, Report};
use crate::schema::{Schema, Type};
use crate::source::Span;
use crate::text::{all_of, quote};
use crate::tree::{Entry, Filled, Map, Node, Value};

/// Unknown keys beyond this many are listed by the first ones only.
const KNOWN_KEYS_MAX: usize = 12;

pub(crate) fn unknown_key(
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

pub(crate) fn missing(
    name: &str,
    node: &Node,
    map: &Map,
    schema: &Schema,
    at: &At,
    report: &mut Report<'_>,
) {
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

pub(crate) fn wrong_type(node: &Node, schema: &Schema, at: &At, report: &mut Report<'_>) {
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
