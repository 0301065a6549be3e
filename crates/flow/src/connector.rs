//! What a connector tells about itself.

/// A kind of source or sink that a pipeline can name in `meta.type`.
///
/// The runner keeps the list of them; a connector knows no other connector, no YAML and no CLI.
pub trait Connector {
    /// The name in `meta.type`, such as `sse-source`.
    const TYPE: &'static str;
    /// The text of its `Connector.toml`: direction, section name and properties, from which the
    /// manifest is validated, the JSON Schema made and `connector describe` printed.
    const SPEC: &'static str;
    /// Its section of the connector config, deserialised after validation against [`Self::SPEC`].
    type Config: serde::de::DeserializeOwned;
}
