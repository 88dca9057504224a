//! Limits that hold for every node alike, each with its reason.

/// Longest key. Keys are kept in memory for recent dots and hints; 1 KiB bounds that.
pub const MAX_KEY_BYTES: usize = 1024;

/// Most bytes of one key's versions together. An object is one record, at most 256 MiB long; the rest is for
/// the key and for what the versions have seen.
pub const MAX_OBJECT_BYTES: usize = 252 << 20;

/// Largest value that can be configured: as many siblings as a client may leave, with their metadata, are
/// one object.
pub const MAX_VALUE_BYTES: usize = 3 << 20;

/// What a version may have besides its value: type and metadata, with room for their encoding.
pub const MAX_DESCRIPTION_BYTES: usize = 64 << 10;

const _: () = assert!(MAX_SIBLINGS * (MAX_VALUE_BYTES + MAX_DESCRIPTION_BYTES) <= MAX_OBJECT_BYTES);

/// Default for the largest value: one record is written, sent and cached whole.
pub const DEFAULT_MAX_VALUE_BYTES: usize = 1 << 20;

/// Most siblings of one key a client write may leave. Each costs every reader its bytes.
pub const MAX_SIBLINGS: usize = 64;

/// Longest time-out a client may ask for. Nothing that counts copies of one write need remember longer.
pub const MAX_TIMEOUT_MS: u64 = 60_000;

/// Most steps that may wait for one key's object to be read from disk; further ones are shed (503).
pub const MAX_WAITING_PER_KEY: usize = 1024;

/// Most client commands a shard holds open; further ones are shed (503) before they cost anything.
pub const MAX_OPEN_COMMANDS: usize = 16_384;
