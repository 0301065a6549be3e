//! A topic, on the cluster or embedded.

use std::ops::ControlFlow;

use gristmill_manifest::{Manifest, nearest};
use gristmill_runner::browse;

use super::Printer;
use crate::args::TapArgs;
use crate::project;

/// Print the records of the topic `args.target`: from the beginning to the end, or from the end on.
pub(super) async fn tap(args: &TapArgs, mut printer: Printer) -> anyhow::Result<()> {
    let project = project::load(&args.file)?;
    let backend = project.existing_backend(&args.local)?;
    let mut failed = None;
    browse(
        &backend,
        &args.target,
        args.follow,
        &mut |partition, record| match printer.print(record, Some(partition)) {
            Ok(false) => ControlFlow::Continue(()),
            Ok(true) => ControlFlow::Break(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        },
    )
    .await
    .map_err(|error| with_help(error.into(), &args.target, &project.manifest))?;
    failed.map_or(Ok(()), |error| Err(error.into()))
}

/// A topic that the file does not name may well be a slip.
fn with_help(error: anyhow::Error, topic: &str, manifest: &Manifest) -> anyhow::Error {
    let known: Vec<String> = manifest.topics.keys().cloned().collect();
    // On Kafka and embedded, and on Fluvio.
    let of_known = [".dead-letter", "-dead-letter"];
    let of_known = of_known
        .iter()
        .find_map(|end| topic.strip_suffix(end))
        .unwrap_or(topic);
    if known.is_empty() || known.iter().any(|name| name == of_known) {
        return error;
    }
    let help = match nearest(topic, &known) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("the file has: {}", known.join(", ")),
    };
    anyhow::anyhow!("{error}\n  = help: {help}")
}
