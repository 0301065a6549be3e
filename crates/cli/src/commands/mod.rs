//! One module a verb.

mod connector;
mod counts;
mod dead_letter;
mod demo;
mod doctor;
mod replay;
mod smartmodule;
mod tap;
mod up;
mod validate;

use clap::CommandFactory;

use crate::args::{Cli, Verb};
use crate::{Outcome, output};

/// Run `verb`.
///
/// # Errors
/// Why it failed, worded for the user; a [`crate::UsageError`] for exit code 2.
pub(crate) async fn run(verb: Verb) -> anyhow::Result<Outcome> {
    match verb {
        Verb::Demo(args) => demo::run(args).await,
        Verb::Up(args) => up::run(args).await,
        Verb::Validate(args) => validate::run(&args),
        Verb::Doctor(args) => doctor::run(args).await,
        Verb::Counts(args) => counts::run(args).await,
        Verb::Replay(args) => replay::run(args).await,
        Verb::Tap(args) => tap::run(args).await,
        Verb::DeadLetter(verb) => dead_letter::run(verb).await,
        Verb::SmartModule(verb) => smartmodule::run(verb),
        Verb::Connector(verb) => connector::run(&verb),
        Verb::Schema => connector::schema(),
        Verb::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "gristmill", &mut script);
            output::line(String::from_utf8_lossy(&script).trim_end())?;
            Ok(Outcome::Done)
        }
    }
}
