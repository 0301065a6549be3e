//! Texts that must not be shown.

use std::fmt;
use std::sync::Arc;

/// What to put in place of a secret.
const MASK: &str = "***";

/// Secrets to black out; `Debug` shows only how many.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Redactions(Arc<Vec<String>>);

impl Redactions {
    /// Of these secrets, in their JSON-escaped form too; empty ones are left out.
    pub fn new(secrets: impl IntoIterator<Item = String>) -> Self {
        let mut all: Vec<String> = Vec::new();
        for secret in secrets.into_iter().filter(|secret| !secret.is_empty()) {
            let json = serde_json::Value::from(secret.as_str()).to_string();
            let escaped = json.trim_start_matches('"').strip_suffix('"');
            // A line of a secret of several lines (a key in PEM) shows as much as the whole.
            all.extend(
                secret
                    .lines()
                    .map(str::trim)
                    .filter(|line| line.len() >= 8)
                    .map(str::to_owned),
            );
            all.extend(
                escaped
                    .filter(|escaped| *escaped != secret)
                    .map(str::to_owned),
            );
            all.push(secret);
        }
        // The longest first: one secret may hold another.
        all.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        all.dedup();
        Self(Arc::new(all))
    }

    /// The secrets of both.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self::new(self.iter().chain(other.iter()).map(str::to_owned))
    }

    /// Whether there is nothing to black out.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The secrets, longest first; for a log filter of its own.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// The text with every secret blacked out.
    pub fn apply(&self, text: &str) -> String {
        let mut out = text.to_owned();
        for secret in self.iter() {
            if out.contains(secret) {
                out = out.replace(secret, MASK);
            }
        }
        out
    }
}

impl fmt::Debug for Redactions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redactions({})", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longest_first_and_escapes() {
        let redactions = Redactions::new(["ab".into(), "abc\"d".into(), String::new()]);
        assert_eq!(redactions.apply(r#"xabx abc"d abc\"d"#), "x***x *** ***");
        assert!(!format!("{redactions:?}").contains("ab"));
    }
}
