//! Splits a value into records of their own; each keeps the key.

use gristmill_smartmodule::{Params, Record, Result, State, smartmodule};

/// Set once by `init`, before the first record.
static SEPARATOR: State<String> = State::new();

/// Takes the parameters, which `SmartModule.toml` describes.
#[smartmodule(init)]
fn init(mut params: Params) -> Result<()> {
    SEPARATOR.set(params.or("separator", ",".to_owned())?)?;
    params.finish()
}

/// An error sends the record to the dead-letter topic, with the error's words.
#[smartmodule(array_map)]
fn array_map<'a>(record: Record<'a>) -> Result<Vec<(Option<&'a [u8]>, &'a str)>> {
    let separator = SEPARATOR.get_or(|| ",".to_owned());
    let parts = parts(record.text()?, separator);
    Ok(parts.map(|part| (record.key(), part)).collect())
}

fn parts<'a>(value: &'a str, separator: &str) -> impl Iterator<Item = &'a str> {
    value.split(separator).filter(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_parts_are_left_out() {
        assert_eq!(parts("a,,b", ",").collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn each_part_has_the_key() {
        let made = array_map(Record::new("a,b").with_key("k")).unwrap();
        assert_eq!(made, [(Some(&b"k"[..]), "a"), (Some(&b"k"[..]), "b")]);
    }
}
