//! Keeps JSON records by the value of one of their fields.
//!
//! ```yaml
//! transforms:
//!   - uses: json-filter@0.1.0          # English Wikipedia
//!     with: {field: wiki, equals: enwiki}
//!   - uses: json-filter@0.1.0          # no bots
//!     with: {field: bot, equals: "true", negate: "true"}
//!   - uses: json-filter@0.1.0          # user pages
//!     with: {field: title, matches: "^User:"}
//! ```
//!
//! The field's text is what is compared: a string's, escapes decoded, a number or boolean as
//! written. A field that is absent, `null`, an object or an array has none, and is neither equal to
//! anything nor matched. `negate` keeps what else would go. A record that is not one whole, valid
//! JSON document is an error with byte offset and reason.
//!
//! Patterns are those of the crate `regex-lite`: found anywhere unless anchored, linear in time.

use gristmill_smartmodule::json::Path;
use gristmill_smartmodule::{Params, Record, Result, State, bail, smartmodule};
use regex_lite::Regex;

static RULE: State<Rule> = State::new();

/// Reads the parameters.
///
/// # Errors
/// No field, not exactly one of `equals` and `matches`, or one that is not what it must be.
#[smartmodule(init)]
pub fn init(params: Params) -> Result<()> {
    RULE.set(Rule::new(params)?)
}

/// Keeps what the rule says.
///
/// # Errors
/// The record's value is malformed JSON.
#[smartmodule(filter)]
pub fn filter(record: Record<'_>) -> Result<bool> {
    RULE.get()?.keeps(record.value())
}

/// What the parameters say.
#[derive(Debug)]
struct Rule {
    field: Path,
    condition: Condition,
    negate: bool,
}

#[derive(Debug)]
enum Condition {
    Equals(String),
    Matches(Regex),
}

impl Rule {
    fn new(mut params: Params) -> Result<Self> {
        let field = params.required("field")?;
        let equals = params.optional("equals")?;
        let matches = params.optional("matches")?;
        let negate = params.or("negate", false)?;
        params.finish()?;
        let condition = match (equals, matches) {
            (Some(text), None) => Condition::Equals(text),
            (None, Some(pattern)) => Condition::Matches(pattern),
            (None, None) => bail!("give `equals` or `matches`"),
            (Some(_), Some(_)) => bail!("give `equals` or `matches`, not both"),
        };
        Ok(Self {
            field,
            condition,
            negate,
        })
    }

    fn keeps(&self, json: &[u8]) -> Result<bool> {
        let text = match self.field.find(json)? {
            Some(value) => value.text()?,
            None => None,
        };
        let met = text.is_some_and(|text| match &self.condition {
            Condition::Equals(expected) => text == *expected,
            Condition::Matches(pattern) => pattern.is_match(&text),
        });
        Ok(met != self.negate)
    }
}

#[cfg(test)]
mod tests {
    use gristmill_smartmodule::params;

    use super::*;

    #[track_caller]
    fn check(params: Params, json: &str, kept: bool) {
        let rule = Rule::new(params).unwrap();
        assert_eq!(
            rule.keeps(json.as_bytes()).unwrap(),
            kept,
            "{rule:?} {json}"
        );
    }

    #[track_caller]
    fn refused(params: Params, error: &str) {
        let text = Rule::new(params).unwrap_err().to_string();
        assert!(text.contains(error), "{text}");
    }

    #[test]
    fn equals() {
        let enwiki = || params! { "field" => "wiki", "equals" => "enwiki" };
        check(enwiki(), r#"{"wiki":"enwiki"}"#, true);
        check(enwiki(), r#"{"wiki":"en\u0077iki"}"#, true);
        check(enwiki(), r#"{"wiki":"dewiki"}"#, false);
        check(enwiki(), r#"{"wiki":"enwikibooks"}"#, false);
        check(enwiki(), r#"{"meta":{"wiki":"enwiki"}}"#, false);
        check(enwiki(), r#"{"wiki":"enwiki","wiki":"dewiki"}"#, false);
        check(enwiki(), r#"{"wiki":["enwiki"]}"#, false);
        let number = || params! { "field" => "/length/old", "equals" => "0" };
        check(number(), r#"{"length":{"old":0}}"#, true);
        check(number(), r#"{"length":{"old":0.0}}"#, false);
        let empty = || params! { "field" => "comment", "equals" => "" };
        check(empty(), r#"{"comment":""}"#, true);
        check(empty(), r#"{"comment":null}"#, false);
    }

    #[test]
    fn negated() {
        let people = || params! { "field" => "bot", "equals" => "true", "negate" => "true" };
        check(people(), r#"{"bot":false}"#, true);
        check(people(), r#"{"bot":true}"#, false);
        check(people(), r#"{"user":"absent"}"#, true);
    }

    #[test]
    fn matches() {
        let users = || params! { "field" => "title", "matches" => "^User( talk)?:" };
        check(users(), r#"{"title":"User:Someone"}"#, true);
        check(users(), r#"{"title":"User talk:Someone"}"#, true);
        check(users(), r#"{"title":"Talk:User:x"}"#, false);
        check(users(), r#"{"title":null}"#, false);
        let anywhere = || params! { "field" => "title", "matches" => "é+" };
        check(anywhere(), r#"{"title":"caf\u00e9"}"#, true);
    }

    #[test]
    fn parameters_that_do_not_fit() {
        refused(params! { "equals" => "x" }, "parameter `field` is missing");
        refused(params! { "field" => "wiki" }, "give `equals` or `matches`");
        refused(
            params! { "field" => "a", "equals" => "x", "matches" => "y" },
            "not both",
        );
        refused(
            params! { "field" => "a", "matches" => "(" },
            "parameter `matches`: `(`: ",
        );
        refused(
            params! { "field" => "a", "equals" => "x", "negate" => "yes" },
            "parameter `negate`: `yes`: ",
        );
        refused(
            params! { "field" => "a", "equal" => "x" },
            "unknown parameter `equal`; json-filter takes: field, equals, matches, negate; did you \
             mean `equals`?",
        );
    }

    #[test]
    fn what_is_no_json_is_an_error() {
        let rule = Rule::new(params! { "field" => "a", "equals" => "x" }).unwrap();
        let error = rule.keeps(br#"{"a":"x"} x"#).unwrap_err().to_string();
        assert_eq!(error, "malformed JSON at byte 10: trailing characters");
    }
}
