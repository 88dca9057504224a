//! Floor 2: taking superseded records out of sealed segments.
//!
//! ```text
//!  Log::begin_compaction --> step, step ... --> Log::install --> relocations --> Log::retire
//!   (a list of segments)     estimate, copy     both count       to the node     inputs do not
//! ```
//!
//! Owns: which segments are worth it, the copy of what is current, the two changes of the manifest. Must not
//! know: the index (it asks which records are current), threads, pacing. Invariant: cut short between any two
//! calls of the disk, the log holds what it held: each current record is in a segment that counts, and no
//! record is the newest of its key that was not.
//!
//! How to drive it. All steps but those of [`Log`] may run on any one thread; one compaction at a time.
//! 1. [`Log::begin_compaction`]. Before anything is asked, the node must have been given the answers to all
//!    appends made until then: a record that the node does not know yet would pass for a superseded one.
//! 2. [`Compaction::step`] until it has copied, or nothing is worth it. What it asks is for `Node::is_current`;
//!    "superseded" stays true for ever, "current" need not.
//! 3. [`Log::install`], then feed [`Compaction::relocations`] to the node as `Input::Relocated`, all of them.
//! 4. [`Log::retire`]. The files go when the next compaction begins: reads under way still find them, and a
//!    node reads again what has moved.
//!
//! After any error: [`Log::abandon`]. A segment that was found damaged is not looked at again until it was
//! examined ([`Log::condemn`]), or until the next opening; one step may be repeated after a full disk. A driver that vanishes leaves what an opening removes.
//!
//! Bounds. Space: segments come to hold at least [`DEFAULT_LIVE_SHARE`] of current records, so the log is at most
//! 1 / share of them (1.43 times), and besides it a compaction's inputs and output. Memory: the keys of one
//! output, one block of each input's key file, one batch of questions. A delete is kept for as long as a segment
//! that is no input holds an older record of its key (PROTOCOL R12c); deletes are also kept that would need more
//! than [`MAX_COMPACTION_KEY_FILES`] key files to decide.

mod choice;
mod copy;
mod elsewhere;
mod error;
mod estimate;
mod output;
mod relocate;
mod source;
mod swap;
#[cfg(test)]
mod tests;
mod work;

pub use elsewhere::MAX_COMPACTION_KEY_FILES;
pub use error::CompactionError;
pub use source::Question;
pub(super) use source::may_fill_a_slot;
pub(super) use swap::Compacted;
pub use work::{Compaction, CompactionOptions, DEFAULT_LIVE_SHARE, Progress};
