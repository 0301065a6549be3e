//! The subset of JSON Schema that describes a manifest: one engine for the file's own keys and for
//! every connector's section.

use serde_json::Value as Json;

use crate::format::Format;

/// A value's kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// Text.
    String,
    /// A whole number.
    Integer,
    /// Any number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// A list.
    Array,
    /// A mapping.
    Object,
}

impl Type {
    pub(crate) const ALL: [(&'static str, Self); 6] = [
        ("string", Self::String),
        ("integer", Self::Integer),
        ("number", Self::Number),
        ("boolean", Self::Boolean),
        ("array", Self::Array),
        ("object", Self::Object),
    ];

    /// As JSON Schema has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Array => "array",
            Self::Object => "object",
        }
    }

    /// In a sentence.
    pub(crate) fn noun(self) -> &'static str {
        match self {
            Self::String => "text",
            Self::Integer => "a whole number",
            Self::Number => "a number",
            Self::Boolean => "`true` or `false`",
            Self::Array => "a list",
            Self::Object => "a mapping",
        }
    }
}

/// Keys of a mapping that are not among its properties.
#[derive(Debug, Clone, PartialEq)]
pub enum Additional {
    /// Are errors.
    Denied,
    /// May be anything.
    Any,
    /// Have values of this kind.
    Schema(Box<Schema>),
}

/// What a value may be.
#[derive(Debug, Clone, PartialEq)]
pub struct Schema {
    /// Any of these; empty means anything.
    pub types: Vec<Type>,
    /// A short name.
    pub title: Option<String>,
    /// What it is for, with units.
    pub description: Option<String>,
    /// Keys of a mapping, in the order to show.
    pub properties: Vec<(String, Schema)>,
    /// Keys that must be there.
    pub required: Vec<String>,
    /// Other keys.
    pub additional: Additional,
    /// What the keys of a mapping look like.
    pub names: Option<Box<Schema>>,
    /// What a list holds.
    pub items: Option<Box<Schema>>,
    /// The values that are allowed; empty means any.
    pub choices: Vec<Json>,
    /// Least number.
    pub minimum: Option<f64>,
    /// Greatest number.
    pub maximum: Option<f64>,
    /// Least length: characters of a text, items of a list, keys of a mapping.
    pub length_min: Option<usize>,
    /// Greatest length.
    pub length_max: Option<usize>,
    /// What the value is if it is left out.
    pub default: Option<Json>,
    /// The syntax of a text.
    pub format: Option<Format>,
    /// Placeholders that a template may hold; empty means any. Written `x-placeholders`.
    pub placeholders: Vec<String>,
    /// URL schemes that are allowed; empty means any. Written `x-schemes`.
    pub schemes: Vec<String>,
    /// Values to show.
    pub examples: Vec<Json>,
    /// Whether variables that hold secrets may be filled in below here.
    pub(crate) secrets: bool,
    /// What to say about particular unknown keys.
    pub(crate) hints: Vec<(&'static str, String)>,
    /// Keys of other connectors' sections, the one to write instead, and what to say.
    pub(crate) sections: Vec<(String, String, String)>,
    /// Keys that start with `x-` are left alone: a place for anchors.
    pub(crate) extensions: bool,
}

impl Default for Schema {
    fn default() -> Self {
        Self {
            types: Vec::new(),
            title: None,
            description: None,
            properties: Vec::new(),
            required: Vec::new(),
            additional: Additional::Denied,
            names: None,
            items: None,
            choices: Vec::new(),
            minimum: None,
            maximum: None,
            length_min: None,
            length_max: None,
            default: None,
            format: None,
            placeholders: Vec::new(),
            schemes: Vec::new(),
            examples: Vec::new(),
            secrets: false,
            hints: Vec::new(),
            sections: Vec::new(),
            extensions: false,
        }
    }
}

impl Schema {
    /// Whatever it is: checked elsewhere, or not at all.
    pub(crate) fn anything() -> Self {
        Self {
            additional: Additional::Any,
            ..Self::default()
        }
    }

    /// Of one type.
    pub(crate) fn of(kind: Type) -> Self {
        Self {
            types: vec![kind],
            ..Self::default()
        }
    }

    /// Of any of several types.
    pub(crate) fn any_of(types: &[Type]) -> Self {
        Self {
            types: types.to_vec(),
            ..Self::default()
        }
    }

    pub(crate) fn text(format: Format) -> Self {
        Self {
            format: Some(format),
            ..Self::of(Type::String)
        }
    }

    pub(crate) fn object() -> Self {
        Self::of(Type::Object)
    }

    pub(crate) fn map_of(values: Self) -> Self {
        Self {
            additional: Additional::Schema(Box::new(values)),
            ..Self::object()
        }
    }

    pub(crate) fn list_of(items: Self) -> Self {
        Self {
            items: Some(Box::new(items)),
            ..Self::of(Type::Array)
        }
    }

    pub(crate) fn choice(choices: &[&str]) -> Self {
        Self {
            choices: choices.iter().map(|choice| Json::from(*choice)).collect(),
            ..Self::of(Type::String)
        }
    }

    pub(crate) fn about(mut self, description: &str) -> Self {
        self.description = Some(description.to_owned());
        self
    }

    pub(crate) fn example(mut self, example: impl Into<Json>) -> Self {
        self.examples.push(example.into());
        self
    }

    pub(crate) fn or_default(mut self, default: impl Into<Json>) -> Self {
        self.default = Some(default.into());
        self
    }

    pub(crate) fn with(mut self, key: &str, schema: Self) -> Self {
        self.properties.push((key.to_owned(), schema));
        self
    }

    pub(crate) fn require(mut self, key: &str, schema: Self) -> Self {
        self.required.push(key.to_owned());
        self.with(key, schema)
    }

    pub(crate) fn hint(mut self, key: &'static str, hint: impl Into<String>) -> Self {
        self.hints.push((key, hint.into()));
        self
    }

    pub(crate) fn range(mut self, minimum: f64, maximum: f64) -> Self {
        self.minimum = Some(minimum);
        self.maximum = Some(maximum);
        self
    }

    pub(crate) fn with_secrets(mut self) -> Self {
        self.secrets = true;
        self
    }

    pub(crate) fn allows(&self, kind: Type) -> bool {
        self.types.is_empty() || self.types.contains(&kind)
    }

    pub(crate) fn section(&self, key: &str) -> Option<&(String, String, String)> {
        self.sections.iter().find(|(other, ..)| other == key)
    }

    pub(crate) fn property(&self, key: &str) -> Option<&Self> {
        let found = self.properties.iter().find(|(name, _)| name == key);
        found.map(|(_, schema)| schema)
    }

    /// The schema of a key's value, whether the key is named here or not.
    pub(crate) fn child(&self, key: &str) -> Option<&Self> {
        self.property(key).or(match &self.additional {
            Additional::Schema(schema) => Some(schema),
            _ => None,
        })
    }

    /// A value that could stand here.
    pub(crate) fn sample(&self) -> String {
        let sample = self.examples.first().or(self.default.as_ref());
        match sample.or(self.choices.first()) {
            Some(Json::String(text)) => crate::text::yaml_scalar(text),
            Some(other) => other.to_string(),
            None => match self.format {
                Some(format) => crate::text::yaml_scalar(format.example()),
                None => match self.types.first() {
                    Some(Type::Integer | Type::Number) => "1".to_owned(),
                    Some(Type::Boolean) => "true".to_owned(),
                    Some(Type::Array) => "[…]".to_owned(),
                    Some(Type::Object) if !self.required.is_empty() => {
                        let needed = self
                            .properties
                            .iter()
                            .filter(|(name, _)| self.required.contains(name));
                        let needed: Vec<String> = needed
                            .map(|(name, property)| format!("{name}: {}", property.sample()))
                            .collect();
                        format!("{{{}}}", needed.join(", "))
                    }
                    Some(Type::Object) => "{…}".to_owned(),
                    _ => "…".to_owned(),
                },
            },
        }
    }
}
