//! `gristmill dead-letter`: what could not be processed, and once more with it.

use std::ops::ControlFlow;

use gristmill_manifest::printable;
use gristmill_runner::{DeadLetter, dead_letters, replay_dead_letters};

use crate::args::{DeadLetterArgs, DeadLetterVerb};
use crate::{Outcome, output, project};

/// Characters of a value shown in the table; `--json` has all of it.
const VALUE_SHOWN: usize = 60;

pub(super) async fn run(verb: DeadLetterVerb) -> anyhow::Result<Outcome> {
    match verb {
        DeadLetterVerb::List(args) => list(&args).await,
        DeadLetterVerb::Replay(args) => replay(&args).await,
    }
}

async fn list(args: &DeadLetterArgs) -> anyhow::Result<Outcome> {
    let project = project::load(&args.file)?;
    let backend = project.existing_backend(&args.local)?;
    let mut shown = 0u64;
    let mut failed = None;
    dead_letters(&backend, &args.topic, &mut |letter| {
        shown += 1;
        let line = if args.json {
            json(letter)
        } else {
            Ok(text(letter))
        };
        match line
            .map_err(std::io::Error::other)
            .and_then(|line| output::line(&line))
        {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        }
    })
    .await?;
    if let Some(error) = failed {
        return Err(error.into());
    }
    if shown == 0 && !args.json {
        output::note(&format!("no dead letters of {}", args.topic));
    }
    Ok(Outcome::Done)
}

async fn replay(args: &DeadLetterArgs) -> anyhow::Result<Outcome> {
    let project = project::load(&args.file)?;
    let backend = project.existing_backend(&args.local)?;
    let replayed = replay_dead_letters(&project.manifest.name, &backend, &args.topic).await?;
    let text = if args.json {
        serde_json::json!({ "replayed": replayed }).to_string()
    } else {
        format!(
            "{replayed} dead letters written to {} once more",
            args.topic
        )
    };
    output::line(&text)?;
    Ok(Outcome::Done)
}

fn json(letter: &DeadLetter<'_>) -> serde_json::Result<String> {
    serde_json::to_string(letter)
}

fn text(letter: &DeadLetter<'_>) -> String {
    let value: String = letter.value.chars().take(VALUE_SHOWN).collect();
    let more = if value.len() < letter.value.len() {
        "…"
    } else {
        ""
    };
    format!(
        "{}[{}]@{}\t{}: {}\t{}{more}",
        printable(&letter.topic),
        letter.partition,
        letter.offset,
        printable(&letter.stage),
        printable(&letter.reason),
        value.escape_debug()
    )
}
