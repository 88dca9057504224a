//! The failure detector alone: up to ten thousand of them in one thread, in virtual time, from one seed.
//!
//! ```text
//!  Case --> World: event queue ---> Host (a detector, its process, its connections)
//!             |  ^    |
//!     deaths -+  |    +---> Wire (loss, delay, handshakes, bytes)
//!     stalls ----+    +---> Ledger (who knew of which death when, who was condemned falsely) --> Figures
//! ```
//!
//! Owns: time, the network's faults and its price in bytes, deaths, stalls, and the count of what
//! detectors got right and wrong. Must not know: how a detector comes to its verdicts. Invariant: the
//! same case gives the same figures.

mod case;
mod command;
mod figures;
mod host;
mod ledger;
mod links;
mod table;
mod wire;
mod world;

#[cfg(test)]
mod tests;

pub use case::{Case, Connections};
pub use command::Trial;
pub use figures::Figures;
pub use world::World;
