//! The simulated world.

pub mod disk;

pub use disk::SimDisk;
