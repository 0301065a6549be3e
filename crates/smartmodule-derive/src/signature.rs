//! As much of a function's signature as the attribute needs.

use proc_macro::{Delimiter, Ident, Span, TokenStream, TokenTree};

use crate::Failure;

/// Name and parameters.
pub(crate) struct Signature {
    pub(crate) name: Ident,
    pub(crate) parameters: Vec<Parameter>,
}

/// One parameter's type, as far as it matters.
pub(crate) struct Parameter {
    /// It starts with `&`.
    pub(crate) by_reference: bool,
}

impl Signature {
    pub(crate) fn of(item: TokenStream) -> Result<Self, Failure> {
        let mut tokens = item.into_iter();
        // Attributes are groups, so that the first bare `fn` is the function's.
        loop {
            match tokens.next() {
                Some(TokenTree::Ident(word)) => match word.to_string().as_str() {
                    "fn" => break,
                    "async" => {
                        return Err((
                            word.span(),
                            "a SmartModule's function cannot be async".to_owned(),
                        ));
                    }
                    "struct" | "enum" | "impl" | "mod" | "trait" | "const" | "static" | "type" => {
                        return Err((word.span(), "#[smartmodule] goes before a fn".to_owned()));
                    }
                    _ => {}
                },
                Some(_) => {}
                None => {
                    let message = "#[smartmodule] goes before a fn".to_owned();
                    return Err((Span::call_site(), message));
                }
            }
        }
        let Some(TokenTree::Ident(name)) = tokens.next() else {
            return Err((Span::call_site(), "a fn without a name".to_owned()));
        };
        // Generics stand between the name and the parameters, and hold no bare parentheses here:
        // only lifetimes make sense.
        let parameters = tokens.find_map(|token| match token {
            TokenTree::Group(group) if group.delimiter() == Delimiter::Parenthesis => {
                Some(parameters(group.stream()))
            }
            _ => None,
        });
        Ok(Self {
            name,
            parameters: parameters.unwrap_or_default(),
        })
    }
}

/// Split at the commas outside of angle brackets.
fn parameters(tokens: TokenStream) -> Vec<Parameter> {
    let mut found = Vec::new();
    let mut current: Option<Parameter> = None;
    let (mut depth, mut in_type, mut after_colon) = (0_i32, false, false);
    for token in tokens {
        if let TokenTree::Punct(punct) = &token {
            match punct.as_char() {
                '<' => depth += 1,
                '>' => depth -= 1,
                ',' if depth == 0 => {
                    found.extend(current.take());
                    (in_type, after_colon) = (false, false);
                    continue;
                }
                ':' if !in_type => {
                    (in_type, after_colon) = (true, true);
                    continue;
                }
                _ => {}
            }
        }
        let parameter = current.get_or_insert(Parameter {
            by_reference: false,
        });
        if after_colon {
            parameter.by_reference =
                matches!(&token, TokenTree::Punct(punct) if punct.as_char() == '&');
            after_colon = false;
        }
    }
    found.extend(current);
    found
}
