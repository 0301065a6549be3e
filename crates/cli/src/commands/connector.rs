//! `gristmill connector` and `gristmill schema`: what a pipeline can be made of.

use gristmill_manifest::{describe, json_schema};
use gristmill_runner::registry;

use crate::args::ConnectorVerb;
use crate::{Outcome, UsageError, output};

pub(super) fn run(verb: &ConnectorVerb) -> anyhow::Result<Outcome> {
    let specs = registry::specs();
    match verb {
        ConnectorVerb::List => {
            for spec in &specs {
                let about = spec.description.as_deref().unwrap_or_default();
                output::line(&format!("{:<14} {about}", spec.name))?;
            }
        }
        ConnectorVerb::Describe { name } => {
            let spec = specs
                .iter()
                .find(|spec| spec.name == *name)
                .ok_or_else(|| {
                    let there: Vec<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
                    UsageError(format!(
                        "no connector `{name}`; there are: {}",
                        there.join(", ")
                    ))
                })?;
            output::line(describe(spec).trim_end())?;
        }
    }
    Ok(Outcome::Done)
}

pub(super) fn schema() -> anyhow::Result<Outcome> {
    output::line(&serde_json::to_string_pretty(&json_schema(
        &registry::specs(),
    ))?)?;
    Ok(Outcome::Done)
}
