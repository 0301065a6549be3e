//! A leg's own thread.
//!
//! A leg is one loop with a client or two beside it. On a thread of its own these hand over to each
//! other without a system call; on workers that all legs share, each wake-up of one also wakes
//! another worker that looks for work to steal: half a percent of a core at the live rate.

use std::future::Future;
use std::panic::AssertUnwindSafe;

use gristmill_flow::{CancellationToken, LegError};
use tokio::sync::oneshot;

/// Run `leg` on a thread of its own with a runtime of its own. Dropped, it ends at the leg's next
/// wait, and nobody waits for that.
///
/// # Errors
/// The leg's; [`LegError::Source`] where the system gives no thread.
///
/// # Panics
/// As the leg does.
pub(crate) async fn run<L>(
    name: &str,
    leg: impl FnOnce() -> L + Send + 'static,
) -> Result<(), LegError>
where
    L: Future<Output = Result<(), LegError>>,
{
    let dropped = CancellationToken::new();
    let _guard = dropped.clone().drop_guard();
    let (reply, ended) = oneshot::channel();
    let work = move || {
        let result = std::panic::catch_unwind(AssertUnwindSafe(|| block_on(leg(), &dropped)));
        // Whoever waited may have gone.
        let _ = reply.send(result);
    };
    let thread = std::thread::Builder::new().name(name.to_owned());
    if let Err(error) = thread.spawn(work) {
        return Err(LegError::Source(format!("no thread to run on: {error}")));
    }
    match ended.await {
        Ok(Ok(result)) => result,
        Ok(Err(panic)) => std::panic::resume_unwind(panic),
        Err(_) => Err(LegError::Source("its thread has gone".to_owned())),
    }
}

fn block_on(
    leg: impl Future<Output = Result<(), LegError>>,
    dropped: &CancellationToken,
) -> Result<(), LegError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| LegError::Source(format!("no runtime to run on: {error}")))?;
    let result = runtime.block_on(async {
        tokio::select! {
            biased;
            () = dropped.cancelled() => Ok(()),
            result = leg => result,
        }
    });
    // Calls that still wait for brokers must not keep the leg.
    runtime.shutdown_background();
    result
}
