//! The running sum of whole numbers.

use gristmill_smartmodule::{Error, Record, Result, smartmodule};

/// The sum so far is empty before the first record. An error sends the record to the dead-letter
/// topic, with the error's words, and leaves the sum as it is.
#[smartmodule(aggregate)]
fn aggregate(sum: &[u8], record: Record<'_>) -> Result<String> {
    let sum = match sum {
        b"" => 0,
        sum => number(Record::new(sum).text()?)?,
    };
    let number = number(record.text()?)?;
    let sum = sum.checked_add(number).ok_or_else(|| Error::new("the sum is too large"))?;
    Ok(sum.to_string())
}

fn number(text: &str) -> Result<i64> {
    text.trim()
        .parse()
        .map_err(|error| Error::new(format_args!("`{text}` is no whole number: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_added_up() {
        assert_eq!(aggregate(b"", Record::new("4")).unwrap(), "4");
        assert_eq!(aggregate(b"4", Record::new("-7")).unwrap(), "-3");
    }

    #[test]
    fn what_is_no_number_is_an_error() {
        assert!(aggregate(b"4", Record::new("four")).is_err());
        let large = i64::MAX.to_string();
        assert!(aggregate(large.as_bytes(), Record::new("1")).is_err());
    }
}
