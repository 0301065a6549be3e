//! `gristmill export`: a pipeline's sinks as a job for another engine.

use gristmill_runner::export::Refusal;
use gristmill_runner::export::arroyo::Job;

use crate::args::{ArroyoPart, ExportArroyoArgs, ExportVerb};
use crate::{Outcome, UsageError, output, project};

pub(super) fn run(verb: &ExportVerb) -> anyhow::Result<Outcome> {
    match verb {
        ExportVerb::Arroyo(args) => arroyo(args),
    }
}

fn arroyo(args: &ExportArroyoArgs) -> anyhow::Result<Outcome> {
    let project = project::load(&args.file)?;
    let job = Job::new(&project.manifest).map_err(|refusals| {
        let file = project.file.display();
        let line = |Refusal { place, reason }: &Refusal| {
            format!("{file}:{}:{}: {reason}", place.line, place.column)
        };
        let lines: Vec<String> = refusals.iter().map(line).collect();
        UsageError(format!("not for Arroyo\n{}", lines.join("\n")))
    })?;
    let text = match args.print {
        ArroyoPart::Sql => job.sql,
        ArroyoPart::Api => job.api(),
        ArroyoPart::Totals => totals(job.totals, args.sink.as_deref())?,
    };
    output::line(text.trim_end())?;
    Ok(Outcome::Done)
}

/// The file of the sink that is asked for, or of the only one.
fn totals(files: Vec<(String, String)>, sink: Option<&str>) -> anyhow::Result<String> {
    let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    let there = format!("sinks with running totals: {}", names.join(", "));
    let wrong = match (sink, names.as_slice()) {
        (Some(sink), names) if !names.contains(&sink) => format!("no such sink: `{sink}`; {there}"),
        (None, []) => "no sink has running totals: windows go to Redis directly".to_owned(),
        (None, [_, _, ..]) => format!("say which one with --sink; {there}"),
        _ => {
            let asked = |name: &str| sink.is_none_or(|sink| sink == name);
            let found = files.into_iter().find(|(name, _)| asked(name));
            return Ok(found.map(|(_, text)| text).unwrap_or_default());
        }
    };
    Err(UsageError(wrong).into())
}
