//! `gristmill validate`: every error of a file at once.

use gristmill_manifest::{Manifest, Override};
use gristmill_runner::registry;

use crate::args::ValidateArgs;
use crate::{Outcome, output, project};

pub(super) fn run(args: &ValidateArgs) -> anyhow::Result<Outcome> {
    if args.json {
        return json(args);
    }
    let project = project::load(&args.file)?;
    let manifest = &project.manifest;
    output::line(&format!(
        "{} is valid: pipeline `{}`, {} topics, {} connectors",
        args.file.file.display(),
        manifest.name,
        manifest.topics.len(),
        manifest.connectors.len()
    ))?;
    Ok(Outcome::Done)
}
