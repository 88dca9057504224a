//! The node as a process (placeholder: the runtime's work replaces this file).

use super::settings::Settings;
use std::future::Future;

/// Why a node ended other than by being asked to.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Files or addresses the settings name cannot be used.
    #[error("{0}")]
    Refused(String),
    /// A failed fsync: nothing is known about un-synced writes (PROTOCOL R17).
    #[error("the store is poisoned: {0}")]
    StorePoisoned(String),
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

/// Runs a node until `shutdown`.
pub async fn run(settings: Settings, shutdown: impl Future<Output = ()>) -> Result<(), ServeError> {
    tracing::warn!(node = settings.node.name, "there is no server in this build");
    shutdown.await;
    Ok(())
}
