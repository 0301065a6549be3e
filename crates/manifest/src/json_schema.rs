//! The manifest's JSON Schema (draft 2020-12), for completion and hints in editors
//! (yaml-language-server: `# yaml-language-server: $schema=…`).

use serde_json::{Map, Value as Json, json};

use crate::core;
use crate::format::Format;
use crate::schema::{Additional, Schema, Type};
use crate::spec::ConnectorSpec;

/// What a text with a variable looks like: it is checked once it is filled in.
const VARIABLE: &str = r"\$\{\{";

/// The JSON Schema of a `pipeline.yaml`, and of a single connector config, with these connectors.
pub fn json_schema(specs: &[ConnectorSpec]) -> Json {
    let mut pipeline = export(&core::pipeline());
    pipeline["properties"]["connectors"]["items"] = connectors(specs, false);
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Gristmill pipeline or connector config",
        "if": {
            "properties": {"meta": {"type": "object", "required": ["type"]}},
            "required": ["meta"],
            "not": {"required": ["connectors"]},
        },
        "then": connectors(specs, true),
        "else": pipeline,
    })
}

/// A connector config: an if/then for each type, so that an editor offers the section and the keys
/// of the one that is written.
fn connectors(specs: &[ConnectorSpec], single: bool) -> Json {
    let mut branches: Vec<Json> = specs
        .iter()
        .map(|spec| {
            let mut then = export(&core::connector(specs, Some(spec), single));
            then["properties"]["meta"]["properties"]["type"] = json!({
                "const": spec.name,
                "description": spec.description,
            });
            json!({
                "if": {
                    "properties": {"meta": {
                        "properties": {"type": {"const": spec.name}},
                        "required": ["type"],
                    }},
                    "required": ["meta"],
                },
                "then": then,
            })
        })
        .collect();
    // Before a type is written: what all have in common.
    branches.push(export(&core::connector(specs, None, single)));
    json!({"type": "object", "allOf": branches})
}

fn export(schema: &Schema) -> Json {
    let mut out = Map::new();
    match schema.types.as_slice() {
        [] => {}
        // A mapping may be left empty.
        [Type::Object] if schema.required.is_empty() => {
            out.insert("type".to_owned(), json!(["object", "null"]));
        }
        [only] => {
            out.insert("type".to_owned(), json!(only.name()));
        }
        types => {
            let names: Vec<&str> = types.iter().map(|kind| kind.name()).collect();
            out.insert("type".to_owned(), json!(names));
        }
    }
    let mut put = |key: &str, value: Option<Json>| {
        if let Some(value) = value {
            out.insert(key.to_owned(), value);
        }
    };
    put("title", schema.title.as_ref().map(|text| json!(text)));
    put(
        "description",
        schema.description.as_ref().map(|text| json!(text)),
    );
    put("default", schema.default.clone());
    put(
        "examples",
        (!schema.examples.is_empty()).then(|| json!(schema.examples)),
    );
    put("minimum", schema.minimum.map(|number| json!(number)));
    put("maximum", schema.maximum.map(|number| json!(number)));
    let (least, most) = match schema.types.first() {
        Some(Type::Array) => ("minItems", "maxItems"),
        Some(Type::Object) => ("minProperties", "maxProperties"),
        _ => ("minLength", "maxLength"),
    };
    put(least, schema.length_min.map(|length| json!(length)));
    put(most, schema.length_max.map(|length| json!(length)));
    put("items", schema.items.as_deref().map(export));
    put("propertyNames", schema.names.as_deref().map(export));
    // A variable may stand for any of the choices.
    if !schema.choices.is_empty() {
        let choices = json!({"enum": schema.choices});
        let text = schema.allows(Type::String);
        let either = json!([choices, {"type": "string", "pattern": VARIABLE}]);
        match text {
            true => put("anyOf", Some(either)),
            false => put("enum", Some(json!(schema.choices))),
        }
    }
    put(
        "pattern",
        schema
            .format
            .and_then(pattern)
            .map(|pattern| json!(format!("{VARIABLE}|{pattern}"))),
    );
    if schema.allows(Type::Object) && !schema.types.is_empty() {
        object(schema, &mut out);
    }
    Json::Object(out)
}

fn object(schema: &Schema, out: &mut Map<String, Json>) {
    if !schema.properties.is_empty() {
        let properties: Map<String, Json> = schema
            .properties
            .iter()
            .map(|(name, property)| (name.clone(), export(property)))
            .collect();
        out.insert("properties".to_owned(), Json::Object(properties));
    }
    if !schema.required.is_empty() {
        out.insert("required".to_owned(), json!(schema.required));
    }
    if schema.extensions {
        out.insert("patternProperties".to_owned(), json!({"^x-": true}));
    }
    let additional = match &schema.additional {
        Additional::Denied => json!(false),
        Additional::Any => json!(true),
        Additional::Schema(values) => export(values),
    };
    out.insert("additionalProperties".to_owned(), additional);
}

/// What an editor can check of a format; never stricter than [`Format::check`].
fn pattern(format: Format) -> Option<&'static str> {
    match format {
        Format::Uri => Some("^[A-Za-z][A-Za-z0-9+.-]*://"),
        Format::Duration => Some(r"^\s*[0-9]"),
        Format::Size => Some(r"^\s*[0-9.]"),
        Format::JsonPointer => Some("^(/|$)"),
        Format::Name => Some("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"),
        Format::Topic => Some("^[A-Za-z0-9._-]{1,249}$"),
        Format::Version => Some(r"^[0-9]+\.[0-9]+\.[0-9]+"),
        Format::Broker | Format::Brokers => Some(":[0-9]+"),
        Format::Listen => Some("[0-9]+$"),
        Format::Template | Format::Module | Format::File => None,
    }
}
