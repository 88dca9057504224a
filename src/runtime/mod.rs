//! runtime

pub mod disk;
