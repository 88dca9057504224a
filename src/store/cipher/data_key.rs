//! What one data key makes of bytes.

use super::SecretKey;
use aes_gcm_siv::aead::AeadInOut;
use aes_gcm_siv::{Aes256GcmSiv, KeyInit, Nonce, Tag};

/// Bytes that sealing adds: the tag that authenticates.
pub(in crate::store) const TAG_BYTES: usize = 16;

/// Keys for each use of a data key, so that equal seats of different files never meet.
const FRAMES: &str = "dunlin 2026-11 frames of segments";
const KEY_FILES: &str = "dunlin 2026-11 blocks of key files";
const FILTERS: &str = "dunlin 2026-11 filters of key files";
const WRAPPING: &str = "dunlin 2026-11 wrapped data keys";

/// A data key, ready for use.
pub(in crate::store) struct DataKey {
    frames: Aes256GcmSiv,
    key_files: Aes256GcmSiv,
    filters: [u8; 32],
}

/// Where sealed bytes lie, and what has to be known with them.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) struct Spot<'a> {
    /// Of the segment; unique for each file, and with the offset for each thing sealed under a data key.
    pub(in crate::store) generation: u64,
    /// In the file.
    pub(in crate::store) offset: u64,
    /// Authenticated, not encrypted.
    pub(in crate::store) beside: &'a [u8],
}

impl DataKey {
    pub(super) fn new(secret: &SecretKey) -> DataKey {
        DataKey {
            frames: cipher(FRAMES, secret),
            key_files: cipher(KEY_FILES, secret),
            filters: blake3::derive_key(FILTERS, secret.bytes()),
        }
    }

    /// Encrypts a frame's payload where it stands; the tag belongs behind it.
    pub(in crate::store) fn seal_frame(&self, spot: Spot<'_>, payload: &mut [u8]) -> [u8; TAG_BYTES] {
        seal(&self.frames, spot, payload)
    }

    /// A frame's payload without its tag; none if it is not what was sealed there.
    pub(in crate::store) fn open_frame(&self, spot: Spot<'_>, payload: &[u8]) -> Option<Vec<u8>> {
        open(&self.frames, spot, payload)
    }

    /// Encrypts a part of a key file and puts its tag behind it.
    pub(in crate::store) fn seal_part(&self, spot: Spot<'_>, part: &mut Vec<u8>) {
        let tag = seal(&self.key_files, spot, part);
        part.extend(tag);
    }

    /// A part of a key file; none if it is not what was sealed there.
    pub(in crate::store) fn open_part(&self, spot: Spot<'_>, part: &[u8]) -> Option<Vec<u8>> {
        open(&self.key_files, spot, part)
    }

    /// What a filter knows of a key instead of the hash that anyone can compute.
    pub(in crate::store) fn filter_hash(&self, key: &[u8]) -> u64 {
        let hash = blake3::keyed_hash(&self.filters, key);
        hash.as_bytes().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }
}

/// Seals data key `number` under a master key. The nonce is always the same: two data keys would show whether they are
/// equal, and random ones are not.
pub(super) fn wrap(master: &SecretKey, number: u8, data_key: &SecretKey) -> Vec<u8> {
    let spot = Spot { generation: 0, offset: 0, beside: &[number] };
    let mut wrapped = data_key.bytes().to_vec();
    let tag = seal(&cipher(WRAPPING, master), spot, &mut wrapped);
    wrapped.extend(tag);
    wrapped
}

/// Opens what [`wrap`] has made; none with another master key, or if it is damaged.
pub(super) fn unwrap(master: &SecretKey, number: u8, wrapped: &[u8]) -> Option<SecretKey> {
    let spot = Spot { generation: 0, offset: 0, beside: &[number] };
    let bytes = open(&cipher(WRAPPING, master), spot, wrapped)?;
    bytes.try_into().ok().map(SecretKey::new)
}

fn cipher(purpose: &str, secret: &SecretKey) -> Aes256GcmSiv {
    Aes256GcmSiv::new(&blake3::derive_key(purpose, secret.bytes()).into())
}

fn seal(cipher: &Aes256GcmSiv, spot: Spot<'_>, bytes: &mut [u8]) -> [u8; TAG_BYTES] {
    let tag = cipher.encrypt_inout_detached(&nonce(spot), spot.beside, bytes.into());
    tag.expect("a frame and a part of a key file are far below 64 GiB").into()
}

fn open(cipher: &Aes256GcmSiv, spot: Spot<'_>, sealed: &[u8]) -> Option<Vec<u8>> {
    let (bytes, tag) = sealed.split_last_chunk::<TAG_BYTES>()?;
    let mut bytes = bytes.to_vec();
    let tag = Tag::from(*tag);
    cipher.decrypt_inout_detached(&nonce(spot), spot.beside, bytes.as_mut_slice().into(), &tag).ok()?;
    Some(bytes)
}

/// The low half of the offset is enough to tell things of one file apart; what it leaves out is beside.
///
/// Nothing rests on a nonce being used once, though frames see to it (decision 0031): a key file is written again after
/// a crash or a damage, and copies of a directory go on under one data key. Then GCM-SIV shows whether what was sealed,
/// and what is beside it, was equal; neither the contents nor a key.
fn nonce(spot: Spot<'_>) -> Nonce {
    let mut nonce = [0; 12];
    let bytes = spot.generation.to_le_bytes().into_iter().chain((spot.offset as u32).to_le_bytes());
    nonce.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
    nonce.into()
}
