//! A run that nothing is added to any more, read by several at once.

use super::entry::Facts;
use super::{EntryKind, KeyRun};
use std::sync::{Arc, OnceLock};

/// Entries of a segment that is not sealed yet. Whoever reads them first in order of key brings them into it: the
/// storage thread, which writes them, does not wait for that.
#[derive(Debug)]
pub(crate) struct SharedRun {
    run: KeyRun,
    /// One slot for each key, in order of key: its newest object, or a hint if there is no object.
    newest: OnceLock<Vec<u32>>,
}

/// One entry for each key of a shared run, in order of key.
pub(crate) struct SharedRunCursor {
    shared: Arc<SharedRun>,
    next: usize,
}

impl SharedRun {
    pub(crate) fn new(run: KeyRun) -> SharedRun {
        SharedRun { run, newest: OnceLock::new() }
    }

    /// The entries, as they were added.
    pub(crate) fn run(&self) -> &KeyRun {
        &self.run
    }

    /// From the first key on that is at least `start`.
    pub(super) fn newest_from(self: Arc<Self>, start: &[u8]) -> SharedRunCursor {
        let newest = self.newest.get_or_init(|| newest_of_each_key(&self.run));
        let next = newest.partition_point(|slot| self.run.pair_at(*slot).is_some_and(|(key, _)| key < start));
        SharedRunCursor { shared: self, next }
    }
}

fn newest_of_each_key(run: &KeyRun) -> Vec<u32> {
    let mut newest: Vec<u32> = Vec::new();
    for slot in run.slots_in_order() {
        let Some((key, facts)) = run.pair_at(slot) else { continue };
        let before = newest.last().and_then(|before| run.pair_at(*before)).filter(|(before, _)| *before == key);
        match before {
            // The first object of a key is its newest: the highest sequence comes first.
            Some((_, before)) if before.kind != EntryKind::Hint || facts.kind == EntryKind::Hint => {}
            Some(_) => newest.last_mut().into_iter().for_each(|last| *last = slot),
            None => newest.push(slot),
        }
    }
    newest
}

impl SharedRunCursor {
    /// The next key and its entry; none at the end.
    pub(super) fn next(&mut self) -> Option<(&[u8], Facts)> {
        let slot = *self.shared.newest.get()?.get(self.next)?;
        self.next += 1;
        self.shared.run.pair_at(slot)
    }
}
