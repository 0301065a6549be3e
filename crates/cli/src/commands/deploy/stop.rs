//! `gristmill deploy shutdown` and `restart`.

use std::time::Duration;

use anyhow::bail;
use gristmill_deploy::{DeployError, Deployment, Reply, Request, Revision, StateDir};
use tokio::time::Instant;

use crate::args::DeployShutdownArgs;
use crate::deployed::{self, Named};
use crate::{Outcome, output};

/// A supervisor that has answered ends at once.
const END_MAX: Duration = Duration::from_secs(10);

pub(super) async fn shutdown(args: DeployShutdownArgs) -> anyhow::Result<Outcome> {
    let drain_ms = u64::try_from(args.drain.as_millis()).unwrap_or(u64::MAX);
    let Some(name) = &args.name else {
        let mut outcome = Outcome::Done;
        let mut any = false;
        for deployment in StateDir::of_user()?.deployments()? {
            if !deployment.is_locked() && deployment.deployed()?.is_none() {
                continue;
            }
            any = true;
            // One that does not end is no reason to leave the others.
            if let Err(error) = whole(&deployment, drain_ms, args.kill).await {
                output::error(&output::chain(&error));
                outcome = Outcome::Failed;
            }
        }
        if !any {
            output::line("nothing is deployed")?;
        }
        return Ok(outcome);
    };
    let Named { deployment, stage } = deployed::find(name)?;
    let running = deployed::current(&deployment).map(|(.., revision)| revision.running());
    match stage {
        Some(stage)
            if running
                .as_ref()
                .is_ok_and(|all| all.iter().any(|s| *s != stage)) =>
        {
            one(&deployment, &stage)?;
        }
        _ => whole(&deployment, drain_ms, args.kill).await?,
    }
    Ok(Outcome::Done)
}

/// Stop a stage; the others run on.
fn one(deployment: &Deployment, stage: &str) -> anyhow::Result<()> {
    let (base, dir, revision) = deployed::current(deployment)?;
    let running = revision.running();
    if !running.iter().any(|name| name == stage) {
        bail!("{stage} does not run: `gristmill deploy start --only {stage}` starts it");
    }
    let runs = |name: &str| name != stage && running.iter().any(|other| other == name);
    let staged = deployment.stage()?;
    Revision::copy(&dir, staged.path(), runs)?;
    let staged = staged.path().to_owned();
    say(deployment.ask(&Request::Apply { base, staged })?)
}

/// Stop a pipeline.
async fn whole(deployment: &Deployment, drain_ms: u64, kill: bool) -> anyhow::Result<()> {
    let name = &deployment.name;
    match deployment.ask(&Request::Stop { drain_ms }) {
        Ok(_) => {
            let until = Instant::now() + END_MAX;
            while deployment.is_locked() {
                if Instant::now() > until {
                    bail!("the stages of {name} have ended, its supervisor has not");
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Ok(output::line(&format!("{name}: stopped"))?)
        }
        Err(DeployError::NotRunning { .. }) if deployment.deployed()?.is_some() => {
            deployment.clear()?;
            Ok(output::line(&format!(
                "{name}: its supervisor had ended already without a stop; nothing runs"
            ))?)
        }
        Err(DeployError::Silent { .. }) if kill => {
            let Some(supervisor) = deployment.supervisor() else {
                bail!("it is not known which process supervises {name}");
            };
            if !supervisor.is_alive() {
                bail!(
                    "the lock of {name} names process {}, which is not its supervisor: it is left \
                     alone",
                    supervisor.pid
                );
            }
            supervisor.kill()?;
            deployment.clear()?;
            Ok(output::line(&format!("{name}: killed"))?)
        }
        Err(error) => Err(error.into()),
    }
}

pub(super) fn restart(name: &str) -> anyhow::Result<Outcome> {
    let Named { deployment, stage } = deployed::find(name)?;
    let (.., revision) = deployed::current(&deployment)?;
    let running = revision.running();
    let stages = match stage {
        Some(stage) if !running.contains(&stage) => {
            bail!("{stage} does not run: `gristmill deploy start --only {stage}` starts it")
        }
        Some(stage) => vec![stage],
        None => running,
    };
    say(deployment.ask(&Request::Restart { stages })?)?;
    Ok(Outcome::Done)
}

fn say(reply: Reply) -> anyhow::Result<()> {
    match reply {
        Reply::Done(lines) => Ok(output::line(&lines.join("\n"))?),
        _ => bail!("the supervisor answered something else"),
    }
}
