//! The data keys of a directory: which there are, and which is used for what is written.

use super::data_key::{unwrap, wrap};
use super::file::{self, COPIES, WrappedKey};
use super::{DataKey, Encryption, SecretKey};
use crate::store::{Disk, DiskError, OpenError};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// The data keys of a directory; without any nothing is encrypted.
#[derive(Default)]
pub(in crate::store) struct DataKeys {
    keys: BTreeMap<u8, Arc<DataKey>>,
    /// As the file has them, the oldest first.
    wrapped: Vec<WrappedKey>,
}

/// Under which data key a segment and its key file are sealed.
#[derive(Clone, Default)]
pub(in crate::store) struct Seal {
    /// 0: under none.
    pub(in crate::store) number: u8,
    /// None without a number, or if it is not known.
    pub(in crate::store) key: Option<Arc<DataKey>>,
}

impl Seal {
    /// Is it under a data key that is not known?
    pub(in crate::store) fn is_locked(&self) -> bool {
        self.number > 0 && self.key.is_none()
    }
}

impl DataKeys {
    /// Unwraps what the directory has and writes nothing. Segments are sealed under the data keys `needed`.
    pub(in crate::store) fn read<D: Disk>(
        disk: &D,
        encryption: Option<&Encryption>,
        needed: &BTreeSet<u8>,
    ) -> Result<DataKeys, OpenError> {
        let found = file::read(disk)?;
        let Some(encryption) = encryption else {
            let plain = found.is_none() && needed.is_empty();
            return if plain { Ok(DataKeys::default()) } else { Err(OpenError::KeyNeeded) };
        };
        let mut ring = DataKeys::default();
        for WrappedKey { number, wrapped } in found.map(|found| found.keys).unwrap_or_default() {
            let opened = encryption.master_keys.iter().find_map(|master| unwrap(master, number, &wrapped));
            ring.add(number, &opened.ok_or(OpenError::WrongKey { number })?, wrapped);
        }
        match needed.iter().find(|number| !ring.keys.contains_key(number)) {
            Some(number) => Err(OpenError::MissingKey { number: *number }),
            None => Ok(ring),
        }
    }

    /// No data key, once the file was seen to have all that are `needed`, whoever can unwrap them.
    pub(in crate::store) fn locked<D: Disk>(disk: &D, needed: &BTreeSet<u8>) -> Result<DataKeys, OpenError> {
        let found = file::read(disk)?.map(|found| found.keys).unwrap_or_default();
        let is_there = |number: &u8| found.iter().any(|key| key.number == *number);
        match needed.iter().find(|number| !is_there(number)) {
            Some(number) => Err(OpenError::MissingKey { number: *number }),
            None => Ok(DataKeys::default()),
        }
    }

    /// As [`DataKeys::read`], for writing, too: all wrapped by the first master key. If it did not wrap all of them before, a new
    /// data key is drawn: a new master key would protect little if what it unwraps stayed the same.
    pub(in crate::store) fn open<D: Disk>(
        disk: &D,
        encryption: Option<&Encryption>,
        needed: &BTreeSet<u8>,
    ) -> Result<DataKeys, OpenError> {
        let mut ring = DataKeys::read(disk, encryption, needed)?;
        let Some((encryption, master)) =
            encryption.and_then(|encryption| Some((encryption, encryption.master_keys.first()?)))
        else {
            return Ok(ring);
        };
        file::remove_unfinished(disk)?;
        let wrapped_before = ring.wrapped.iter().all(|key| unwrap(master, key.number, &key.wrapped).is_some());
        if ring.wrapped.is_empty() || !wrapped_before {
            ring.wrap_by(master, &encryption.master_keys);
            let number = ring.free_number().ok_or(OpenError::TooManyKeys)?;
            let fresh = &encryption.fresh_data_key;
            ring.add(number, fresh, wrap(master, number, fresh));
        } else if file::read(disk)?.is_some_and(|found| found.copies == COPIES) {
            return Ok(ring);
        }
        // Also if only one copy was left: without it nothing could be read.
        file::replace(disk, &ring.wrapped)?;
        Ok(ring)
    }

    /// Wraps all by one of these master keys, by whichever of them they are wrapped.
    fn wrap_by(&mut self, master: &SecretKey, masters: &[SecretKey]) {
        for WrappedKey { number, wrapped } in &mut self.wrapped {
            if let Some(key) = masters.iter().find_map(|master| unwrap(master, *number, wrapped)) {
                *wrapped = wrap(master, *number, &key);
            }
        }
    }

    /// What is written is sealed under this; 0 for not at all.
    pub(in crate::store) fn current(&self) -> u8 {
        self.wrapped.last().map_or(0, |key| key.number)
    }

    /// The data key of this number.
    pub(in crate::store) fn get(&self, number: u8) -> Option<&DataKey> {
        self.keys.get(&number).map(Arc::as_ref)
    }

    /// The same for whoever keeps it.
    pub(in crate::store) fn seal(&self, number: u8) -> Seal {
        Seal { number, key: self.keys.get(&number).cloned() }
    }

    /// Takes these out of the file; here they go on to be known.
    pub(in crate::store) fn remove<D: Disk>(&self, disk: &D, unused: &BTreeSet<u8>) -> Result<(), DiskError> {
        let kept = self.wrapped.iter().filter(|key| !unused.contains(&key.number));
        file::replace(disk, &kept.cloned().collect::<Vec<_>>())
    }

    /// All numbers there are, the current one among them.
    pub(in crate::store) fn numbers(&self) -> BTreeSet<u8> {
        self.keys.keys().copied().collect()
    }

    fn add(&mut self, number: u8, secret: &SecretKey, wrapped: Vec<u8>) {
        self.keys.insert(number, Arc::new(DataKey::new(secret)));
        self.wrapped.push(WrappedKey { number, wrapped });
    }

    /// The next number after the newest that no key has.
    fn free_number(&self) -> Option<u8> {
        let after = (1..=u8::MAX).cycle().skip(usize::from(self.current())).take(usize::from(u8::MAX));
        after.into_iter().find(|number| !self.keys.contains_key(number))
    }
}

/// The number alone.
impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Seal({})", self.number)
    }
}

/// Numbers alone.
impl fmt::Debug for DataKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.keys.keys()).finish()
    }
}
