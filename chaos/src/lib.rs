//! Breaks Dunlin on purpose.

#[cfg(feature = "live")]
pub mod live;
pub mod sim;
