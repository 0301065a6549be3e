//! Embedded topics and counts: a directory that can be used.

use std::path::Path;

use gristmill_local_topic::{LocalError, LocalLog};

use super::Finding;

const AREA: &str = "local";

pub(super) fn check(dir: &Path) -> Vec<Finding> {
    let subject = format!("directory {}", dir.display());
    let existed = dir.is_dir();
    let finding = match LocalLog::open(dir) {
        Ok(log) => {
            let topics = log.topics().map_or(0, |topics| topics.len());
            drop(log);
            if existed {
                Finding::ok(AREA, subject, format!("usable, {topics} topics"))
            } else {
                // `up` would make it anyway, but looking is not to leave anything.
                let _ = std::fs::remove_dir_all(dir);
                Finding::ok(AREA, subject, "can be made")
            }
        }
        Err(error @ LocalError::InUse { .. }) => Finding::warn(
            AREA,
            subject,
            error.to_string(),
            "fine if the pipeline runs already; else stop that process",
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
