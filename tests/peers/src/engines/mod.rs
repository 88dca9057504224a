//! The engines that are compared.

pub mod bitcask;
pub mod dunlin;
pub mod fjall;
pub mod raw;
pub mod redb;
#[cfg(feature = "rocksdb")]
pub mod rocksdb;
