//! Breaks Dunlin on purpose.

pub mod sim;
