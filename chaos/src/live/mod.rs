//! Breaks real processes: a cluster of the shipped binary, clients over HTTP, SIGKILL.
//!
//! Owns: the processes and their directory, the load and its history, what is asked of nodes from outside,
//! and the verdict. Must not know: anything a client or an operator could not see; it runs `dunlin cluster
//! ...` and `dunlin serve`, and speaks HTTP. Invariant: no process outlives a run, and nothing is called
//! held that was not looked at.
//!
//! ```text
//! scenario --kills, restarts--> cluster (processes)        input --records--> load --PUT--> nodes
//!    |                                                                          | history, failures by class
//!    +--> watch (/cluster: hints)   convergence (/cluster/partitions)   verify (GET r=all at every node)
//!    +--> verdict <-- numbers of all of them --> report
//! ```

mod book;
mod cluster;
mod convergence;
mod fleet;
mod history;
mod inject;
mod input;
mod load;
mod operator;
mod options;
mod outcome;
mod probe;
mod process;
mod report;
mod rot;
mod scenario;
mod stage;
mod transition;
mod verdict;
mod verify;
mod watch;

pub use inject::Inject;
pub use options::Live;
pub use report::Report;
pub use scenario::{SCENARIOS, Scenario, run};
