//! How many files and sockets the process may have open.

use crate::store::{DEFAULT_OPEN_SEGMENTS, MAX_COMPACTION_KEY_FILES, MAX_OPEN_KEY_FILES};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What a node has open beside its clients' connections and the files that reading, listing and compaction keep: the
/// log's own, those that are copied from and to, the scrub's, the data directory, the endpoints.
const OTHER_FILES: u64 = 256;

/// All that is not a client's connection, and that a node does not go without.
const OWN_FILES: u64 = (DEFAULT_OPEN_SEGMENTS + MAX_OPEN_KEY_FILES + MAX_COMPACTION_KEY_FILES) as u64 + OTHER_FILES;

/// Most segments kept open for reading, however many the process may have: at 64 MiB each they cover 1 TiB. Of a larger
/// log most records are not in the page cache, and a device's read takes far longer than opening a file.
const MAX_OPEN_SEGMENTS: u64 = 16_384;

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

    /// How many segments may be kept open for reading beside so many connections: half of the descriptors that nobody
    /// else may need, as others may come to need them. Never fewer than the store's own default.
    pub(super) fn for_segments(self, max_connections: usize) -> usize {
        let left = self.soft.unwrap_or(u64::MAX).saturating_sub(max_connections as u64 + OWN_FILES);
        let more = (left / 2).min(MAX_OPEN_SEGMENTS - DEFAULT_OPEN_SEGMENTS as u64);
        DEFAULT_OPEN_SEGMENTS + more as usize
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
    fn segments_get_half_of_the_descriptors_that_nobody_else_may_need() {
        let segments = |soft| OpenFiles { soft, hard: None }.for_segments(10_000);
        assert_eq!(segments(Some(1024)), 256);
        assert_eq!(segments(Some(10_000 + OWN_FILES)), 256);
        assert_eq!(segments(Some(10_000 + OWN_FILES + 2 * 5_000)), 256 + 5_000);
        assert_eq!(segments(Some(1 << 20)), 16_384);
        assert_eq!(segments(None), 16_384);
    }

    #[test]
    fn the_pages_say_how_many_descriptors_a_node_wants() {
        let page = include_str!("../../docs/operations.md");
        assert!(page.contains(&format!("`limits.max_connections` and {OWN_FILES} more")), "{OWN_FILES}");
    }
}
