//! From text to [`Manifest`]: parse, override, fill in, check, lower; every mistake on the way.

use std::collections::BTreeSet;

use crate::check;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::fill::fill_in;
use crate::model::Manifest;
use crate::overrides::{self, Override};
use crate::report::{At, Report};
use crate::source::{Sources, Span};
use crate::spec::ConnectorSpec;
use crate::tree::Node;
use crate::vars::Variables;
use crate::{core, lower, rules, yaml};

impl Manifest {
    /// Reads a manifest: a `pipeline.yaml`, or a single connector config as the whole file.
    ///
    /// `file_name` is what messages call the file; `overrides` are applied in order, after parsing
    /// and before everything else; `vars` is asked for each variable that the text uses.
    ///
    /// # Errors
    /// Everything that is wrong, at once and in the order of the text. On success the warnings
    /// come with the manifest.
    pub fn load(
        file_name: &str,
        text: &str,
        specs: &[ConnectorSpec],
        overrides: &[Override],
        vars: &dyn Variables,
    ) -> Result<(Self, Vec<Diagnostic>), Diagnostics> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut sources = Sources::new(file_name, text);
        let (root, mistakes) = yaml::parse(Span::FILE, text);
        // All sources are known before the first place in them is shown.
        let numbered: Vec<(usize, &Override)> = overrides
            .iter()
            .map(|each| (sources.add_override(each.text()), each))
            .collect();
        let sources = sources;
        let mut report = Report::new(&sources);
        for mistake in mistakes {
            let error = report.error(mistake.span, "", mistake.message);
            error.help = mistake.help;
            error.secondary = mistake
                .secondary
                .map(|(span, note)| sources.label(span, Some(note)));
        }
        let Some(mut root) = root else {
            if !report.has_errors() {
                let whole = Span::new(Span::FILE, 0, 0);
                let error = report.error(whole, "", format!("{file_name} is empty"));
                error.help("start from the shipped pipeline.yaml");
            }
            return Err(Diagnostics(report.finish()));
        };
        if root.map().is_none() {
            let error = report.error(root.span, "", "a manifest is a mapping of keys to values");
            error.help(format!("start with `apiVersion: {}`", core::API_VERSION));
            return Err(Diagnostics(report.finish()));
        }
        for (source, each) in numbered {
            overrides::apply(&mut root, each, source, specs, &mut report);
        }
        let mut secrets = BTreeSet::new();
        fill_in(&mut root, specs, vars, &mut report, &mut secrets);
        check_schema(&root, specs, &mut report);
        rules::check(&root, specs, &mut report);
        if report.has_errors() {
            return Err(Diagnostics(report.finish()));
        }
        let manifest = lower::manifest(&root, specs, secrets, &sources);
        check_sections(&manifest, &root, specs, &mut report);
        if report.has_errors() {
            return Err(Diagnostics(report.finish()));
        }
        Ok((manifest, report.finish()))
    }

    /// As [`Manifest::load`], from bytes.
    ///
    /// # Errors
    /// As [`Manifest::load`]; and if the bytes are not UTF-8.
    pub fn load_bytes(
        file_name: &str,
        bytes: &[u8],
        specs: &[ConnectorSpec],
        overrides: &[Override],
        vars: &dyn Variables,
    ) -> Result<(Self, Vec<Diagnostic>), Diagnostics> {
        if bytes.len() > yaml::TEXT_BYTES_MAX {
            // Said first: a caller that stopped reading there may have cut a character.
            let text = String::from_utf8_lossy(bytes);
            return Self::load(file_name, &text, specs, overrides, vars);
        }
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::load(file_name, text, specs, overrides, vars),
            Err(error) => {
                let good = String::from_utf8_lossy(bytes);
                let text = good.strip_prefix('\u{feff}').unwrap_or(&good);
                let sources = Sources::new(file_name, text);
                let mut report = Report::new(&sources);
                let at = error.valid_up_to();
                let byte = bytes.get(at).copied().unwrap_or_default();
                let message = format!("the file is not UTF-8: byte 0x{byte:02x} at {at}");
                // Up to there the bytes are as they were, but for the mark.
                let at = at - (good.len() - text.len());
                let error = report.error(Span::new(Span::FILE, at, at + 1), "", message);
                error.help("save it as UTF-8");
                Err(Diagnostics(report.finish()))
            }
        }
    }
}

/// Whether the file is one connector config and not a pipeline: it has no list of connectors, and
/// its `meta` says what it is.
pub(crate) fn is_single(root: &Node) -> bool {
    root.get("connectors").is_none() && root.at(&["meta", "type"]).is_some()
}

/// The connectors of the file with their places in the tree.
pub(crate) fn connectors(root: &Node) -> Vec<(At, &Node)> {
    if is_single(root) {
        return vec![(At::root(), root)];
    }
    let Some(entry) = root.map().and_then(|map| map.entry("connectors")) else {
        return Vec::new();
    };
    let at = At::root().key(entry);
    let items = entry.node.list().unwrap_or_default();
    let each = items.iter().enumerate();
    each.map(|(index, item)| (at.item(index), item)).collect()
}

/// The spec of a connector's `meta.type`.
pub(crate) fn spec_of<'a>(
    connector: &Node,
    specs: &'a [ConnectorSpec],
) -> Option<&'a ConnectorSpec> {
    let kind = connector.at(&["meta", "type"])?.text()?;
    specs.iter().find(|spec| spec.name == kind)
}

fn check_schema(root: &Node, specs: &[ConnectorSpec], report: &mut Report<'_>) {
    let single = is_single(root);
    if !single {
        check::check(root, &core::pipeline(), &At::root(), report);
    }
    for (at, connector) in connectors(root) {
        let schema = core::connector(specs, spec_of(connector, specs), single);
        let mut at = at;
        if !single {
            let name = connector.at(&["meta", "name"]).and_then(Node::text);
            if let Some(name) = name {
                name.clone_into(&mut at.name);
            }
        }
        check::check(connector, &schema, &at, report);
    }
}

/// What a schema cannot say: the connectors' own checks.
fn check_sections(
    manifest: &Manifest,
    root: &Node,
    specs: &[ConnectorSpec],
    report: &mut Report<'_>,
) {
    for ((at, node), connector) in connectors(root).iter().zip(&manifest.connectors) {
        let Some(spec) = spec_of(node, specs) else {
            continue;
        };
        let Some(Err(mistake)) = spec.check.map(|check| check(connector.section.value())) else {
            continue;
        };
        let reason = manifest.redactions.apply(&mistake.reason);
        let (key, message) = match mistake.key.is_empty() {
            true => (&spec.section, format!("`{}`: {reason}", spec.section)),
            false => (&mistake.key, reason),
        };
        // The key itself, or the nearest around it that is written down.
        let (mut span, mut at, mut inner) = (node.span, at.clone(), *node);
        for key in key.split('.') {
            let Some(entry) = inner.map().and_then(|map| map.entry(key)) else {
                break;
            };
            (span, inner) = (entry.key_span, &entry.node);
            at = at.key(entry);
        }
        report
            .error(span, &at.path, message)
            .help(format!("see `gristmill connector describe {}`", spec.name));
    }
}
