//! Words for messages: values cut to size, lists, nearest names.

use std::fmt::Write as _;

const VALUE_CHARS_MAX: usize = 60;

/// A value in a sentence, in backquotes and not too long.
pub(crate) fn quote(text: &str) -> String {
    let mut chars = text.chars();
    let head: String = chars.by_ref().take(VALUE_CHARS_MAX).collect();
    let dots = if chars.next().is_some() { "…" } else { "" };
    format!("`{head}{dots}`")
}

/// `a`, `b` or `c`.
pub(crate) fn one_of<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> String {
    join(names, "or")
}

/// `a`, `b` and `c`.
pub(crate) fn all_of<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> String {
    join(names, "and")
}

fn join<S: AsRef<str>>(names: impl IntoIterator<Item = S>, word: &str) -> String {
    let names: Vec<S> = names.into_iter().collect();
    let mut out = String::new();
    for (index, name) in names.iter().enumerate() {
        let lead = match index {
            0 => String::new(),
            _ if index + 1 == names.len() => format!(" {word} "),
            _ => ", ".to_owned(),
        };
        let _ = write!(out, "{lead}{}", quote(name.as_ref()));
    }
    out
}

/// How a text is written in YAML: quoted where it must be.
pub(crate) fn yaml_scalar(text: &str) -> String {
    let plain = matches!(crate::scalar::resolve(text), crate::tree::Value::Text(_))
        && !text.starts_with(|c: char| c.is_whitespace() || "{}[],&*#?|-<>=!%@`\"'".contains(c))
        && !text.contains(": ")
        && !text.contains(" #")
        && !text.ends_with(|c: char| c == ':' || c.is_whitespace())
        && !text.contains(|c: char| c.is_control());
    if plain {
        return text.to_owned();
    }
    // JSON's strings are YAML's double-quoted ones.
    serde_json::Value::from(text).to_string()
}

/// Names that people bring along from Kafka, Fluvio and other tools.
const SYNONYMS: [(&str, &str); 22] = [
    ("earliest", "beginning"),
    ("latest", "end"),
    ("start", "beginning"),
    ("bootstrap.servers", "brokers"),
    ("bootstrap-servers", "brokers"),
    ("servers", "brokers"),
    ("group", "id"),
    ("group-id", "id"),
    ("group.id", "id"),
    ("replication", "replication-factor"),
    ("replicas", "replication-factor"),
    ("params", "with"),
    ("parameters", "with"),
    ("module", "uses"),
    ("smartmodule", "uses"),
    ("endpoint", "url"),
    ("uri", "url"),
    ("address", "url"),
    ("compression.type", "compression"),
    ("linger.ms", "linger"),
    ("batch.size", "batch-size"),
    ("timeout", "time"),
];

fn fold(name: &str) -> String {
    let fold = |c: char| if c == '_' || c == ' ' { '-' } else { c };
    name.chars()
        .flat_map(char::to_lowercase)
        .map(fold)
        .collect()
}

/// The name that was probably meant, if one is near enough.
pub fn nearest<'a, S: AsRef<str> + ?Sized + 'a>(
    name: &str,
    known: impl IntoIterator<Item = &'a S>,
) -> Option<&'a str> {
    // Long junk is nobody's typo, and distances cost the product of the lengths.
    if name.chars().count() > 128 {
        return None;
    }
    let folded = fold(name);
    let length = folded.chars().count();
    let mut best: Option<(usize, &str)> = None;
    for candidate in known.into_iter().map(AsRef::as_ref) {
        let other = fold(candidate);
        let length = length.max(other.chars().count());
        let distance = if folded == other {
            0
        } else if SYNONYMS.contains(&(folded.as_str(), other.as_str())) {
            1
        } else {
            let distance = strsim::damerau_levenshtein(&folded, &other);
            // One slip in three letters, three in nine and beyond; never most of a short name.
            let allowed = (length / 3).clamp(1, 3);
            let extends = other.len() >= 4
                && folded.len() >= 4
                && (other.starts_with(&folded) || folded.starts_with(&other));
            if distance > allowed && !extends || distance >= length {
                continue;
            }
            distance + 1
        };
        if best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        let known = [
            "url",
            "user-agent",
            "key",
            "timestamp",
            "brokers",
            "partitions",
            "id",
        ];
        let check = |name: &str, expect: Option<&str>| {
            assert_eq!(nearest(name, known.iter().copied()), expect, "{name}");
        };
        check("user-agnet", Some("user-agent"));
        check("user_agent", Some("user-agent"));
        check("UserAgent", Some("user-agent"));
        check("ulr", Some("url"));
        check("partition", Some("partitions"));
        check("bootstrap.servers", Some("brokers"));
        check("group-id", Some("id"));
        check("zzz", None);
        check("password", None);
        check("x", None);
    }

    #[test]
    fn scalars_are_quoted_where_yaml_would_read_something_else() {
        for (text, expect) in [
            ("a b", "a b"),
            ("{value}", "\"{value}\""),
            ("0.1", "\"0.1\""),
            ("true", "\"true\""),
            ("a: b", "\"a: b\""),
            ("/id", "/id"),
            ("", "\"\""),
        ] {
            assert_eq!(yaml_scalar(text), expect);
        }
    }
}
