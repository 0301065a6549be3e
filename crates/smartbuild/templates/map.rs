//! Puts a text before every value; the key is kept.

use gristmill_smartmodule::{Params, Record, Result, State, smartmodule};

/// Set once by `init`, before the first record.
static PREFIX: State<String> = State::new();

/// Takes the parameters, which `SmartModule.toml` describes.
#[smartmodule(init)]
fn init(mut params: Params) -> Result<()> {
    PREFIX.set(params.or("prefix", String::new())?)?;
    params.finish()
}

/// An error sends the record to the dead-letter topic, with the error's words.
#[smartmodule(map)]
fn map<'a>(record: Record<'a>) -> Result<(Option<&'a [u8]>, String)> {
    let prefix = PREFIX.get_or(String::new);
    Ok((record.key(), prefixed(prefix, record.text()?)))
}

fn prefixed(prefix: &str, value: &str) -> String {
    format!("{prefix}{value}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_comes_first() {
        assert_eq!(prefixed("a-", "b"), "a-b");
    }

    #[test]
    fn the_key_is_kept() {
        let record = Record::new("b").with_key("k");
        assert_eq!(map(record).unwrap(), (Some(&b"k"[..]), "b".to_owned()));
    }
}
