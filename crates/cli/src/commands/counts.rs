//! `gristmill counts`: the running counts, from wherever they are.

use gristmill_runner::CountStore;

use crate::args::CountsArgs;
use crate::{Outcome, output, project};

pub(super) async fn run(args: CountsArgs) -> anyhow::Result<Outcome> {
    let project = project::load(&args.file)?;
    let backend = project.existing_backend(&args.local)?;
    let counts = CountStore::open(&project.manifest, &backend)?
        .counts()
        .await?;
    let text = if args.json {
        serde_json::to_string(&counts)?
    } else {
        output::counts_table(&counts)
    };
    output::line(&text)?;
    Ok(Outcome::Done)
}
