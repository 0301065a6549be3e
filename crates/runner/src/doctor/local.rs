//! Embedded topics and counts: a directory that can be used.

use std::path::Path;

use gristmill_local_topic::{LocalError, LocalLog};
use gristmill_manifest::plural;

use super::Finding;

const AREA: &str = "local";

pub(super) fn check(dir: &Path) -> Vec<Finding> {
    let subject = format!("directory {}", dir.display());
    let existed = dir.is_dir();
    let finding = match LocalLog::open(dir) {
        Ok(log) => {
            let topics = log.topics().map_or(0, |topics| topics.len() as u64);
            let topics = format!("{topics} {}", plural(topics, "topic"));
            drop(log);
            if existed {
                Finding::ok(AREA, subject, format!("usable, {topics}"))
            } else {
                // `up` would make it anyway, but looking is not to leave anything.
                let _ = std::fs::remove_dir_all(dir);
                Finding::ok(AREA, subject, "can be made")
            }
        }
        Err(LocalError::InUse { pid, .. }) => Finding::warn(
            AREA,
            subject,
            match pid {
                Some(pid) => format!("in use by process {pid}"),
                None => "in use by another process".to_owned(),
            },
            "fine if that is this pipeline; else end that process, or name another directory with \
             --local=DIR",
        ),
        Err(error) => Finding::fail(
            AREA,
            subject,
            error.to_string(),
            "make it writable, or name another with --local=DIR",
        ),
    };
    vec![finding]
}
