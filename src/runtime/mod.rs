//! Floor 5: the world around a node: sockets, files, threads, clocks.
//!
//! Owns: everything that waits. Must not know: how a node decides, nor the command line. Invariant:
//! nothing here changes what a command means; it carries what the core asks for.

pub mod certificates;
pub mod http;
pub mod metrics;
pub mod server;
pub mod settings;
pub mod status;
