//! What `with:` in the pipeline says.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use crate::{Error, Result};

/// The parameters that a module was given.
///
/// `init` takes them out by name, each as the type that it needs, and then calls
/// [`finish`](Self::finish), which refuses what is left.
///
/// ```
/// # use gristmill_smartmodule::{Params, params};
/// let mut params: Params = params! { "limit" => "12", "patern" => "x" };
/// assert_eq!(params.required::<u32>("limit").unwrap(), 12);
/// assert_eq!(params.or("step", 5_u8).unwrap(), 5);
/// assert_eq!(params.optional::<String>("pattern").unwrap(), None);
/// assert!(params.finish().unwrap_err().text().ends_with("did you mean `pattern`?"));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Params {
    module: &'static str,
    given: BTreeMap<String, String>,
    /// What was asked for, in order.
    known: Vec<&'static str>,
}

impl Params {
    /// Those of a module of that name.
    pub fn new<K: Into<String>, V: Into<String>>(
        module: &'static str,
        given: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let given = given.into_iter();
        Self {
            module,
            given: given.map(|(k, v)| (k.into(), v.into())).collect(),
            known: Vec::new(),
        }
    }

    /// The parameter `name`, which must be given.
    ///
    /// # Errors
    /// It is not, or it is no `T`.
    pub fn required<T>(&mut self, name: &'static str) -> Result<T>
    where
        T: FromStr,
        T::Err: Display,
    {
        match self.optional(name)? {
            Some(value) => Ok(value),
            None => {
                let mut text = format!("parameter `{name}` is missing");
                // Mistyped, perhaps.
                if let Some(given) = closest(name, self.given.keys().map(String::as_str)) {
                    text.push_str(&format!("; `{given}` is no parameter, is it meant?"));
                }
                Err(Error::new(text))
            }
        }
    }

    /// The parameter `name`, if it is given.
    ///
    /// # Errors
    /// It is no `T`.
    pub fn optional<T>(&mut self, name: &'static str) -> Result<Option<T>>
    where
        T: FromStr,
        T::Err: Display,
    {
        self.known.push(name);
        let Some(text) = self.given.remove(name) else {
            return Ok(None);
        };
        text.parse().map(Some).map_err(|error: T::Err| {
            let reason = error.to_string();
            Error::new(if text.is_empty() {
                format!("parameter `{name}` is empty; {reason}")
            } else if reason.contains(&text) {
                format!("parameter `{name}`: {reason}")
            } else {
                format!("parameter `{name}`: `{text}`: {reason}")
            })
        })
    }

    /// The parameter `name`, or `default` if it is not given.
    ///
    /// # Errors
    /// It is no `T`.
    pub fn or<T>(&mut self, name: &'static str, default: T) -> Result<T>
    where
        T: FromStr,
        T::Err: Display,
    {
        Ok(self.optional(name)?.unwrap_or(default))
    }

    /// All parameters that were not asked for yet, for modules whose parameters' names are data.
    pub fn take_rest(&mut self) -> BTreeMap<String, String> {
        std::mem::take(&mut self.given)
    }

    /// There must be no other parameters.
    ///
    /// # Errors
    /// One was given that was not asked for.
    pub fn finish(self) -> Result<()> {
        let Some(unknown) = self.given.keys().next() else {
            return Ok(());
        };
        let takes = match self.known.as_slice() {
            [] => "takes none".to_owned(),
            known => format!("takes: {}", known.join(", ")),
        };
        let mut text = format!("unknown parameter `{unknown}`; {} {takes}", self.module);
        // Of one there is no need to say which.
        if self.known.len() > 1
            && let Some(meant) = closest(unknown, self.known.iter().copied())
        {
            text.push_str(&format!("; did you mean `{meant}`?"));
        }
        Err(Error::new(text))
    }
}

/// Parameters of the module that is being tested.
///
/// ```
/// # use gristmill_smartmodule::{Params, params};
/// let params: Params = params! { "field" => "/meta/domain" };
/// let none: Params = params! {};
/// ```
#[macro_export]
macro_rules! params {
    ($($name:expr => $value:expr),* $(,)?) => {
        $crate::Params::new(
            ::core::env!("CARGO_PKG_NAME"),
            ::std::vec::Vec::<(::std::string::String, ::std::string::String)>::from([
                $((::std::convert::Into::into($name), ::std::convert::Into::into($value))),*
            ]),
        )
    };
}

/// The candidate that `name` is most likely a misspelling of: a third of its letters wrong is
/// another word.
fn closest<'c>(name: &str, candidates: impl Iterator<Item = &'c str>) -> Option<&'c str> {
    candidates
        .map(|candidate| (distance(name, candidate), candidate))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, _)| *distance <= name.chars().count().div_ceil(3))
        .map(|(_, candidate)| candidate)
}

/// Letters to insert, remove, replace or swap with their neighbour to make `b` of `a`.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let width = b.len() + 1;
    let mut table: Vec<usize> = (0..width * (a.len() + 1))
        .map(|at| at / width + at % width)
        .collect();
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let up = |di: usize, dj: usize| table[(i - di) * width + j - dj];
            let differs = usize::from(a[i - 1] != b[j - 1]);
            let mut least = (up(1, 0) + 1).min(up(0, 1) + 1).min(up(1, 1) + differs);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(up(2, 2) + 1);
            }
            table[i * width + j] = least;
        }
    }
    table.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text<T>(result: Result<T>) -> String {
        match result {
            Ok(_) => panic!("no error"),
            Err(error) => error.text().to_owned(),
        }
    }

    #[test]
    fn distances() {
        for (a, b, expect) in [
            ("", "", 0),
            ("", "abc", 3),
            ("field", "field", 0),
            ("feild", "field", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(a, b), expect, "{a} {b}");
            assert_eq!(distance(b, a), expect, "{b} {a}");
        }
    }

    #[test]
    fn each_mistake_has_its_words() {
        let mut params = Params::new("m", [("n", "x"), ("empty", ""), ("patern", "p")]);
        assert_eq!(
            text(params.required::<u8>("n")),
            "parameter `n`: `x`: invalid digit found in string"
        );
        assert_eq!(
            text(params.required::<u8>("empty")),
            "parameter `empty` is empty; cannot parse integer from empty string"
        );
        assert_eq!(
            text(params.required::<u8>("pattern")),
            "parameter `pattern` is missing; `patern` is no parameter, is it meant?"
        );
        assert_eq!(
            text(params.required::<u8>("zzz")),
            "parameter `zzz` is missing"
        );
        assert_eq!(
            text(params.clone().finish()),
            "unknown parameter `patern`; m takes: n, empty, pattern, zzz; did you mean `pattern`?"
        );
        assert_eq!(
            text(Params::new("m", [("x", "y")]).finish()),
            "unknown parameter `x`; m takes none"
        );
    }

    #[test]
    fn a_path_that_is_none_says_what_one_is() {
        let mut params = Params::new("m", [("a", ""), ("b", "/a~2")]);
        assert_eq!(
            text(params.required::<crate::json::Path>("a")),
            "parameter `a` is empty; give a name such as `type` or a JSON pointer such as \
             `/meta/domain`"
        );
        assert_eq!(
            text(params.required::<crate::json::Path>("b")),
            "parameter `b`: `/a~2` is no JSON pointer: `~` must be written `~0`"
        );
    }

    #[test]
    fn taken_parameters_are_not_left() {
        let mut params = Params::new("m", [("a", "1"), ("b", "2")]);
        assert_eq!(params.optional::<u8>("a").unwrap(), Some(1));
        assert_eq!(
            params.clone().take_rest(),
            [("b".into(), "2".into())].into()
        );
        assert_eq!(params.or("b", 0_u8).unwrap(), 2);
        params.finish().unwrap();
    }
}
