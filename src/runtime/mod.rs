//! Floor 5: the production driver of a node.
//!
//! Owns: settings. Must not know: the command line. Invariant: nothing here decides what a node does;
//! it carries what the core asks for.

pub mod certificates;
pub mod server;
pub mod settings;
