//! Running what waits.

use super::exit::Failure;
use crate::runtime::server::EXIT_PATIENCE;
use std::future::Future;
use std::io;

/// Runs `future` to its end on this thread. What is left behind on other threads does not hold it up for
/// longer than [`EXIT_PATIENCE`].
pub(super) fn block_on<F: Future>(future: F) -> io::Result<F::Output> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let output = runtime.block_on(future);
    runtime.shutdown_timeout(EXIT_PATIENCE);
    Ok(output)
}

/// No runtime, no command.
pub(super) fn cannot_start(error: &io::Error) -> Failure {
    Failure::new(format!("cannot start the runtime: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn a_thread_that_hangs_does_not_hold_up_the_end() {
        let (hold, held) = channel::<()>();
        let done = block_on(async move {
            let (started, begun) = tokio::sync::oneshot::channel();
            // Stands for a name server that never answers.
            tokio::task::spawn_blocking(move || {
                let _ = started.send(());
                held.recv()
            });
            begun.await.is_ok()
        });
        assert!(done.unwrap());
        drop(hold);
    }
}
