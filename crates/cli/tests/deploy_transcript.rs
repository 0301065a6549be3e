//! What every verb of a deployment says, word for word, when it goes well and when it does not.
//!
//! `TRYCMD=overwrite cargo test -p gristmill --test deploy_transcript` writes it anew; read the
//! diff.
#![allow(clippy::unwrap_used)]

mod common;
mod deploy_site;

use std::path::Path;

use deploy_site::{Site, said};

/// `Ok` edits the file, `Err` is a command.
type Step<'a> = Result<(&'a str, &'a str), &'a str>;

const STEPS: &[Step<'_>] = &[
    Err("deploy list"),
    Err("deploy list --json"),
    Err("deploy log p"),
    Err("plan"),
    Err("apply --yes"),
    Err("deploy start --local --only conuts"),
    Err("deploy start -f nowhere.yaml"),
    Err("deploy start"),
    Err("deploy start --local --only counts"),
    Err("deploy start --local"),
    Err("deploy start --local --only counts"),
    Err("deploy restart counts"),
    Err("deploy restart stream"),
    Err("deploy shutdown contus"),
    Err("deploy shutdown"),
    Err("deploy log counts"),
    Err("plan"),
    Ok(("{value}", "n:{value}")),
    Err("plan -o change.json"),
    Err("apply"),
    Err("deploy start --local --only stream"),
    Err("apply change.json"),
    Err("apply change.json"),
    Err("apply pipeline.yaml"),
    Err("apply --yes"),
    Err("deploy start --local --only stream"),
    Ok(("name: counts,", "name: totals,")),
    Err("plan"),
    Err("plan --json"),
    Ok(("version: 0.1.0, topic", "verzion: 0.1.0, topic")),
    Err("apply --yes"),
    Ok(("verzion: 0.1.0, topic", "version: 0.1.0, topic")),
    Ok(("meta: {name: p,", "meta: {name: q,")),
    Err("plan"),
    Ok(("meta: {name: q,", "meta: {name: p,")),
    Err("apply --yes"),
    Err("deploy shutdown stream"),
    Err("deploy shutdown p"),
    Err("deploy shutdown p"),
    Err("deploy restart p"),
    Err("deploy list"),
];

#[test]
fn every_verb_says_what_it_did() {
    let site = Site::new();
    let mut transcript = String::new();
    for step in STEPS {
        match step {
            Ok((from, to)) => {
                site.edit(|text| text.replace(from, to));
                transcript.push_str(&format!("\n# edit: {from} → {to}\n"));
            }
            Err(line) => {
                let args: Vec<&str> = line.split(' ').collect();
                if args.starts_with(&["deploy", "log"]) && site.state().exists() {
                    // What a stage says comes when it comes; here, once for each of its starts.
                    let lines =
                        |site: &Site| said(&site.run(&args)).matches("INFO running").count();
                    site.until(|site| lines(site) == 2);
                }
                let output = site.run(&args);
                let code = output.status.code().unwrap();
                let text = said(&output);
                transcript.push_str(&format!("\n$ gristmill {line}\n"));
                if code != 0 {
                    transcript.push_str(&format!("? {code}\n"));
                }
                transcript.push_str(&masked(&text, &site));
            }
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cmd/deploy.transcript");
    if std::env::var("TRYCMD").as_deref() == Ok("overwrite") {
        std::fs::write(path, transcript).unwrap();
        return;
    }
    let expect = std::fs::read_to_string(path).unwrap();
    assert!(
        transcript == expect,
        "it says something else now; TRYCMD=overwrite writes it anew:\n{transcript}"
    );
}

/// What is another in each run, by what it is.
fn masked(text: &str, site: &Site) -> String {
    let text = text.replace(site.dir().to_str().unwrap(), "DIR");
    let mut masked = String::new();
    for line in text.lines() {
        let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        for word in &mut words {
            let digits = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
            let is_time = digits.len() == 24 && digits.ends_with('Z') && digits.contains('T');
            let is_pid = digits.len() >= 3 && digits.bytes().all(|b| b.is_ascii_digit());
            if is_time {
                *word = word.replace(digits, "TIME");
            } else if is_pid {
                *word = word.replace(digits, "PID");
            }
        }
        let line = mask_digest(&words.join(" "));
        // Ids differ in width, and so do columns.
        let line = match line.contains("PID") {
            true => line.split_whitespace().collect::<Vec<_>>().join(" "),
            false => line,
        };
        masked.push_str(line.trim_end());
        masked.push('\n');
    }
    masked
}

fn mask_digest(line: &str) -> String {
    match line.split_once("\"digest\":\"") {
        Some((before, after)) => {
            let rest = after.split_once('"').map_or("", |(_, rest)| rest);
            format!("{before}\"digest\":\"DIGEST\"{rest}")
        }
        None => line.to_owned(),
    }
}
