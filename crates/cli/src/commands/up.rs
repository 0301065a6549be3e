//! `gristmill up`: every stage in the foreground.

use gristmill_runner::Report;

use crate::args::UpArgs;
use crate::reload::Reload;
use crate::served::Listen;
use crate::session::{self, Ends};
use crate::{Outcome, output, project};

pub(super) async fn run(args: UpArgs) -> anyhow::Result<Outcome> {
    let project = project::load(&args.file)?;
    let plan = project.plan(&args.only)?;
    let backend = project.backend(&args.local)?;
    // A sink that cannot be set up is told with its place, before anything runs.
    project.counts(&backend)?;
    let ends = Ends {
        run_for: args.end.run_for,
        until_idle: args.until_idle,
        when: None,
        drain: args.end.drain,
    };
    let reload = args
        .reload
        .then(|| Reload::new(&args.file, &args.local, &plan));
    let show_as = session::Show {
        listen: args.watch.listen.map_or(Listen::AsFile, Listen::At),
        json: args.end.json,
    };
    session::run(plan, backend, ends, reload, show_as, |report| {
        show(report, args.end.json)
    })
    .await
}

fn show(report: &Report, json: bool) -> anyhow::Result<()> {
    let text = if json {
        serde_json::to_string(report)?
    } else {
        output::report_text(report)
    };
    Ok(output::line(&text)?)
}
