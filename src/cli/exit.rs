//! How a command ends.

use crate::runtime::server::ServeError;
use std::fmt;
use std::process::ExitCode;

/// A process's exit status. Scripts and service managers decide by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ExitStatus(u8);

impl ExitStatus {
    /// Done.
    pub(super) const OK: Self = Self(0);
    /// Any failure without a number of its own; starting again may help.
    pub(super) const FAILED: Self = Self(1);
    /// Wrong call, or settings a node does not start with: starting again does not help.
    pub(super) const USAGE: Self = Self(2);
    /// A client command failed, other than by "not found" (1) or "siblings" (2).
    pub(super) const CLIENT_FAILED: Self = Self(3);
    /// The store could not make a write durable, stopped trusting itself, and the node left. Look at the disk.
    pub(super) const STORE_POISONED: Self = Self(10);
    /// Another process runs under the node's identity, and it goes on: starting again only repeats the contest.
    pub(super) const IDENTITY_TAKEN: Self = Self(11);
}

/// Why a command failed: one message for people, one number for programs.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) status: ExitStatus,
    message: String,
}

impl Failure {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { status: ExitStatus::FAILED, message: message.into() }
    }

    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self { status: ExitStatus::USAGE, message: message.into() }
    }
}

impl From<ServeError> for Failure {
    fn from(error: ServeError) -> Self {
        let status = match error {
            ServeError::Refused(_) => ExitStatus::USAGE,
            ServeError::StorePoisoned(_) => ExitStatus::STORE_POISONED,
            ServeError::IdentityTaken(_) => ExitStatus::IDENTITY_TAKEN,
            ServeError::Failed(_) => ExitStatus::FAILED,
        };
        Self { status, message: error.to_string() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> ExitCode {
        ExitCode::from(status.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_starting_again_cannot_mend_has_a_status_of_its_own() {
        let status = |error: ServeError| Failure::from(error).status.0;
        assert_eq!(status(ServeError::Failed("x".into())), 1);
        assert_eq!(status(ServeError::Refused("x".into())), 2);
        assert_eq!(status(ServeError::StorePoisoned("x".into())), 10);
        assert_eq!(status(ServeError::IdentityTaken("x".into())), 11);
    }
}
