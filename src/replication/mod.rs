//! Floor 3: the decisions of replication, and nothing else.
//!
//! Owns: what a client asks and is answered ([`Command`], [`Outcome`]), what replicas say to one another
//! ([`Message`]), the quorum tallies of reads and writes. Must not know: shards, drivers, time-outs'
//! clocks. Invariant: an acknowledgement counts once per node and disk, and only a durable one counts.

mod command;
mod cover;
mod layout_message;
mod message;
mod read_tally;
mod write_tally;

pub use command::{
    Command, Condition, Failure, ListCommand, NewContent, Operation, Options, Outcome, Quorum, ReadResult, Sloppiness,
    WriteResult,
};
pub use cover::{Cover, MAX_PAGE_KEYS, Uncovered};
pub use layout_message::{Ballot, LayoutDigest, LayoutMessage, LayoutNews, LayoutTracker};
pub use message::{
    Claim, Clients, ClockEntry, ClockNeed, ClockReport, Known, Message, PulledObject, ReadReply, Refusal, StoreReply,
    Want,
};
pub use read_tally::ReadTally;
pub use write_tally::{Copy, TallyRow, WriteTally};
