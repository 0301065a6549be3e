//! SmartModules: there, built, loadable, and given parameters that they know.

use gristmill_manifest::{Connector as Entry, Manifest, Transform};
use gristmill_smartbuild::{SmartModuleToml, Sources};

use super::Finding;
use crate::{Plan, PlanError};

const AREA: &str = "modules";

pub(super) fn check(
    manifest: &Manifest,
    sources: &Sources,
    progress: &mut dyn FnMut(&str),
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for entry in &manifest.connectors {
        // Parameters first: a module that misses one fails to start, and this says why.
        for transform in &entry.transforms {
            findings.extend(parameters(entry, transform, sources, progress));
        }
        let subject = format!("transforms of {}", entry.name);
        let only = [entry.name.clone()];
        match Plan::new(manifest.clone(), &only, sources, progress) {
            Ok(_) if entry.transforms.is_empty() => {}
            Ok(_) => {
                let uses = entry.transforms.iter().map(|transform| &*transform.uses);
                let uses: Vec<&str> = uses.collect();
                let detail = format!("{} built, loaded and started", uses.join(", "));
                findings.push(Finding::ok(AREA, subject, detail));
            }
            Err(error @ PlanError::Sandbox(_)) => {
                let remedy = "allow the process to map executable memory (W^X policies forbid it)";
                findings.push(Finding::fail(AREA, subject, error.to_string(), remedy));
            }
            Err(error) => findings.push(Finding::fail_with(AREA, subject, error.to_string())),
        }
    }
    findings
}

/// A module may read parameters that its `SmartModule.toml` does not name, so those are a warning.
fn parameters(
    entry: &Entry,
    transform: &Transform,
    sources: &Sources,
    progress: &mut dyn FnMut(&str),
) -> Vec<Finding> {
    let described = sources.resolve(&transform.uses, progress);
    let Some(manifest) = described.ok().and_then(|built| built.manifest) else {
        return Vec::new();
    };
    let subject = format!("parameters of {} in {}", transform.uses, entry.name);
    let given: Vec<&str> = transform.with.keys().map(String::as_str).collect();
    missing(&manifest, &given)
        .map(|(name, about)| {
            let detail = format!("`{name}` is missing{about}");
            Finding::fail(AREA, &subject, detail, format!("add `with: {{{name}: …}}`"))
        })
        .chain(unknown(&manifest, &given).map(|(name, remedy)| {
            let detail = format!("`{name}` is not among those that it names");
            Finding::warn(AREA, &subject, detail, remedy)
        }))
        .collect()
}

fn missing<'a>(
    manifest: &'a SmartModuleToml,
    given: &'a [&str],
) -> impl Iterator<Item = (&'a str, String)> {
    let needed = manifest.params.iter().filter(|(_, param)| !param.optional);
    let absent = needed.filter(|(name, _)| !given.contains(&name.as_str()));
    absent.map(|(name, param)| {
        let about = param.description.as_deref().unwrap_or_default();
        let about = if about.is_empty() {
            String::new()
        } else {
            format!(" ({about})")
        };
        (name.as_str(), about)
    })
}

fn unknown<'a>(
    manifest: &'a SmartModuleToml,
    given: &'a [&str],
) -> impl Iterator<Item = (&'a str, String)> {
    let known = &manifest.params;
    let strange = given.iter().filter(|name| !known.contains_key(**name));
    strange.map(|name| {
        let remedy = match gristmill_manifest::nearest(name, known.keys().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None if known.is_empty() => "it names none: take it out".to_owned(),
            None => {
                let names: Vec<String> = known.keys().map(|name| format!("`{name}`")).collect();
                format!("it names {}", names.join(", "))
            }
        };
        (*name, remedy)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_held_against_the_modules_own_description() {
        let manifest: SmartModuleToml = toml::from_str(
            "[package]\nname = \"m\"\nversion = \"0.1.0\"\n[params]\n\
             regex = { description = \"what to keep\" }\nfield = { optional = true }\n",
        )
        .unwrap();
        let given = ["feild", "zzz"];
        let missing: Vec<_> = missing(&manifest, &given).collect();
        assert_eq!(missing, [("regex", " (what to keep)".to_owned())]);
        let unknown: Vec<_> = unknown(&manifest, &given).collect();
        assert_eq!(unknown[0], ("feild", "did you mean `field`?".to_owned()));
        assert_eq!(unknown[1], ("zzz", "it names `field`, `regex`".to_owned()));
    }
}
