//! Changes of the simulated disk that were never synced, and what a crash makes of them.

use dunlin::base::Random;
use std::collections::BTreeMap;

/// What a crash keeps or loses as one: the smallest unit disks promise to write whole.
pub const SECTOR_BYTES: usize = 512;

/// What a crash does to one change that was never synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is gone.
    Dropped,
    /// It is there.
    Kept,
    /// Some of its sectors are there; which, the seed says. Names and lengths are kept or dropped.
    Torn(u64),
}

/// A change of a file's bytes.
#[derive(Debug, Clone)]
pub(super) enum DataChange {
    Length(usize),
    Bytes(usize, Vec<u8>),
}

/// A change of a name.
#[derive(Debug, Clone)]
pub(super) enum NameChange {
    Link(String, u64),
    Unlink(String),
    Rename(String, String, u64),
}

impl DataChange {
    pub(super) fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            DataChange::Length(length) => bytes.resize((*length).max(bytes.len()), 0),
            DataChange::Bytes(offset, new) => {
                bytes.resize((offset + new.len()).max(bytes.len()), 0);
                bytes.iter_mut().skip(*offset).zip(new).for_each(|(to, from)| *to = *from);
            }
        }
    }

    pub(super) fn settle(&self, bytes: &mut Vec<u8>, fate: Fate) {
        match (self, fate) {
            (DataChange::Bytes(offset, new), Fate::Torn(seed)) => {
                let mut random = Random::from_seed(seed);
                let (mut at, end) = (*offset, offset + new.len());
                while at < end {
                    let stop = ((at / SECTOR_BYTES + 1) * SECTOR_BYTES).min(end);
                    let piece = new.get(at - offset..stop - offset).unwrap_or_default();
                    if random.chance(0.5) {
                        DataChange::Bytes(at, piece.to_vec()).apply(bytes);
                    }
                    at = stop;
                }
            }
            (_, fate) if kept_whole(fate) => self.apply(bytes),
            _ => {}
        }
    }
}

impl NameChange {
    pub(super) fn apply(self, names: &mut BTreeMap<String, u64>) {
        match self {
            NameChange::Link(name, inode) => {
                names.insert(name, inode);
            }
            NameChange::Unlink(name) => {
                names.remove(&name);
            }
            // Atomic: after a crash there is the old name or the new one, never both, never none.
            NameChange::Rename(from, to, inode) => {
                names.remove(&from);
                names.insert(to, inode);
            }
        }
    }

    pub(super) fn inode(&self) -> Option<u64> {
        match self {
            NameChange::Link(_, inode) | NameChange::Rename(_, _, inode) => Some(*inode),
            NameChange::Unlink(_) => None,
        }
    }
}

/// Does a change that cannot be torn survive?
pub(super) fn kept_whole(fate: Fate) -> bool {
    match fate {
        Fate::Kept => true,
        Fate::Dropped => false,
        Fate::Torn(seed) => seed % 2 == 0,
    }
}
