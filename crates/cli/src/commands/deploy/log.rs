//! `gristmill deploy log`.

use std::time::{Duration, SystemTime};

use gristmill_deploy::{Reader, Revision};
use gristmill_manifest::printable;

use crate::args::DeployLogArgs;
use crate::session::Signals;
use crate::{Outcome, deployed, output};

/// How often a log that is followed is looked at.
const POLL: Duration = Duration::from_millis(100);

pub(super) async fn run(args: DeployLogArgs) -> anyhow::Result<Outcome> {
    let named = deployed::find(&args.name)?;
    let since = args
        .since
        .and_then(|since| SystemTime::now().checked_sub(since));
    let mut reader = Reader::open(&named.deployment.log_dir(), since);
    // Stages that share a process share its lines.
    let revision = named.deployment.newest().map(|dir| Revision::load(&dir));
    let is_local = revision.is_some_and(|revision| revision.is_ok_and(|r| r.local.is_some()));
    let stage = named.stage.filter(|_| !is_local);
    let mut signals = match args.follow {
        true => Some(Signals::new()?),
        false => None,
    };
    loop {
        while let Some(line) = reader.next_line()? {
            if stage.as_ref().is_none_or(|stage| *stage == line.stage) {
                let at = humantime::format_rfc3339_millis(line.at);
                output::line(&format!("{at} {} {}", line.stage, printable(&line.text)))?;
            }
        }
        let Some(signals) = &mut signals else {
            return Ok(Outcome::Done);
        };
        tokio::select! {
            _ = signals.next() => return Ok(Outcome::Interrupted),
            () = tokio::time::sleep(POLL) => {}
        }
    }
}
