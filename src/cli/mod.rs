//! Floor 6: the command line.
//!
//! Owns: arguments, exit statuses, what is printed. Must not know: how a node works. Invariant: stdout
//! carries what was asked for and nothing else; everything said besides goes to stderr.

pub mod kv;
