//! Running what waits.

use super::exit::Failure;
use std::future::Future;

/// Runs `future` to its end on this thread.
pub(super) fn block_on<F: Future>(future: F) -> Result<F::Output, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(format!("cannot start the runtime: {error}")))?;
    Ok(runtime.block_on(future))
}
