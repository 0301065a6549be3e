//! The `#[smartmodule]` attribute of `gristmill-smartmodule`.
//!
//! ```text
//! #[smartmodule(KIND)] fn NAME(PARAMETERS) ─▶ the function, unchanged
//!                                          └▶ for wasm32: an export KIND that runs it over a batch
//! ```
//!
//! Written without `syn`, of which it would need the whole: a SmartModule's build then takes two
//! seconds instead of ten.

mod signature;

use proc_macro::{Group, Ident, Span, TokenStream, TokenTree};

use signature::Signature;

/// What the attribute takes, and the signatures that go with it.
const KINDS: [(&str, &str); 7] = [
    ("filter", "fn(Record<'_>) -> Result<bool>"),
    (
        "map",
        "fn(Record<'_>) -> Result<(Option<K>, V)>, or fn(Record<'_>, &mut Output<'_>) -> Result<()>",
    ),
    (
        "filter_map",
        "fn(Record<'_>) -> Result<Option<(Option<K>, V)>>, or \
         fn(Record<'_>, &mut Output<'_>) -> Result<bool>",
    ),
    (
        "array_map",
        "fn(Record<'_>) -> Result<Vec<(Option<K>, V)>>, or \
         fn(Record<'_>, &mut Outputs<'_>) -> Result<()>",
    ),
    ("aggregate", "fn(&[u8], Record<'_>) -> Result<V>"),
    ("init", "fn(Params) -> Result<()>"),
    ("look_back", "fn(Record<'_>) -> Result<()>"),
];

/// Makes a SmartModule's function of the one that it stands before.
///
/// See the crate `gristmill-smartmodule` for kinds and signatures.
#[proc_macro_attribute]
pub fn smartmodule(attribute: TokenStream, item: TokenStream) -> TokenStream {
    match expand(attribute, item.clone()) {
        Ok(export) => {
            let mut tokens: TokenStream = parse("#[allow(dead_code)]");
            tokens.extend(item);
            tokens.extend(export);
            tokens
        }
        Err((span, message)) => {
            // The function stays, so that this is the only error.
            let mut tokens = item;
            tokens.extend(spanned(
                parse(&format!("compile_error!({message:?});")),
                span,
            ));
            tokens
        }
    }
}

type Failure = (Span, String);

fn expand(attribute: TokenStream, item: TokenStream) -> Result<TokenStream, Failure> {
    let (kind, takes) = kind(attribute)?;
    let signature = Signature::of(item)?;
    let (name, span) = (signature.name.to_string(), signature.name.span());
    let (plain, writing) = match kind {
        "map" | "filter_map" | "array_map" => (1, Some(2)),
        "aggregate" => (2, None),
        _ => (1, None),
    };
    let count = signature.parameters.len();
    if count != plain && Some(count) != writing {
        return Err((
            span,
            format!("#[smartmodule({kind})] takes a function of the form {takes}"),
        ));
    }
    let runner = match Some(count) == writing {
        true => format!("{kind}_into"),
        false => kind.to_owned(),
    };
    let names = ["a", "b"].get(..count).unwrap_or_default().join(", ");
    // A record may be taken by reference, as with Fluvio's SDK.
    let at = usize::from(kind == "aggregate");
    let by_reference = signature
        .parameters
        .get(at)
        .is_some_and(|parameter| parameter.by_reference);
    let arguments: Vec<_> = ["a", "b"][..count]
        .iter()
        .enumerate()
        .map(
            |(index, name)| match index == at && by_reference && kind != "init" {
                true => format!("&{name}"),
                false => (*name).to_owned(),
            },
        )
        .collect();
    let module = match kind {
        "init" => ", ::core::env!(\"CARGO_PKG_NAME\")",
        _ => "",
    };
    let code = format!(
        "#[cfg(target_arch = \"wasm32\")]
         const _: () = {{
             #[allow(unsafe_code)]
             #[unsafe(export_name = \"{kind}\")]
             unsafe extern \"C\" fn __gristmill_export(ptr: *mut u8, len: usize, version: i32) -> i32 {{
                 unsafe {{
                     ::gristmill_smartmodule::abi::guest::{runner}(
                         ptr, len, version{module}, |{names}| {name}({}),
                     )
                 }}
             }}
         }};",
        arguments.join(", ")
    );
    // Type errors then point at the function, not at the attribute.
    Ok(respan(parse(&code), &name, span))
}

fn kind(attribute: TokenStream) -> Result<(&'static str, &'static str), Failure> {
    let known = || KINDS.map(|(name, _)| name).join(", ");
    let mut tokens = attribute.into_iter();
    let (span, name) = match tokens.next() {
        Some(token) => (token.span(), token.to_string()),
        None => {
            let message = format!("which kind? #[smartmodule(KIND)] with one of {}", known());
            return Err((Span::call_site(), message));
        }
    };
    let found = KINDS.into_iter().find(|(kind, _)| *kind == name);
    match (found, tokens.next()) {
        (Some(found), None) => Ok(found),
        (Some(_), Some(extra)) => Err((
            extra.span(),
            format!("#[smartmodule({name})] takes nothing else; parameters go to `init`"),
        )),
        (None, _) => Err((
            span,
            format!("`{name}` is no kind of SmartModule; there are {}", known()),
        )),
    }
}

/// Code of this file's own making, which always parses.
#[allow(clippy::expect_used)]
fn parse(code: &str) -> TokenStream {
    code.parse().expect("generated code is well-formed")
}

/// `tokens`, in which `name` stands where the user wrote it.
fn respan(tokens: TokenStream, name: &str, span: Span) -> TokenStream {
    tokens
        .into_iter()
        .map(|token| match token {
            TokenTree::Ident(ident) if ident.to_string() == name => {
                // Resolved where the function is; a raw identifier stays one.
                let mut ident: Ident = ident;
                ident.set_span(span);
                TokenTree::Ident(ident)
            }
            TokenTree::Group(group) => {
                let mut inner = Group::new(group.delimiter(), respan(group.stream(), name, span));
                inner.set_span(group.span());
                TokenTree::Group(inner)
            }
            other => other,
        })
        .collect()
}

fn spanned(tokens: TokenStream, span: Span) -> TokenStream {
    tokens
        .into_iter()
        .map(|mut token| {
            token.set_span(span);
            token
        })
        .collect()
}
