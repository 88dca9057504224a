//! Settings of a node: one table, and everything that is read from it.
//!
//! ```text
//!   flag --node-name  >  variable DUNLIN_NODE_NAME  >  [node] name in the file  >  default in the table
//! ```
//!
//! Owns: the table of knobs ([`KNOBS`]), the typed [`Settings`] made by the same table, reading them
//! from their sources, and the documents written from it. Must not know: the command line's library,
//! what a setting is used for. Invariant: a name, unit, default or bound stands in `table.rs` and nowhere
//! else; `configs/node.toml` and `docs/configuration.md` are written from it (tests/configs.rs compares).

mod check;
mod document;
mod file;
mod host_port;
mod kinds;
mod knob;
mod parts;
mod problem;
mod sources;
mod table;
mod units;
mod value;

pub use crate::store::Durability;
pub use check::{NAME_RULE, is_name};
pub use document::{example_file, file_with, reference_page};
pub use host_port::{HostPort, HostPortError};
pub use kinds::{LogFormat, LogLevel};
pub use knob::{Bounds, Knob, Shape};
pub use problem::{Problem, SettingsError};
pub use sources::Sources;
pub use table::{Cluster, Defaults, KNOBS, Limits, Log, Membership, Node, Repair, SECTIONS, Settings, Storage, Tls};
pub use units::{Size, duration_text, parse_duration};
