//! The keys of a segment, each once.

use super::shared_run::SharedRunCursor;
use super::{EntryKind, KeyCursor, KeyFile, KeyFileError, SharedRun};
use crate::base::Key;
use crate::ring::PartitionId;
use crate::store::{Disk, Sequence};
use bytes::Bytes;
use std::sync::Arc;

/// So many entries of one key are passed over one by one; then its end is looked up in the index.
const PASSED_SINGLY: usize = 64;

/// One key of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewestEntry {
    /// The key.
    pub(crate) key: Key,
    /// Its partition.
    pub(crate) partition: PartitionId,
    /// The rank of the entry.
    pub(crate) sequence: Sequence,
    /// What its newest object is; a hint only if the segment has no object of the key.
    pub(crate) kind: EntryKind,
}

/// Keys in ascending order, each once.
pub(crate) enum NewestCursor<D: Disk> {
    /// Of a sealed segment.
    File(FileCursor<D>),
    /// Of a part of a segment that is not sealed.
    Run(SharedRunCursor),
}

/// The keys of a key file.
pub(crate) struct FileCursor<D: Disk> {
    file: KeyFile<D>,
    cursor: KeyCursor<D>,
    /// The key given out last; empty before the first.
    last: Vec<u8>,
}

impl<D: Disk> NewestCursor<D> {
    /// The keys of a key file, from `start` on.
    pub(crate) fn of_file(file: KeyFile<D>, start: &[u8]) -> Self {
        let cursor = file.iter_from(start);
        NewestCursor::File(FileCursor { file, cursor, last: Vec::new() })
    }

    /// The keys of a run, from `start` on.
    pub(crate) fn of_run(run: Arc<SharedRun>, start: &[u8]) -> Self {
        NewestCursor::Run(run.newest_from(start))
    }

    /// The next key; none at the end.
    pub(crate) fn next(&mut self) -> Result<Option<NewestEntry>, KeyFileError> {
        match self {
            NewestCursor::File(file) => file.next(),
            NewestCursor::Run(run) => Ok(run.next().map(|(key, facts)| {
                let (partition, sequence, kind) = (facts.partition, facts.sequence, facts.kind);
                NewestEntry { key: key_of(key), partition, sequence, kind }
            })),
        }
    }
}

impl<D: Disk> FileCursor<D> {
    fn next(&mut self) -> Result<Option<NewestEntry>, KeyFileError> {
        let Some(mut newest) = self.next_key()? else { return Ok(None) };
        self.last.clear();
        self.last.extend_from_slice(newest.key.as_bytes());
        // Hints come between the objects of a key, newest first.
        while newest.kind == EntryKind::Hint {
            match self.cursor.peek()? {
                Some(facts) if self.cursor.key() == self.last => {
                    (newest.sequence, newest.kind) = (facts.sequence, facts.kind);
                    self.cursor.pass();
                }
                _ => break,
            }
        }
        Ok(Some(newest))
    }

    /// The first entry of the next key.
    fn next_key(&mut self) -> Result<Option<NewestEntry>, KeyFileError> {
        let mut passed = 0;
        loop {
            let Some(facts) = self.cursor.peek()? else { return Ok(None) };
            if self.cursor.key() != self.last {
                let (partition, sequence, kind) = (facts.partition, facts.sequence, facts.kind);
                let key = key_of(self.cursor.key());
                self.cursor.pass();
                return Ok(Some(NewestEntry { key, partition, sequence, kind }));
            }
            self.cursor.pass();
            passed += 1;
            if passed == PASSED_SINGLY {
                let mut behind = self.last.clone();
                behind.push(0);
                self.cursor = self.file.iter_from(&behind);
            }
        }
    }
}

fn key_of(bytes: &[u8]) -> Key {
    Key::new(Bytes::copy_from_slice(bytes)).expect("entries are made of keys, and blocks refuse other lengths")
}
