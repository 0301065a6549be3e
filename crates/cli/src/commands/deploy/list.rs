//! `gristmill deploy list`.

use gristmill_deploy::{Deployment, DeploymentStatus, StageStatus, StateDir};
use gristmill_flow::Status;
use gristmill_manifest::printable;
use serde_json::json;

use crate::output::{self, thousands};
use crate::{Outcome, deployed};

pub(super) fn run(json: bool) -> anyhow::Result<Outcome> {
    let mut running = Vec::new();
    let mut others = Vec::new();
    for deployment in StateDir::of_user()?.deployments()? {
        if deployment.is_locked() {
            match deployment.status() {
                Ok(status) => running.push(status),
                Err(error) => others.push((deployment, error.to_string())),
            }
        } else if deployment.deployed()?.is_some() {
            let text = format!(
                "{}: its supervisor ended without a stop, and its stages with it: {} starts it \
                 again",
                deployment.name,
                start_again(&deployment)
            );
            others.push((deployment, text));
        }
    }
    if json {
        let dead = |(deployment, error): &(Deployment, String)| json!({"pipeline": deployment.name, "error": error, "stages": []});
        let running = running.iter().map(|status| json!(status));
        let all: Vec<_> = running.chain(others.iter().map(dead)).collect();
        output::line(&json!(all).to_string())?;
    } else if running.is_empty() && others.is_empty() {
        output::line("nothing is deployed")?;
    } else if !running.is_empty() {
        output::line(&text(&running))?;
    }
    for error in running
        .iter()
        .filter_map(|status| status.log_error.as_ref())
    {
        output::error(error);
    }
    for (_, error) in &others {
        output::error(error);
    }
    match others.is_empty() {
        true => Ok(Outcome::Done),
        false => Ok(Outcome::Failed),
    }
}

fn start_again(deployment: &Deployment) -> String {
    let file = deployed::current(deployment).map(|(_, _, revision)| revision.file);
    let file = file.map_or_else(|_| "FILE".to_owned(), |file| file.display().to_string());
    format!("`gristmill deploy start -f {file}`")
}

/// A line for each stage, and one for each page.
pub(super) fn text(all: &[DeploymentStatus]) -> String {
    let mut lines = vec![table(all)];
    for status in all {
        if let Some(listen) = &status.listen {
            lines.push(format!(
                "{}: page on http://{listen}/, metrics on http://{listen}/metrics",
                status.pipeline
            ));
        }
    }
    lines.join("\n")
}

fn table(all: &[DeploymentStatus]) -> String {
    let mut rows = vec![[
        "PIPELINE".to_owned(),
        "STAGE".to_owned(),
        "PID".to_owned(),
        "IN".to_owned(),
        "OUT".to_owned(),
        "LAG".to_owned(),
        "STATUS".to_owned(),
    ]];
    for status in all {
        for stage in &status.stages {
            rows.push([
                status.pipeline.clone(),
                stage.name.clone(),
                stage
                    .pid
                    .map_or_else(|| "-".to_owned(), |pid| pid.to_string()),
                thousands(stage.records_in as i64),
                thousands(stage.records_out as i64),
                stage.lag.map_or_else(|| "-".to_owned(), thousands),
                word(stage),
            ]);
        }
    }
    let width = |column: usize| {
        let widths = rows.iter().map(|row| row[column].chars().count());
        widths.max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..6).map(width).collect();
    let lines: Vec<String> = rows
        .iter()
        .map(|row| {
            format!(
                "{:<a$}  {:<b$}  {:>c$}  {:>d$}  {:>e$}  {:>f$}  {}",
                row[0],
                row[1],
                row[2],
                row[3],
                row[4],
                row[5],
                row[6],
                a = widths[0],
                b = widths[1],
                c = widths[2],
                d = widths[3],
                e = widths[4],
                f = widths[5],
            )
        })
        .collect();
    lines.join("\n")
}

fn word(stage: &StageStatus) -> String {
    let mut text = match &stage.status {
        Status::Starting => "starting".to_owned(),
        Status::Waiting(reason) => format!("waiting: {}", printable(reason)),
        Status::Running => "running".to_owned(),
        Status::Ended => "ended".to_owned(),
        Status::Failed(reason) => format!("failed: {}", printable(reason)),
    };
    if stage.given_up {
        text = format!("given up, {text}");
    } else if stage.restarts > 0 {
        let times = output::many(u64::from(stage.restarts), "time");
        text = format!("{text} (restarted {times})");
    }
    text
}
