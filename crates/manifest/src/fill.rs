//! Variables into text values, each mistake at its place.

use std::collections::BTreeSet;

use crate::core;
use crate::load::{is_single, spec_of};
use crate::report::{At, Report};
use crate::schema::{Additional, Schema};
use crate::source::Span;
use crate::spec::ConnectorSpec;
use crate::tree::{Node, Value};
use crate::vars::{self, Piece, Variables};

struct Filler<'a, 'b> {
    vars: &'a dyn Variables,
    /// Names that may be used here.
    declared: BTreeSet<String>,
    /// Where to declare one.
    declare_in: &'static str,
    secrets: &'a mut BTreeSet<String>,
    report: &'a mut Report<'b>,
}

/// Fills variables into every text value. Names in the pipeline's `meta.secrets` serve the whole
/// file, those in a connector's only the connector.
pub(crate) fn fill_in(
    root: &mut Node,
    specs: &[ConnectorSpec],
    vars: &dyn Variables,
    report: &mut Report<'_>,
    secrets: &mut BTreeSet<String>,
) {
    let single = is_single(root);
    let shared = vars::declared(root.get("meta"));
    let pipeline = if single {
        core::connector(specs, spec_of(root, specs), true)
    } else {
        core::pipeline()
    };
    let Value::Map(map) = &mut root.value else {
        return;
    };
    for entry in &mut map.entries {
        let at = At::root().key(entry);
        if entry.key == "connectors" && !single {
            let Value::List(items) = &mut entry.node.value else {
                continue;
            };
            for (index, item) in items.iter_mut().enumerate() {
                let mut declared = vars::declared(item.get("meta"));
                declared.extend(shared.iter().cloned());
                let schema = core::connector(specs, spec_of(item, specs), false);
                let declare_in = "the connector's `meta`";
                let mut filler = Filler {
                    vars,
                    declared,
                    declare_in,
                    secrets,
                    report,
                };
                filler.node(item, Some(&schema), false, &at.item(index));
            }
            continue;
        }
        let (declared, declare_in) = (shared.clone(), "`meta`");
        let mut filler = Filler {
            vars,
            declared,
            declare_in,
            secrets,
            report,
        };
        filler.node(&mut entry.node, pipeline.child(&entry.key), false, &at);
    }
}

impl Filler<'_, '_> {
    /// `secret` says whether secrets are allowed here: below a schema that allows them, or where
    /// the schema is not known.
    fn node(&mut self, node: &mut Node, schema: Option<&Schema>, secret: bool, at: &At) {
        let secret = secret || schema.is_none_or(|schema| schema.secrets);
        match &mut node.value {
            Value::Map(map) => {
                for entry in &mut map.entries {
                    let open = schema.is_some_and(|schema| schema.additional == Additional::Any);
                    let child = schema.and_then(|schema| schema.child(&entry.key));
                    let at = at.key(entry);
                    self.node(
                        &mut entry.node,
                        child,
                        secret || (open && child.is_none()),
                        &at,
                    );
                }
            }
            Value::List(items) => {
                let each = schema.and_then(|schema| schema.items.as_deref());
                for (index, item) in items.iter_mut().enumerate() {
                    self.node(item, each, secret, &at.item(index));
                }
            }
            Value::Text(filled) => {
                let written = filled.text.clone();
                match vars::pieces(&written) {
                    Ok(None) => {}
                    Ok(Some(pieces)) => {
                        let mut text = String::new();
                        for piece in pieces {
                            let value = match piece {
                                Piece::Text(piece) => Some(piece.to_owned()),
                                Piece::Env(name) => self.env(name, node.span, at),
                                Piece::Secret(name) => self.secret(name, secret, node.span, at),
                            };
                            filled.unfilled |= value.is_none();
                            text.push_str(value.as_deref().unwrap_or_default());
                        }
                        filled.text = text;
                        filled.written = Some(written);
                    }
                    Err((what, help)) => {
                        filled.unfilled = true;
                        self.report.error(node.span, &at.path, what).help(help);
                    }
                }
            }
            _ => {}
        }
    }

    fn env(&mut self, name: &str, span: Span, at: &At) -> Option<String> {
        let value = self.vars.env(name);
        match &value {
            None => {
                let message = format!("the environment variable `{name}` is not set");
                self.report
                    .error(span, &at.path, message)
                    .help(format!("set it: `export {name}=…`"));
            }
            // Passwords come by the environment as well.
            Some(value) if sounds_secret(name) => {
                self.secrets.insert(value.clone());
            }
            Some(_) => {}
        }
        value
    }

    fn secret(&mut self, name: &str, allowed: bool, span: Span, at: &At) -> Option<String> {
        if !allowed {
            let message = format!(
                "a secret cannot be part of `{}`: it shows in logs and metrics",
                at.name
            );
            let error = self.report.error(span, &at.path, message);
            error.help(
                "secrets may stand in a connector's section, in `with`, and in `sasl`, `tls` and \
                 `properties` of `kafka`",
            );
            return None;
        }
        if !self.declared.contains(name) {
            let message = format!("the secret `{name}` is not declared");
            let near = crate::text::nearest(name, &self.declared).map(str::to_owned);
            let error = self.report.error(span, &at.path, message);
            match near {
                Some(near) => error.help(format!("did you mean `{near}`?")),
                None => error.help(format!(
                    "add `secrets: [{{name: {name}}}]` to {}",
                    self.declare_in
                )),
            };
            return None;
        }
        match self.vars.secret(name) {
            Ok(Some(value)) => {
                self.secrets.insert(value.clone());
                Some(value)
            }
            Ok(None) => {
                let message = format!("the secret `{name}` has no value");
                let error = self.report.error(span, &at.path, message);
                error.help(format!("give it in the secrets file, in the secrets directory or as the environment variable `{name}`"));
                None
            }
            Err(why) => {
                let message = format!("the secret `{name}` cannot be read: {why}");
                self.report
                    .error(span, &at.path, message)
                    .help("mend what is said above, then try again");
                None
            }
        }
    }
}

/// Whether a name says that its value should not be shown.
pub(crate) fn sounds_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace(['-', '.'], "_");
    let words = [
        "password",
        "passwd",
        "secret",
        "token",
        "api_key",
        "apikey",
        "credential",
        "authorization",
        "cookie",
        "key_pem",
        "jaas",
    ];
    words.iter().any(|word| name.contains(word))
}
