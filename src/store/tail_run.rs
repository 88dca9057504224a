//! The entries of a segment that is not sealed, in pieces that a listing can share.

use super::cipher::Seal;
use super::key_file::{KeyEntry, KeyRun, SharedRun};
use std::sync::Arc;

/// A piece is closed at so many entries: a listing copies the one that is still open, while the storage thread
/// waits (about 50 us); a segment of 64 MiB has some 200 closed ones, each of which a listing looks into.
const PIECE_ENTRIES: usize = 2048;

/// Or at so many bytes: keys may be long.
const PIECE_BYTES: usize = 512 << 10;

/// The entries of a segment that is written, or was and is not sealed yet.
#[derive(Debug)]
pub(super) struct TailRun {
    closed: Vec<Arc<SharedRun>>,
    open: KeyRun,
}

impl TailRun {
    /// An empty one for the segment of this number and generation.
    pub(super) fn new(segment: u32, generation: u64, seal: Seal) -> TailRun {
        TailRun { closed: Vec::new(), open: KeyRun::new(segment, generation, seal) }
    }

    /// Adds an entry, in any order.
    pub(super) fn push(&mut self, entry: &KeyEntry) {
        self.open.push(entry);
        if self.open.len() >= PIECE_ENTRIES || self.open.bytes_held() >= PIECE_BYTES {
            let next = self.open.emptied();
            self.closed.push(Arc::new(SharedRun::new(std::mem::replace(&mut self.open, next))));
        }
    }

    /// The pieces, oldest first.
    pub(super) fn pieces(&self) -> impl Iterator<Item = &KeyRun> {
        self.closed.iter().map(|piece| piece.run()).chain([&self.open])
    }

    /// Under which data key the segment is encrypted.
    pub(super) fn seal(&self) -> &Seal {
        self.open.seal()
    }

    /// All entries as one run: a copy.
    pub(super) fn joined(&self) -> KeyRun {
        let mut joined = self.open.emptied();
        self.pieces().for_each(|piece| joined.extend(piece));
        joined
    }

    /// The entries of now, for others to read: closed pieces are shared, the open one is copied.
    pub(super) fn shared(&self) -> Vec<Arc<SharedRun>> {
        let mut shared = self.closed.clone();
        if !self.open.is_empty() {
            shared.push(Arc::new(SharedRun::new(self.open.clone())));
        }
        shared
    }
}
