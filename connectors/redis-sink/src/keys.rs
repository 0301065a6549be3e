//! The sink's own keys in Redis.
//!
//! | key | type | holds |
//! |---|---|---|
//! | `gristmill:{wikipedia/type-counts}:offsets:<topic>` | hash | partition → next offset; `topic-id` → the topic they are of |
//! | `gristmill:{wikipedia/type-counts}:keys` | set | every key that was counted |
//!
//! and with `window`:
//!
//! | key | type | holds |
//! |---|---|---|
//! | `…:window:2026-01-01T00:03:00Z` | hash | counted key → count, of the window that starts then |
//! | `…:windows:open`, `…:windows:closed` | sorted set | `start end key`, by end and by expiry, in ms |
//! | `…:marks:<topic>` | hash | partition → highest event time; `closed` → all before is final |
//! | `…:late` | hash | counted key → records that came too late |
//!
//! On Redis Cluster all keys of a script must share a slot. Where the count template has a hash tag
//! (`{{wiki}}:{value}`), the own keys take it over: `gristmill:{wiki}:wikipedia/type-counts:…`.

use gristmill_counter::RESERVED_PREFIX;

use crate::ConfigError;

/// The field of [`Keys::offsets`] with the id of the topic that the offsets are of.
pub(crate) const TOPIC_ID_FIELD: &str = "topic-id";

/// Names of the own keys of one connector.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    prefix: String,
}

impl Keys {
    pub(crate) fn new(
        pipeline: &str,
        connector: &str,
        hash_tag: Option<&str>,
    ) -> Result<Self, ConfigError> {
        for name in [pipeline, connector] {
            if name.is_empty() || name.contains(['{', '}', ':', '/']) {
                return Err(ConfigError::Name {
                    name: name.to_owned(),
                });
            }
        }
        let prefix = match hash_tag {
            None => format!("{RESERVED_PREFIX}{{{pipeline}/{connector}}}"),
            Some(tag) => format!("{RESERVED_PREFIX}{{{tag}}}:{pipeline}/{connector}"),
        };
        Ok(Self { prefix })
    }

    /// What all of them begin with.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The hash of a topic's next offsets.
    pub(crate) fn offsets(&self, topic: &str) -> String {
        format!("{}:offsets:{topic}", self.prefix)
    }

    /// The hash of a topic's marks.
    pub(crate) fn marks(&self, topic: &str) -> String {
        format!("{}:marks:{topic}", self.prefix)
    }

    /// The hash of the window that starts at `start_ms`.
    pub(crate) fn window(&self, start_ms: i64) -> String {
        match jiff::Timestamp::from_millisecond(start_ms) {
            Ok(start) => format!("{}:window:{start}", self.prefix),
            // Beyond the year 9999.
            Err(_) => format!("{}:window:{start_ms}", self.prefix),
        }
    }

    pub(crate) fn open_windows(&self) -> String {
        format!("{}:windows:open", self.prefix)
    }

    pub(crate) fn closed_windows(&self) -> String {
        format!("{}:windows:closed", self.prefix)
    }

    /// The hash of late records by key.
    pub(crate) fn late(&self) -> String {
        format!("{}:late", self.prefix)
    }

    /// The set of counted keys.
    pub(crate) fn index(&self) -> String {
        format!("{}:keys", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_keys_are_reserved_and_share_the_templates_slot() {
        let keys = Keys::new("wikipedia", "type-counts", None).unwrap();
        assert_eq!(keys.index(), "gristmill:{wikipedia/type-counts}:keys");
        assert_eq!(
            keys.offsets("edits"),
            "gristmill:{wikipedia/type-counts}:offsets:edits"
        );
        let tagged = Keys::new("wikipedia", "type-counts", Some("wiki")).unwrap();
        assert_eq!(
            tagged.index(),
            "gristmill:{wiki}:wikipedia/type-counts:keys"
        );
        for key in [keys.index(), tagged.offsets("edits")] {
            assert!(gristmill_counter::check_key(key.as_bytes()).is_err());
        }
    }

    #[test]
    fn names_cannot_collide() {
        for (pipeline, connector) in [("a/b", "c"), ("a", "b:c"), ("", "c"), ("a", "{b}")] {
            assert!(Keys::new(pipeline, connector, None).is_err());
        }
    }
}
