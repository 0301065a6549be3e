//! One module a verb.

mod connector;
mod counts;
mod dead_letter;
mod demo;
mod deploy;
mod doctor;
mod export;
mod plan;
mod replay;
mod smartmodule;
mod stage;
mod stage_table;
mod status;
mod supervise;
mod tap;
mod top;
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
        Verb::Deploy(verb) => deploy::run(verb).await,
        Verb::Plan(args) => plan::show(args),
        Verb::Apply(args) => plan::apply(args),
        Verb::Supervise(args) => supervise::run(args).await,
        Verb::Stage(args) => stage::run(args).await,
        Verb::Counts(args) => counts::run(args).await,
        Verb::Status(args) => status::run(args).await,
        Verb::Top(args) => top::run(args).await,
        Verb::Replay(args) => replay::run(args).await,
        Verb::Tap(args) => tap::run(args).await,
        Verb::DeadLetter(verb) => dead_letter::run(verb).await,
        Verb::SmartModule(verb) => smartmodule::run(verb),
        Verb::Export(verb) => export::run(&verb),
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
