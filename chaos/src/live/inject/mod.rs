//! One real node with its system calls tampered with: fsync fails, SIGKILL in the midst of a call, a full disk.
//!
//! ```text
//! rehearsal (strace counts calls) --> points --> Node under strace <--PUT, DELETE-- load --> Ledger
//!                                                 | dies                                       |
//!                                                Node as it is  --GET every key----------------+--> Table
//! ```
//!
//! Owns: which call fails when, the load, what must be there afterwards. Must not know: anything that an operator
//! could not see. Invariant: no process and no mount outlives a run, and a point that was not reached is not counted.

mod disk_full;
mod ledger;
mod load;
mod node;
mod options;
mod point;
mod rehearsal;
mod table;

pub use options::Inject;
