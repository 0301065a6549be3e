//! Keeps a running count or sum, by a field's value if need be. Each record becomes the state after
//! it; the key is kept.
//!
//! | with | the record becomes | for example |
//! |---|---|---|
//! | nothing | the number of records so far | `1733` |
//! | `sum: /length/new` | the sum of that field's integers so far | `98114` |
//! | `by: wiki` | a JSON object: how many of each | `{"enwiki":912,"dewiki":821}` |
//! | `by: wiki, sum: /length/new` | a JSON object: the sum of each | `{"enwiki":…}` |
//!
//! A record that lacks a field it is counted or added up by leaves the state as it was. Sums are
//! exact: a field that is there and no integer of 64 bits, and a sum beyond them, are errors, and so
//! is a record that is not one whole, valid JSON document. Objects hold at most 1,000 texts: each
//! record carries all of them.

use gristmill_smartmodule::json::{Path, Value, write_string};
use gristmill_smartmodule::{Error, Params, Record, Result, State, bail, smartmodule};

/// Different texts of the field `by`. Wikimedia has about 900 wikis.
const GROUPS_MAX: usize = 1_000;

static RULE: State<Rule> = State::new();

/// Reads the parameters.
///
/// # Errors
/// A parameter that is no field, or unknown.
#[smartmodule(init)]
pub fn init(params: Params) -> Result<()> {
    RULE.set(Rule::new(params)?)
}

/// The state after the record.
///
/// # Errors
/// The record's value is malformed JSON, or what is to be added is no integer.
#[smartmodule(aggregate)]
pub fn aggregate(accumulator: &[u8], record: Record<'_>) -> Result<Vec<u8>> {
    RULE.get_or(Rule::default).add(accumulator, record.value())
}

/// What the parameters say.
#[derive(Debug, Default)]
struct Rule {
    by: Option<Path>,
    sum: Option<Path>,
}

impl Rule {
    fn new(mut params: Params) -> Result<Self> {
        let rule = Self {
            by: params.optional("by")?,
            sum: params.optional("sum")?,
        };
        params.finish()?;
        Ok(rule)
    }

    fn add(&self, accumulator: &[u8], json: &[u8]) -> Result<Vec<u8>> {
        let document = Value::parse(json)?;
        let text = |path: &Path| match path.find_in(&document)? {
            Some(value) => Ok::<_, Error>(value.text()?),
            None => Ok(None),
        };
        let group = match &self.by {
            Some(by) => text(by)?,
            None => None,
        };
        let amount = match &self.sum {
            Some(sum) => text(sum)?.map(|text| integer(&text, sum)).transpose()?,
            None => Some(1),
        };
        match (&self.by, group, amount) {
            (None, _, amount) => {
                let so_far = match accumulator {
                    b"" => 0,
                    text => integer(std::str::from_utf8(text)?, &"state")?,
                };
                let total = plus(so_far, amount.unwrap_or(0))?;
                Ok(total.to_string().into_bytes())
            }
            (Some(_), Some(group), Some(amount)) => add_to(accumulator, &group, amount),
            (Some(_), ..) => Ok(match accumulator {
                b"" => b"{}".to_vec(),
                _ => accumulator.to_vec(),
            }),
        }
    }
}

/// `state`, an object of integers, with `amount` added to `group`. New groups come last.
fn add_to(state: &[u8], group: &str, amount: i64) -> Result<Vec<u8>> {
    let state = match state {
        b"" => b"{}",
        state => state,
    };
    let members = Value::parse(state)?.members()?;
    let mut out = Vec::with_capacity(state.len() + 32);
    out.push(b'{');
    let mut member = |name: &str, number: i64| {
        if out.len() > 1 {
            out.push(b',');
        }
        write_string(&mut out, name);
        out.extend_from_slice(format!(":{number}").as_bytes());
    };
    let mut found = false;
    for (name, value) in &members {
        let mut number = integer(value.raw(), name)?;
        if name == group {
            found = true;
            number = plus(number, amount)?;
        }
        member(name, number);
    }
    if !found {
        if members.len() >= GROUPS_MAX {
            bail!("more than {GROUPS_MAX} different texts; `{group}` is one more");
        }
        member(group, amount);
    }
    out.push(b'}');
    Ok(out)
}

fn integer(text: &str, what: &dyn std::fmt::Display) -> Result<i64> {
    text.parse()
        .map_err(|_| Error::new(format_args!("`{what}` is `{text}`, no integer of 64 bits")))
}

fn plus(a: i64, b: i64) -> Result<i64> {
    a.checked_add(b)
        .ok_or_else(|| Error::new(format_args!("the sum of {a} and {b} is beyond 64 bits")))
}

#[cfg(test)]
mod tests {
    use gristmill_smartmodule::params;

    use super::*;

    /// The states after each record; an error leaves the state as it was, as the host does.
    fn run(params: Params, records: &[&str]) -> Vec<String> {
        let rule = Rule::new(params).unwrap();
        let mut state = Vec::new();
        let states = records
            .iter()
            .map(|json| match rule.add(&state, json.as_bytes()) {
                Ok(new) => {
                    state = new;
                    String::from_utf8_lossy(&state).into_owned()
                }
                Err(error) => error.to_string(),
            });
        states.collect()
    }

    #[test]
    fn counts() {
        assert_eq!(run(params! {}, &["{}", "[]", "1"]), ["1", "2", "3"]);
        let records = [
            r#"{"w":"a"}"#,
            r#"{"w":"b\""}"#,
            r#"{"w":"a"}"#,
            "{}",
            r#"{"w":null}"#,
        ];
        let states = [
            r#"{"a":1}"#,
            r#"{"a":1,"b\"":1}"#,
            r#"{"a":2,"b\"":1}"#,
            r#"{"a":2,"b\"":1}"#,
            r#"{"a":2,"b\"":1}"#,
        ];
        assert_eq!(run(params! { "by" => "w" }, &records), states);
        assert_eq!(run(params! { "by" => "w" }, &["{}"]), ["{}"]);
    }

    #[test]
    fn sums() {
        let records = [r#"{"n":5}"#, r#"{"n":-7}"#, r#"{}"#, r#"{"n":"3"}"#];
        assert_eq!(
            run(params! { "sum" => "n" }, &records),
            ["5", "-2", "-2", "1"]
        );
        let records = [
            r#"{"w":1,"n":5}"#,
            r#"{"w":2,"n":6}"#,
            r#"{"w":1,"n":1}"#,
            r#"{"w":1}"#,
        ];
        assert_eq!(
            run(params! { "by" => "w", "sum" => "n" }, &records),
            [
                r#"{"1":5}"#,
                r#"{"1":5,"2":6}"#,
                r#"{"1":6,"2":6}"#,
                r#"{"1":6,"2":6}"#
            ]
        );
    }

    #[test]
    fn errors_leave_the_state() {
        let most = format!(r#"{{"n":{}}}"#, i64::MAX);
        let records = [r#"{"n":1}"#, r#"{"n":1.5}"#, &most, "{", r#"{"n":1}"#];
        assert_eq!(
            run(params! { "sum" => "n" }, &records),
            [
                "1",
                "`n` is `1.5`, no integer of 64 bits",
                "the sum of 1 and 9223372036854775807 is beyond 64 bits",
                "malformed JSON at byte 1: EOF while parsing an object",
                "2"
            ]
        );
    }

    #[test]
    fn groups_are_bounded() {
        let records: Vec<_> = (0..=GROUPS_MAX)
            .map(|n| format!(r#"{{"w":{n}}}"#))
            .collect();
        let records: Vec<&str> = records.iter().map(String::as_str).collect();
        let states = run(params! { "by" => "w" }, &records);
        assert_eq!(
            states[GROUPS_MAX],
            "more than 1000 different texts; `1000` is one more"
        );
        assert!(states[GROUPS_MAX - 1].ends_with(r#","999":1}"#));
    }
}
