//! Whole clusters in one thread, in virtual time, from one seed.
//!
//! ```text
//!  swarm --> run --> world: event queue ---> Process (the core, its log, a simulated disk)
//!                     |  ^      |   ^
//!            disturb -+  |      |   +--- network (loss, delay, doubles, replays, cuts)
//!                        |      v
//!                     workload (clients) ---> oracle <--- checkers (one promise each)
//! ```
//!
//! Owns: time, the network, disks, faults, clients, and the judgement. Must not know: how the core does
//! what it does; the oracle knows writes and what their authors had seen, nothing else. Invariant: the
//! same seed gives the same trace.

mod change;
pub mod checkers;
mod claims;
mod cluster;
mod copies;
mod detection;
pub mod disk;
mod disturb;
mod dunlin;
mod happening;
mod layouts;
mod machine;
#[cfg(feature = "mutants")]
pub mod mutants;
mod network;
pub mod oracle;
mod outcomes;
mod pages;
mod parcel;
mod renewal;
mod report;
mod run;
mod scrub;
mod station;
mod swarm;
mod tally;
mod trace;
mod upkeep;
mod value;
mod workload;
mod world;
mod write_set;

#[cfg(test)]
mod toy;

pub use disk::SimDisk;
pub use dunlin::DunlinMachine;
pub use machine::{Appending, Arming, Boot, DiskFaults, Machine, Maintenance, Newborn, Process, Renewing};
pub use report::Report;
pub use run::{run, run_undisturbed};
pub use swarm::{Fault, Swarm};
pub use tally::Tally;
pub use trace::Voice;
pub use value::{value_of, write_of};
pub use write_set::{WriteId, WriteSet};
