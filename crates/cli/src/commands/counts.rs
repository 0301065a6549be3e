//! `gristmill counts`: the running counts, from wherever they are.

use gristmill_runner::CountStore;

use crate::args::CountsArgs;
use crate::{Outcome, UsageError, output, project, windows};

pub(super) async fn run(args: CountsArgs) -> anyhow::Result<Outcome> {
    let project = project::load(&args.file)?;
    let backend = project.existing_backend(&args.local)?;
    let mut store = project.counts(&backend)?;
    if args.window {
        if !store.has_windows() {
            return Err(UsageError(format!(
                "no sink of {} counts in windows\n  = help: add `window: {{size: 3m}}` to its \
                 `redis` section, or try -f pipelines/tumbling-window.yaml",
                args.file.file.display()
            ))
            .into());
        }
        return show_windows(&mut store, args.json).await;
    }
    let counts = store.counts().await?;
    let text = if args.json {
        serde_json::to_string(&counts)?
    } else if counts.is_empty() && store.has_windows() {
        "no counts beside those of windows: see `gristmill counts --window`".to_owned()
    } else {
        output::counts_table(&counts)
    };
    output::line(&text)?;
    Ok(Outcome::Done)
}

async fn show_windows(store: &mut CountStore, json: bool) -> anyhow::Result<Outcome> {
    let all = store.windows().await?;
    if json {
        for window in &all {
            output::line(&serde_json::to_string(window)?)?;
        }
        return Ok(Outcome::Done);
    }
    if all.is_empty() {
        output::line("no windows yet")?;
        return Ok(Outcome::Done);
    }
    output::line(&windows::table(&all))?;
    let late = store.late().await?;
    if !late.is_empty() {
        let keys: Vec<String> = late
            .iter()
            .map(|(key, records)| format!("{key} {}", output::thousands(*records)))
            .collect();
        output::line(&format!("\ntoo late for their window: {}", keys.join(", ")))?;
    }
    Ok(Outcome::Done)
}
