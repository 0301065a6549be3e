//! Keys made from data must not reach what the sink keeps for itself.

/// Longest key in bytes that a record may count for.
///
/// A count's key is a label, and each distinct one stays in the store for good. 1 KiB is above any
/// label and below most documents, so a pipeline that forgot its transform and counts whole events
/// hears of it.
pub const KEY_BYTES_MAX: usize = 1024;

/// Keys under this prefix belong to Gristmill: positions and the index of counted keys.
pub const RESERVED_PREFIX: &str = "gristmill:";

/// Why a rendered key cannot be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Nothing is left after filling in the template.
    #[error(
        "the count key is empty: filter such records out, or put literal text into the template"
    )]
    Empty,
    /// Longer than [`KEY_BYTES_MAX`].
    #[error(
        "the count key has {bytes} bytes, more than the {KEY_BYTES_MAX} allowed: is a transform \
         missing that extracts a field?"
    )]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// In Gristmill's own key space.
    #[error(
        "the count key begins with `{RESERVED_PREFIX}`, where the sink keeps its positions: put \
         literal text before the placeholder, such as `count:{{value}}`"
    )]
    Reserved,
}

/// Whether `key` may be counted.
///
/// Reserved is whatever begins with [`RESERVED_PREFIX`], also after hash tags (`{…}`), because on
/// Redis Cluster a tag is how a key is moved next to others.
///
/// # Errors
/// See [`KeyError`].
pub fn check_key(key: &[u8]) -> Result<(), KeyError> {
    if key.is_empty() {
        return Err(KeyError::Empty);
    }
    if key.len() > KEY_BYTES_MAX {
        return Err(KeyError::TooLong { bytes: key.len() });
    }
    if is_reserved(key) {
        return Err(KeyError::Reserved);
    }
    Ok(())
}

/// Each leading `{…}` is looked past, whether it ends at its first `}` (as Redis reads it) or at a
/// later one (`{a}b}gristmill:`), so the question is: does the prefix stand at the start, or right
/// after a `}` of a key that starts with `{`?
fn is_reserved(key: &[u8]) -> bool {
    let prefix = RESERVED_PREFIX.as_bytes();
    if key.starts_with(prefix) {
        return true;
    }
    key.starts_with(b"{")
        && key
            .iter()
            .enumerate()
            .any(|(at, byte)| *byte == b'}' && key[at + 1..].starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sinks_own_keys_are_out_of_reach() {
        for key in [
            "gristmill:",
            "gristmill:{wikipedia/type-counts}:offsets:edits",
            "{x}gristmill:y",
            "{}gristmill:y",
            "{a}{b}gristmill:y",
            "{a}b}gristmill:y",
            "{{a}}gristmill:y",
        ] {
            assert_eq!(check_key(key.as_bytes()), Err(KeyError::Reserved), "{key}");
        }
    }

    #[test]
    fn other_keys_pass() {
        for key in [
            "edit",
            "gristmill",
            "Gristmill:x",
            "my-gristmill:x",
            "x{a}gristmill:y",
            "{a}x:gristmill:y",
            " gristmill:",
            "\0gristmill:",
            "142",
        ] {
            assert_eq!(check_key(key.as_bytes()), Ok(()), "{key}");
        }
        assert_eq!(check_key(&[0xff, 0, 0xfe]), Ok(()));
        assert_eq!(check_key(&vec![b'k'; KEY_BYTES_MAX]), Ok(()));
    }

    #[test]
    fn empty_and_endless_keys_are_refused() {
        assert_eq!(check_key(b""), Err(KeyError::Empty));
        let long = vec![b'k'; KEY_BYTES_MAX + 1];
        assert_eq!(check_key(&long), Err(KeyError::TooLong { bytes: 1025 }));
    }
}
