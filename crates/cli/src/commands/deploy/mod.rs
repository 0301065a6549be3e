//! `gristmill deploy`: pipelines in the background.

mod list;
mod log;
mod start;
mod stop;

use crate::Outcome;
use crate::args::DeployVerb;

pub(super) async fn run(verb: DeployVerb) -> anyhow::Result<Outcome> {
    match verb {
        DeployVerb::Start(args) => start::run(args).await,
        DeployVerb::List { json } => list::run(json),
        DeployVerb::Log(args) => log::run(args).await,
        DeployVerb::Shutdown(args) => stop::shutdown(args).await,
        DeployVerb::Restart { name } => stop::restart(&name),
    }
}
