//! Floor 2: encryption at rest.
//!
//! ```text
//!  master key (the operator's) --wraps--> data keys (the file `keys`) --> frames, key files
//! ```
//!
//! Owns: the data keys of a directory and the file that holds them wrapped, what they make of bytes. Must not
//! know: records, manifests, where keys of operators come from. Invariant: what opens is what was sealed, at its
//! own seat, under this data key; nothing is sealed under a data key that is not durable in the file.
//!
//! AES-256-GCM-SIV: a seat is the nonce, so that none is stored, and should a seat ever be written twice it shows
//! whether the contents were equal, and nothing else.

mod data_key;
mod file;
mod ring;
mod secret;
#[cfg(test)]
mod tests;

pub(super) use data_key::{DataKey, Spot, TAG_BYTES};
pub(super) use file::{intact_keys, keys_name, new_keys_name};
pub(super) use ring::{DataKeys, Seal};
pub use secret::SecretKey;

/// How a directory is encrypted.
#[derive(Debug, Clone)]
pub struct Encryption {
    /// Keys of the operator. The first wraps the data keys from now on; the others may have wrapped them before.
    pub master_keys: Vec<SecretKey>,
    /// Drawn by the driver for this opening; used if a new data key is needed.
    pub fresh_data_key: SecretKey,
}
