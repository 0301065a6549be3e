//! A topic, on the cluster or embedded.

use std::ops::ControlFlow;

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
    .await?;
    failed.map_or(Ok(()), |error| Err(error.into()))
}
