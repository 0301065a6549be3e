//! Why a record or the parameters are refused.

use std::fmt;

/// A function's result; any error becomes an [`Error`] by `?`.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a record, or the parameters, are refused: text for a human.
///
/// Made of any error by `?`, its causes included, or of text by [`Error::new`] and [`bail!`].
///
/// [`bail!`]: crate::bail
pub struct Error {
    text: Box<str>,
}

impl Error {
    /// With this text.
    pub fn new(text: impl fmt::Display) -> Self {
        Self {
            text: text.to_string().into(),
        }
    }

    /// What the host is told.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl<E: std::error::Error> From<E> for Error {
    /// In the form that Fluvio's SDK gives an error and its causes.
    fn from(error: E) -> Self {
        let mut text = error.to_string();
        let mut cause = error.source();
        if cause.is_some() {
            text.push_str("\n\nCaused by:");
        }
        let only = cause.is_some_and(|cause| cause.source().is_none());
        let mut index = 0;
        while let Some(error) = cause {
            text.push('\n');
            match only {
                true => text.push_str("    "),
                false => text.push_str(&format!("{index: >4}: ")),
            }
            text.push_str(&error.to_string());
            cause = error.source();
            index += 1;
        }
        Self { text: text.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Return an [`Error`](crate::Error) with formatted text.
///
/// ```
/// # use gristmill_smartmodule::{Result, bail};
/// fn half(n: u32) -> Result<u32> {
///     if n % 2 == 1 {
///         bail!("{n} is odd");
///     }
///     Ok(n / 2)
/// }
/// assert_eq!(half(3).unwrap_err().to_string(), "3 is odd");
/// ```
#[macro_export]
macro_rules! bail {
    ($($text:tt)+) => {
        return ::core::result::Result::Err($crate::Error::new(::core::format_args!($($text)+)))
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Chain(&'static str, Option<Box<Chain>>);

    impl fmt::Display for Chain {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl std::error::Error for Chain {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            self.1.as_deref().map(|cause| cause as _)
        }
    }

    #[test]
    fn causes_are_told_as_fluvio_tells_them() {
        let links = |texts: &[&'static str]| {
            let chain = texts
                .iter()
                .rev()
                .fold(None, |cause, text| Some(Box::new(Chain(text, cause))));
            *chain.unwrap()
        };
        for texts in [&["a"][..], &["a", "b"], &["a", "b", "c"]] {
            let theirs = format!("{:?}", fluvio_smartmodule::Error::from(links(texts)));
            // With RUST_BACKTRACE set, theirs has more.
            let theirs = theirs.split("\n\nStack backtrace").next();
            assert_eq!(Some(Error::from(links(texts)).text()), theirs);
        }
    }
}
