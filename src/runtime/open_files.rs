//! How many files and sockets the process may have open.

use crate::store::{MAX_OPEN_KEY_FILES, MAX_OPEN_SEGMENTS};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What a node has open beside its clients' connections and the files that reading and listing keep: the log's own,
/// compaction's and the scrub's, the data directory, the endpoints.
const OTHER_FILES: u64 = 256;

/// All that is not a client's connection.
const OWN_FILES: u64 = (MAX_OPEN_SEGMENTS + MAX_OPEN_KEY_FILES) as u64 + OTHER_FILES;

/// The limits on open files; none is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenFiles {
    /// What counts.
    pub soft: Option<u64>,
    /// What the process may raise it to.
    pub hard: Option<u64>,
}

impl OpenFiles {
    /// The limits of this process.
    pub fn now() -> OpenFiles {
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        OpenFiles { soft: current, hard: maximum }
    }

    /// Raises the soft limit to the hard one: shells start processes with 1,024, for the sake of programs
    /// older than `poll`. If it cannot be raised it stays as it is. Returns what holds now.
    pub fn raise() -> OpenFiles {
        let before = OpenFiles::now();
        let wanted = Rlimit { current: before.hard, maximum: before.hard };
        if let Err(error) = setrlimit(Resource::Nofile, wanted) {
            tracing::warn!(%error, "the limit on open files cannot be raised");
        }
        OpenFiles::now()
    }

    /// Tells both, and warns if so many connections may leave none for the log.
    pub(super) fn report(self, max_connections: usize) {
        let told = |limit: Option<u64>| limit.map_or_else(|| "unlimited".into(), |limit| limit.to_string());
        tracing::info!(soft = told(self.soft), hard = told(self.hard), "limit on open files");
        let wanted = max_connections as u64 + OWN_FILES;
        if self.soft.is_some_and(|soft| soft < wanted) {
            tracing::warn!(wanted, "too few open files for all the connections that are allowed; raise the hard limit");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pages_say_how_many_descriptors_a_node_wants() {
        let page = include_str!("../../docs/operations.md");
        assert!(page.contains(&format!("`limits.max_connections` and {OWN_FILES} more")), "{OWN_FILES}");
    }
}
