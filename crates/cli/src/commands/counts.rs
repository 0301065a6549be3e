//! `gristmill counts`: the running counts, from wherever they are.

use gristmill_runner::Counted;

use crate::args::CountsArgs;
use crate::project::{self, InUse, Project};
use crate::{Outcome, UsageError, output, windows};

pub(super) async fn run(args: CountsArgs) -> anyhow::Result<Outcome> {
    let project = project::load(&args.file)?;
    let counted = counted(&project, &args).await?;
    if args.window {
        if !counted.has_windows {
            return Err(UsageError(format!(
                "no sink of {} counts in windows\n  = help: add `window: {{size: 3m}}` to its \
                 `redis` section, or try -f pipelines/tumbling-window.yaml",
                args.file.file.display()
            ))
            .into());
        }
        return show_windows(&counted, args.json);
    }
    let text = if args.json {
        serde_json::to_string(&counted.counts)?
    } else if counted.counts.is_empty() && counted.has_windows {
        "no counts beside those of windows: see `gristmill counts --window`".to_owned()
    } else {
        output::counts_table(&counted.counts)
    };
    output::line(&text)?;
    Ok(Outcome::Done)
}

/// From the stores, or from the process that alone can read them while it runs.
async fn counted(project: &Project, args: &CountsArgs) -> anyhow::Result<Counted> {
    let error = match project.existing_backend(&args.local) {
        Ok(backend) => return Ok(project.counts(&backend)?.counted(args.window).await?),
        Err(error) => error,
    };
    let in_use = error.downcast_ref::<InUse>();
    let remote = in_use.and_then(|InUse(holder)| holder.remote(&project.manifest.name));
    match remote {
        Some(remote) => remote.counted(args.window).await,
        None => Err(error),
    }
}

fn show_windows(counted: &Counted, json: bool) -> anyhow::Result<Outcome> {
    let all = &counted.windows;
    if json {
        for window in all {
            output::line(&serde_json::to_string(window)?)?;
        }
        return Ok(Outcome::Done);
    }
    if all.is_empty() {
        output::line("no windows yet")?;
        return Ok(Outcome::Done);
    }
    output::line(&windows::table(all))?;
    if !counted.late.is_empty() {
        let keys: Vec<String> = counted
            .late
            .iter()
            .map(|(key, records)| format!("{key} {}", output::thousands(*records)))
            .collect();
        output::line(&format!("\ntoo late for their window: {}", keys.join(", ")))?;
    }
    Ok(Outcome::Done)
}
