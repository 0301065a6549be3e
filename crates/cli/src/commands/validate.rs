//! `gristmill validate`: every error of a file at once.

use crate::args::ValidateArgs;
use crate::{Outcome, output, project};

pub(super) fn run(args: &ValidateArgs) -> anyhow::Result<Outcome> {
    if args.json {
        let (valid, diagnostics) = match project::check(&args.file)? {
            Ok((_, warnings)) => (
                true,
                warnings
                    .iter()
                    .map(gristmill_manifest::Diagnostic::to_json)
                    .collect(),
            ),
            Err(errors) => (false, errors.to_json()),
        };
        let report = serde_json::json!({"valid": valid, "diagnostics": diagnostics});
        output::line(&report.to_string())?;
        return Ok(if valid {
            Outcome::Done
        } else {
            Outcome::Invalid
        });
    }
    let manifest = project::load(&args.file)?.manifest;
    output::line(&format!(
        "{} is valid: pipeline `{}`, {}, {}",
        args.file.file.display(),
        manifest.name,
        output::many(manifest.topics.len() as u64, "topic"),
        output::many(manifest.connectors.len() as u64, "connector")
    ))?;
    Ok(Outcome::Done)
}
