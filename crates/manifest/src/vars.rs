//! `${{ secrets.NAME }}` and `${{ env.NAME }}`: filled in after parsing, in text values only, so
//! that a secret's content can never become YAML (Fluvio renders them into the text).

use std::collections::{BTreeMap, BTreeSet};

/// Where variables come from; the caller knows files, directories and the environment.
pub trait Variables {
    /// The secret of this name, or `None` if there is none.
    ///
    /// # Errors
    /// A sentence that says why it could not be read; it must not hold the secret.
    fn secret(&self, name: &str) -> Result<Option<String>, String>;

    /// The environment variable of this name.
    fn env(&self, name: &str) -> Option<String>;
}

/// No variables at all.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoVariables;

impl Variables for NoVariables {
    fn secret(&self, _name: &str) -> Result<Option<String>, String> {
        Ok(None)
    }

    fn env(&self, _name: &str) -> Option<String> {
        None
    }
}

/// Variables in memory: what a secrets file held, and for tests.
#[derive(Clone, Default)]
pub struct MapVariables {
    /// By name.
    pub secrets: BTreeMap<String, String>,
    /// By name.
    pub env: BTreeMap<String, String>,
}

impl Variables for MapVariables {
    fn secret(&self, name: &str) -> Result<Option<String>, String> {
        Ok(self.secrets.get(name).cloned())
    }

    fn env(&self, name: &str) -> Option<String> {
        self.env.get(name).cloned()
    }
}

/// A text cut at its variables.
#[derive(Debug, PartialEq)]
pub(crate) enum Piece<'a> {
    Text(&'a str),
    Secret(&'a str),
    Env(&'a str),
}

/// What is wrong with a variable, and the remedy.
pub(crate) type Mistake = (String, String);

/// Cuts a text at its variables; `None` if it has none.
pub(crate) fn pieces(text: &str) -> Result<Option<Vec<Piece<'_>>>, Mistake> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${{") {
        let Some((inside, after)) = rest[at + 3..].split_once("}}") else {
            return Err((
                "`${{` is not closed".to_owned(),
                "write `${{ secrets.NAME }}` or `${{ env.NAME }}`".to_owned(),
            ));
        };
        out.push(Piece::Text(&rest[..at]));
        out.push(variable(inside.trim())?);
        rest = after;
    }
    if out.is_empty() {
        return Ok(None);
    }
    out.push(Piece::Text(rest));
    Ok(Some(out))
}

fn variable(inside: &str) -> Result<Piece<'_>, Mistake> {
    let shown = crate::text::quote(inside);
    let (kind, name) = inside.split_once('.').unwrap_or(("", inside));
    let legal = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    let named = !name.is_empty() && name.chars().all(legal);
    match kind {
        "secrets" if named => Ok(Piece::Secret(name)),
        "env" if named => Ok(Piece::Env(name)),
        "secrets" | "env" => Err((
            format!("{shown} has no usable name"),
            "a name has letters, digits, `_`, `-` and `.`".to_owned(),
        )),
        _ => Err((
            format!("there is no variable {shown}"),
            match crate::text::nearest(kind, ["secrets", "env"]) {
                Some(near) => format!("did you mean `${{{{ {near}.{name} }}}}`?"),
                None => "write `${{ secrets.NAME }}` or `${{ env.NAME }}`".to_owned(),
            },
        )),
    }
}

/// The names that a `secrets: [{name: …}]` declares.
pub(crate) fn declared(meta: Option<&crate::tree::Node>) -> BTreeSet<String> {
    let list = meta
        .and_then(|meta| meta.get("secrets")?.list())
        .unwrap_or_default();
    let name = |item: &crate::tree::Node| Some(item.get("name")?.text()?.to_owned());
    list.iter().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_at_variables() {
        assert_eq!(pieces("a {b} $c"), Ok(None));
        assert_eq!(
            pieces("a${{secrets.B}}c${{  env.D }}"),
            Ok(Some(vec![
                Piece::Text("a"),
                Piece::Secret("B"),
                Piece::Text("c"),
                Piece::Env("D"),
                Piece::Text(""),
            ]))
        );
        for (text, what, help) in [
            ("${{ secrets.A", "not closed", "${{ secrets.NAME }}"),
            (
                "${{ secret.A }}",
                "`secret.A`",
                "did you mean `${{ secrets.A }}`?",
            ),
            ("${{ A }}", "no variable `A`", "env.NAME"),
            ("${{ secrets. }}", "no usable name", "letters"),
        ] {
            let (got, remedy) = pieces(text).unwrap_err();
            assert!(
                got.contains(what) && remedy.contains(help),
                "{got} / {remedy}"
            );
        }
    }
}
