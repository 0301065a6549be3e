//! A connector in words, for `connector describe`.

use std::fmt::Write as _;

use crate::schema::{Additional, Schema, Type};
use crate::spec::{ConnectorSpec, Direction};

/// Up to the first full stop.
pub(crate) fn first_sentence(text: &str) -> &str {
    let text = text.lines().next().unwrap_or_default();
    match text.find(". ") {
        Some(end) => &text[..end],
        None => text.trim_end_matches('.'),
    }
}

/// What a connector is for and every key of its section: kind, default, meaning, examples.
pub fn describe(spec: &ConnectorSpec) -> String {
    let direction = match spec.direction {
        Direction::Source => "source: writes a topic",
        Direction::Sink => "sink: reads a topic",
    };
    let mut out = format!("{} {} ({direction})\n", spec.name, spec.version);
    if let Some(description) = &spec.description {
        let _ = writeln!(out, "{description}");
    }
    let _ = writeln!(out, "\n{}:", spec.section);
    keys(&spec.schema, 1, &mut out);
    out
}

fn keys(schema: &Schema, depth: usize, out: &mut String) {
    let pad = "  ".repeat(depth);
    for (name, property) in &schema.properties {
        let mut notes = vec![kind(property)];
        if schema.required.contains(name) {
            notes.push("required".to_owned());
        }
        if let Some(default) = &property.default {
            notes.push(format!("default {default}"));
        }
        if let (Some(min), max) = (property.minimum, property.maximum) {
            notes.push(
                max.map_or_else(|| format!("{min} or more"), |max| format!("{min} to {max}")),
            );
        }
        let _ = writeln!(out, "{pad}{name}: {}", notes.join(", "));
        if let Some(description) = &property.description {
            for line in description.lines() {
                let _ = writeln!(out, "{pad}    {}", line.trim());
            }
        }
        for example in &property.examples {
            let _ = writeln!(out, "{pad}    example: {name}: {}", flow(example));
        }
        keys(property, depth + 2, out);
    }
    if let Additional::Schema(values) = &schema.additional {
        let _ = writeln!(out, "{pad}<any key>: {}", kind(values));
        keys(values, depth + 2, out);
    }
}

fn kind(schema: &Schema) -> String {
    if !schema.choices.is_empty() {
        let choices: Vec<String> = schema.choices.iter().map(flow).collect();
        return choices.join(" | ");
    }
    let format = schema.format.map(|format| format.name());
    let name = |kind: &Type| match (kind, format) {
        (Type::String, Some(format)) => format,
        (kind, _) => kind.name(),
    };
    match schema.types.as_slice() {
        [] => "any".to_owned(),
        types => types.iter().map(name).collect::<Vec<_>>().join(" or "),
    }
}

/// A value in YAML, on one line.
fn flow(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => crate::text::yaml_scalar(text),
        other => other.to_string(),
    }
}
