//! Floor 0: the words every other floor uses.
//!
//! Owns: identities, keys, time, limits, seeded randomness, the switch for deliberate faults.
//! Must not know: anything else of Dunlin. Invariant: nothing here asks the world for anything; time
//! and randomness come in from the driver.

mod id;
mod key;
pub mod limits;
pub mod mutation;
mod random;
mod time;

pub use id::{ClusterId, IdError, NodeId};
pub use key::{Key, KeyError};
pub use mutation::{Mutation, broken};
pub use random::Random;
pub use time::{HybridTime, Now, Time, WallTime};
