//! `gristmill doctor`: whether the pipeline can run here and now.

use std::path::Path;

use gristmill_runner::{Finding, LOCAL_DIR, Patient, Site, Verdict, examine, module_sources};

use crate::args::DoctorArgs;
use crate::{Outcome, logging, output, project};

pub(super) async fn run(args: DoctorArgs) -> anyhow::Result<Outcome> {
    let project = project::load(&args.file)?;
    let site = match args.local.local {
        None => Site::Cluster,
        Some(Some(dir)) => Site::Local(dir),
        Some(None) => {
            let beside = project.file.parent().unwrap_or(Path::new(""));
            Site::Local(beside.join(LOCAL_DIR))
        }
    };
    let patient = Patient {
        modules: module_sources(&project.file),
        manifest: project.manifest,
        site,
        listen: args.watch.listen,
    };
    logging::tell_only_findings();
    let findings = examine(&patient, &mut |text| output::note(text)).await;
    let failed = count(&findings, Verdict::Failed) > 0;
    if args.json {
        let report = serde_json::json!({"ok": !failed, "findings": findings});
        output::line(&report.to_string())?;
    } else {
        for finding in &findings {
            output::line(&text(finding))?;
        }
        output::line(&summary(&findings))?;
    }
    Ok(if failed {
        Outcome::Failed
    } else {
        Outcome::Done
    })
}

fn count(findings: &[Finding], verdict: Verdict) -> usize {
    findings
        .iter()
        .filter(|finding| finding.verdict == verdict)
        .count()
}

fn text(finding: &Finding) -> String {
    let (word, colour) = match finding.verdict {
        Verdict::Ok => ("ok", "32"),
        Verdict::Warning => ("warning", "33"),
        Verdict::Failed => ("FAILED", "31;1"),
        Verdict::Skipped => ("skipped", "2"),
    };
    let mut text = format!(
        "{}  {:<8} {}: {}",
        output::paint(colour, &format!("{word:<7}")),
        finding.area,
        finding.subject,
        finding.detail
    );
    if let Some(remedy) = &finding.remedy {
        text.push_str(&format!("\n           = help: {remedy}"));
    }
    text
}

fn summary(findings: &[Finding]) -> String {
    let also = |verdict, what: &str| match count(findings, verdict) {
        0 => String::new(),
        n => format!(", {n} {what}"),
    };
    format!(
        "\n{} ok{}{}{}",
        count(findings, Verdict::Ok),
        also(Verdict::Warning, "to read"),
        also(Verdict::Failed, "failed"),
        also(Verdict::Skipped, "skipped")
    )
}
