//! `Connector.toml`: what a connector is called, which way it goes and what its section may hold.

use serde_json::Value as Json;

use crate::format::Format;
use crate::schema::{Additional, Schema, Type};
use crate::text::{nearest, quote};

/// Which way records go through a connector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// From the outside into a topic.
    Source,
    /// From a topic to the outside; `dest` in a `Connector.toml`.
    Sink,
}

/// A check of a section that its schema cannot express, such as the connector's own
/// `Config::deserialize`. It must not do I/O.
pub type SectionCheck = fn(&Json) -> Result<(), SectionMistake>;

/// What [`SectionCheck`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SectionMistake {
    /// The key that is wrong, from the connector's root (`redis.url`); empty for the section as a
    /// whole.
    pub key: String,
    /// What is wrong, and the remedy.
    pub reason: String,
}

impl SectionMistake {
    /// Of the section as a whole.
    pub fn whole(reason: impl ToString) -> Self {
        Self {
            key: String::new(),
            reason: reason.to_string(),
        }
    }
}

/// A connector as its `Connector.toml` describes it.
#[derive(Debug, Clone)]
pub struct ConnectorSpec {
    /// What `meta.type` says, such as `sse-source`.
    pub name: String,
    /// Its own version.
    pub version: String,
    /// Its group, such as `gristmill`.
    pub group: Option<String>,
    /// What it does.
    pub description: Option<String>,
    /// Source or sink.
    pub direction: Direction,
    /// The key of its section, such as `sse`.
    pub section: String,
    /// What the section may hold.
    pub schema: Schema,
    /// Further check of the section.
    pub check: Option<SectionCheck>,
}

/// A `Connector.toml` that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// Not TOML.
    #[error("Connector.toml is not TOML: {0}")]
    Toml(#[from] toml::de::Error),
    /// TOML that does not describe a connector.
    #[error("Connector.toml: {at}: {what}")]
    Content {
        /// The path of the value.
        at: String,
        /// What is wrong with it, and the remedy.
        what: String,
    },
}

fn content<T>(at: &str, what: impl Into<String>) -> Result<T, SpecError> {
    Err(SpecError::Content {
        at: at.to_owned(),
        what: what.into(),
    })
}

impl ConnectorSpec {
    /// Reads a `Connector.toml`.
    ///
    /// # Errors
    /// [`SpecError`] if it is not TOML, lacks a name, version, direction or section, or uses a
    /// schema keyword that is not checked here: one that is skipped silently would promise more
    /// than is kept.
    pub fn parse(connector_toml: &str) -> Result<Self, SpecError> {
        let toml: Json = toml::from_str(connector_toml)?;
        let text = |at: &str| -> Result<String, SpecError> {
            match toml.pointer(&format!("/{}", at.replace('.', "/"))) {
                Some(Json::String(text)) if !text.is_empty() => Ok(text.clone()),
                _ => content(at, "a text is missing here"),
            }
        };
        let optional = |at: &str| toml.pointer(at).and_then(Json::as_str).map(str::to_owned);
        let is = |at: &str| toml.pointer(at).and_then(Json::as_bool) == Some(true);
        let direction = match (
            is("/direction/source"),
            is("/direction/dest") || is("/direction/sink"),
        ) {
            (true, false) => Direction::Source,
            (false, true) => Direction::Sink,
            _ => return content("direction", "say one of `source = true` and `dest = true`"),
        };
        let Some(custom) = toml.get("custom") else {
            return content("custom", "the section's schema is missing");
        };
        let mut schema = schema(custom, "custom", true)?.with_secrets();
        if schema.types.is_empty() {
            schema.types = vec![Type::Object];
        }
        if schema.types != [Type::Object] {
            return content("custom.type", "a section is an `object`");
        }
        Ok(Self {
            name: text("package.name")?,
            version: text("package.version")?,
            group: optional("/package/group"),
            description: optional("/package/description"),
            direction,
            section: text("custom.name")?,
            schema,
            check: None,
        })
    }

    /// With a further check of the section.
    #[must_use]
    pub fn with_check(mut self, check: SectionCheck) -> Self {
        self.check = Some(check);
        self
    }
}

/// Keywords that say something; `name` is the section's, at the top only.
const KEYWORDS: [&str; 23] = [
    "type",
    "title",
    "description",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "enum",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "propertyNames",
    "default",
    "format",
    "examples",
    "example",
    "x-placeholders",
    "x-schemes",
];

/// A schema out of its JSON form.
fn schema(json: &Json, at: &str, top: bool) -> Result<Schema, SpecError> {
    let Some(object) = json.as_object() else {
        return content(at, "a schema is a table");
    };
    let mut out = Schema::default();
    for (key, value) in object {
        let here = format!("{at}.{key}");
        match key.as_str() {
            "name" if top => {}
            "type" => out.types = types(value, &here)?,
            "title" => out.title = Some(string(value, &here)?),
            "description" => out.description = Some(string(value, &here)?.trim().to_owned()),
            "properties" => {
                let Some(properties) = value.as_object() else {
                    return content(&here, "is a table of schemas");
                };
                for (name, value) in properties {
                    let property = schema(value, &format!("{here}.{name}"), false)?;
                    out.properties.push((name.clone(), property));
                }
            }
            "required" => out.required = strings(value, &here)?,
            "additionalProperties" => {
                out.additional = match value {
                    Json::Bool(true) => Additional::Any,
                    Json::Bool(false) => Additional::Denied,
                    value => Additional::Schema(Box::new(schema(value, &here, false)?)),
                }
            }
            "items" => out.items = Some(Box::new(schema(value, &here, false)?)),
            "enum" => out.choices = array(value, &here)?.clone(),
            "minimum" => out.minimum = Some(number(value, &here)?),
            "maximum" => out.maximum = Some(number(value, &here)?),
            "minLength" | "minItems" | "minProperties" => {
                out.length_min = Some(number(value, &here)? as usize);
            }
            "maxLength" | "maxItems" | "maxProperties" => {
                out.length_max = Some(number(value, &here)? as usize);
            }
            "propertyNames" => out.names = Some(Box::new(schema(value, &here, false)?)),
            "default" => out.default = Some(value.clone()),
            "examples" => out.examples.extend(array(value, &here)?.iter().cloned()),
            "example" => out.examples.push(value.clone()),
            "x-placeholders" => out.placeholders = strings(value, &here)?,
            "x-schemes" => out.schemes = strings(value, &here)?,
            "format" => {
                let name = string(value, &here)?;
                let known = Format::ALL.iter().find(|(known, _)| *known == name);
                out.format = match known {
                    Some((_, format)) => Some(*format),
                    None => {
                        return unknown(&here, &name, Format::ALL.iter().map(|(name, _)| *name));
                    }
                };
            }
            _ => return unknown(at, key, KEYWORDS),
        }
    }
    if out.properties.is_empty() && !object.contains_key("additionalProperties") && !top {
        out.additional = Additional::Any;
    }
    for name in &out.required {
        if out.property(name).is_none() {
            return content(
                &format!("{at}.required"),
                format!("{} is no property", quote(name)),
            );
        }
    }
    Ok(out)
}

fn unknown<T>(
    at: &str,
    name: &str,
    known: impl IntoIterator<Item = &'static str> + Clone,
) -> Result<T, SpecError> {
    let hint = match nearest(name, known.clone()) {
        Some(near) => format!("did you mean {}?", quote(near)),
        None => format!("known are {}", crate::text::all_of(known)),
    };
    content(at, format!("{} is not known here; {hint}", quote(name)))
}

fn types(value: &Json, at: &str) -> Result<Vec<Type>, SpecError> {
    let names = match value {
        Json::String(name) => vec![name.clone()],
        value => strings(value, at)?,
    };
    let kind = |name: String| match Type::ALL.iter().find(|(known, _)| *known == name) {
        Some((_, kind)) => Ok(*kind),
        None => unknown(at, &name, Type::ALL.iter().map(|(name, _)| *name)),
    };
    names.into_iter().map(kind).collect()
}

fn string(value: &Json, at: &str) -> Result<String, SpecError> {
    match value {
        Json::String(text) => Ok(text.clone()),
        _ => content(at, "is a text"),
    }
}

fn number(value: &Json, at: &str) -> Result<f64, SpecError> {
    match value.as_f64() {
        Some(number) => Ok(number),
        None => content(at, "is a number"),
    }
}

fn array<'a>(value: &'a Json, at: &str) -> Result<&'a Vec<Json>, SpecError> {
    match value {
        Json::Array(items) => Ok(items),
        _ => content(at, "is a list"),
    }
}

fn strings(value: &Json, at: &str) -> Result<Vec<String>, SpecError> {
    array(value, at)?
        .iter()
        .map(|item| string(item, at))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
[package]
name = "x-sink"
version = "0.1.0"
[direction]
dest = true
[custom]
name = "x"
type = "object"
required = ["url"]
[custom.properties.url]
type = ["string", "integer"]
format = "uri"
"#;

    #[test]
    fn a_good_one() {
        let spec = ConnectorSpec::parse(GOOD).unwrap();
        assert_eq!((spec.name.as_str(), spec.section.as_str()), ("x-sink", "x"));
        assert_eq!(spec.direction, Direction::Sink);
        let url = spec.schema.property("url").unwrap();
        assert_eq!(url.types, [Type::String, Type::Integer]);
    }

    #[test]
    fn what_is_not_checked_is_refused() {
        let check = |from: &str, to: &str, expect: &str| {
            let error = ConnectorSpec::parse(&GOOD.replace(from, to)).unwrap_err();
            assert!(error.to_string().contains(expect), "{error}");
        };
        check(
            "format = \"uri\"",
            "fromat = \"uri\"",
            "did you mean `format`?",
        );
        check("\"uri\"", "\"duraton\"", "did you mean `duration`?");
        check("\"integer\"", "\"int\"", "`int` is not known here");
        check("[\"url\"]", "[\"ulr\"]", "`ulr` is no property");
        check("dest = true", "", "source = true");
        check("version = \"0.1.0\"", "", "package.version");
        check("[custom]\nname = \"x\"", "[custom]", "custom.name");
        check("[package]", "[package", "not TOML");
    }
}
