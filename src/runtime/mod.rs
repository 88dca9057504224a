//! Floor 5: the world around a node: sockets, files, threads, clocks.
//!
//! Owns: everything that waits. Must not know: how a node decides. Invariant: nothing here changes what
//! a command means; it carries commands in and outcomes out.

pub mod http;
pub mod metrics;
pub mod status;
