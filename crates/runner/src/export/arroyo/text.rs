//! SQL texts, names and variables.

use serde_json::Value as Json;

/// An SQL text.
pub(super) fn text(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

/// A name that needs no quotes.
pub(super) fn name(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let name = name.chars().map(plain).collect::<String>();
    let name = name.to_ascii_lowercase();
    match name.starts_with(|c: char| c.is_ascii_digit()) {
        true => format!("t_{name}"),
        false => name,
    }
}

/// `${{ secrets.NAME }}` as Arroyo fills it in, `{{ NAME }}`, from its environment; `None` where
/// nothing is filled in.
pub(super) fn secret(written: &str) -> Result<Option<String>, String> {
    if !written.contains("${{") {
        return Ok(None);
    }
    let inner = written
        .strip_prefix("${{")
        .and_then(|rest| rest.strip_suffix("}}"));
    let known = inner.and_then(|inner| {
        let inner = inner.trim();
        let name = inner.strip_prefix("secrets.");
        name.or_else(|| inner.strip_prefix("env."))
    });
    match known.filter(|name| !name.contains(['{', '}', ' '])) {
        Some(name) => Ok(Some(format!("{{{{ {name} }}}}"))),
        None => Err("a variable must be the whole value to be filled in by Arroyo".to_owned()),
    }
}

/// Where the counts go, as options of a table.
pub(super) fn redis_options(section: &Json) -> Result<Vec<(String, String)>, String> {
    let written = |key: &str| section.get(key).and_then(Json::as_str);
    let url = written("url").unwrap_or_default();
    if url.contains("${{") || url.contains('@') {
        return Err(
            "`redis.url` holds a variable or a login: write `username` and `password` beside it"
                .to_owned(),
        );
    }
    if url.starts_with("unix:") {
        return Err(
            "`redis.url`: Arroyo does not reach a Redis by a socket of this machine".to_owned(),
        );
    }
    let mut options = vec![("address".to_owned(), url.to_owned())];
    for key in ["username", "password"] {
        let Some(value) = written(key) else { continue };
        let filled = secret(value).map_err(|reason| format!("`redis.{key}`: {reason}"))?;
        match filled {
            Some(filled) => options.push((key.to_owned(), filled)),
            None if key == "username" => options.push((key.to_owned(), value.to_owned())),
            None => {
                return Err(
                    "`redis.password` would be printed: make it a secret, `${{ secrets.NAME }}`"
                        .to_owned(),
                );
            }
        }
    }
    Ok(options)
}

/// What a record counts for: the count key's template over the value's expression.
pub(super) fn key(template: &str, value: &str, topic: &str) -> Result<String, String> {
    // Literal braces are doubled.
    let parts = template.replace("{{", "\u{1}").replace("}}", "\u{2}");
    if parts.contains("{key}") {
        return Err(
            "`count`: `{key}` cannot be expressed, a record's key is bytes there".to_owned(),
        );
    }
    let literal = |part: &str| text(&part.replace('\u{1}', "{").replace('\u{2}', "}"));
    let mut terms = Vec::new();
    for (index, part) in parts.replace("{topic}", topic).split("{value}").enumerate() {
        if index > 0 {
            terms.push(value.to_owned());
        }
        if !part.is_empty() {
            terms.push(literal(part));
        }
    }
    Ok(terms.join(" || "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_expressions_over_the_value() {
        for (template, expect) in [
            ("{value}", Ok("v")),
            ("t:{value}", Ok("'t:' || v")),
            ("{{w}}:{topic}:{value}!", Ok("'{w}:edits:' || v || '!'")),
            ("{{key}}{value}", Ok("'{key}' || v")),
            ("it's", Ok("'it''s'")),
            ("{key}", Err(())),
        ] {
            let got = key(template, "v", "edits");
            assert_eq!(got.as_deref().map_err(|_| ()), expect, "{template}");
        }
    }

    #[test]
    fn secrets_stay_variables() {
        assert_eq!(secret("plain"), Ok(None));
        assert_eq!(
            secret("${{ secrets.A_B }}"),
            Ok(Some("{{ A_B }}".to_owned()))
        );
        assert!(secret("x${{ secrets.A }}").is_err());
        assert!(secret("${{ other.A }}").is_err());
    }

    #[test]
    fn names_need_no_quotes() {
        assert_eq!(name("wikipedia-edits.V2"), "wikipedia_edits_v2");
        assert_eq!(name("1-a"), "t_1_a");
        assert_eq!(text("it's"), "'it''s'");
    }
}
