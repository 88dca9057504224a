//! The issuer's book: which invitations were used, and by whom.

use super::files::BOOK_FILE;
use super::ticket::Invitation;
use crate::base::NodeId;
use crate::runtime::identity::write_durably;
use crate::runtime::serve_error::ServeError;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Most entries: each was made by an operator, and goes when its invitation has expired.
const MAX_ENTRIES: usize = 4096;

/// An entry stays so much longer than its invitation: the clock may be set back.
const KEPT_SECONDS: u64 = 7 * 24 * 3600;

/// Kept in the issuer's data directory, so that no restart makes a ticket valid again.
pub(super) struct Book {
    directory: PathBuf,
    entries: BTreeMap<u64, Entry>,
}

/// One used invitation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    node: NodeId,
    name: String,
    /// Of the public key.
    key_hash: [u8; 32],
    expires: u64,
}

/// Why an invitation cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum BookError {
    /// By another node, or under another key.
    #[error(
        "this ticket was used already, by node {node} ({name:?}); a ticket lets in one node. Get a new one with \
         `dunlin cluster invite`; if you did not use it yourself, ban that node (cluster.banned)"
    )]
    Used {
        /// By whom.
        node: NodeId,
        /// Under which name.
        name: String,
    },
    /// Too many are open.
    #[error("{MAX_ENTRIES} tickets were used in the last days; more are not counted, so none is taken")]
    Full,
    /// It cannot be written down.
    #[error("the issuer cannot write the ticket down: {0}")]
    Unwritten(#[from] ServeError),
}

impl Book {
    /// Reads it; an absent one is empty.
    pub(super) fn open(directory: &Path) -> Result<Book, ServeError> {
        let path = directory.join(BOOK_FILE);
        let entries = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
                let path = path.display();
                ServeError::Refused(format!(
                    "{path}: not a list of used tickets: {error}; once all tickets given out have expired, remove it"
                ))
            })?,
            Err(error) if error.kind() == ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(ServeError::of_file(&path, &error)),
        };
        Ok(Book { directory: directory.into(), entries })
    }

    /// Is it unused, or this node's?
    pub(super) fn check(&self, invitation: &Invitation, node: NodeId, key_hash: [u8; 32]) -> Result<(), BookError> {
        match self.entries.get(&invitation.number) {
            Some(entry) if (entry.node, entry.key_hash) != (node, key_hash) => {
                Err(BookError::Used { node: entry.node, name: entry.name.clone() })
            }
            _ => Ok(()),
        }
    }

    /// Uses an invitation, durably, for the node with this key; again for the same one as often as it asks: its
    /// answer may have been lost.
    pub(super) fn redeem(
        &mut self,
        invitation: &Invitation,
        node: NodeId,
        name: &str,
        key_hash: [u8; 32],
        now: u64,
    ) -> Result<(), BookError> {
        self.check(invitation, node, key_hash)?;
        if self.entries.contains_key(&invitation.number) {
            return Ok(());
        }
        let mut entries = self.entries.clone();
        entries.retain(|_, entry| entry.expires.saturating_add(KEPT_SECONDS) > now);
        if entries.len() >= MAX_ENTRIES {
            return Err(BookError::Full);
        }
        let entry = Entry { node, name: name.into(), key_hash, expires: invitation.expires };
        entries.insert(invitation.number, entry);
        let bytes = serde_json::to_vec(&entries).expect("numbers and texts are JSON");
        write_durably(&self.directory, BOOK_FILE, &bytes)?;
        self.entries = entries;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::join::ticket::tests::invitation;
    use crate::runtime::join::ticket::unix_seconds;

    #[test]
    fn an_invitation_is_used_once_also_after_a_restart_and_answered_again_to_the_same_key() {
        let directory = tempfile::tempdir().unwrap();
        let now = unix_seconds();
        let mut book = Book::open(directory.path()).unwrap();
        book.redeem(&invitation(1), NodeId(9), "d", [1; 32], now).unwrap();
        let mut book = Book::open(directory.path()).unwrap();
        book.redeem(&invitation(1), NodeId(9), "d", [1; 32], now).unwrap();
        for (node, key) in [(NodeId(9), [2; 32]), (NodeId(8), [1; 32])] {
            let words = book.redeem(&invitation(1), node, "e", key, now).unwrap_err().to_string();
            assert!(words.contains("used already, by node 0000000000000009 (\"d\")"), "{words}");
        }
        book.redeem(&invitation(2), NodeId(8), "e", [2; 32], now).unwrap();
    }

    #[test]
    fn the_book_forgets_what_has_long_expired_and_has_an_end() {
        let directory = tempfile::tempdir().unwrap();
        let now = unix_seconds();
        let mut book = Book::open(directory.path()).unwrap();
        let entry = |expires| Entry { node: NodeId(1), name: "x".into(), key_hash: [0; 32], expires };
        book.entries = (0..MAX_ENTRIES as u64).map(|number| (number, entry(now))).collect();
        let refused = book.redeem(&invitation(u64::MAX), NodeId(9), "d", [1; 32], now);
        assert!(matches!(refused, Err(BookError::Full)));
        let later = now + KEPT_SECONDS + 1;
        book.redeem(&invitation(u64::MAX), NodeId(9), "d", [1; 32], later).unwrap();
        assert_eq!(book.entries.len(), 1);
    }

    #[test]
    fn a_ticket_that_cannot_be_written_down_is_not_used() {
        let directory = tempfile::tempdir().unwrap();
        let mut book = Book::open(directory.path()).unwrap();
        drop(directory);
        let refused = book.redeem(&invitation(1), NodeId(9), "d", [1; 32], unix_seconds());
        assert!(matches!(refused, Err(BookError::Unwritten(_))) && book.entries.is_empty());
    }
}
