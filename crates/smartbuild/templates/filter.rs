//! Keeps the records whose value holds a text.

use gristmill_smartmodule::{Params, Record, Result, State, smartmodule};

/// Set once by `init`, before the first record.
static TEXT: State<String> = State::new();

/// Takes the parameters, which `SmartModule.toml` describes.
#[smartmodule(init)]
fn init(mut params: Params) -> Result<()> {
    TEXT.set(params.or("text", String::new())?)?;
    params.finish()
}

/// An error sends the record to the dead-letter topic, with the error's words.
#[smartmodule(filter)]
fn filter(record: Record<'_>) -> Result<bool> {
    let text = TEXT.get_or(String::new);
    Ok(holds(record.text()?, text))
}

fn holds(value: &str, text: &str) -> bool {
    value.contains(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_looked_for_anywhere() {
        assert!(holds("two words", "word"));
        assert!(holds("two words", ""));
        assert!(!holds("two words", "three"));
    }

    #[test]
    fn what_is_no_text_is_an_error() {
        assert!(filter(Record::new(b"\xff")).is_err());
    }
}
