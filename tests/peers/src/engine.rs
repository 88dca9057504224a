//! What every engine is asked to do.
//!
//! As in Dunlin's runtime, one thread drives the clients and another one commits: it takes what is queued,
//! writes it as one batch with one sync, answers, and repeats.

use crate::data::Values;
use std::path::Path;

/// When a commit is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durable {
    /// When the disk has it.
    EachCommit,
    /// When the system has it; the disk has it once the committer is closed.
    AtClose,
}

/// A store: the driver's end of it.
pub trait Engine: Sized + Sync {
    /// Its other end.
    type Committer: Committer;

    /// Opens the directory, which exists.
    fn open(directory: &Path, durable: Durable, values: &Values) -> (Self, Self::Committer);

    /// Makes a put of the value of this number.
    fn prepare(&mut self, number: u64, values: &Values) -> Put<Self>;

    /// A put is durable: readers may see it.
    fn publish(&mut self, done: Done<Self>);

    /// Reads values by number, on one thread; false if one is not there or not what it should be.
    fn reader<'a>(&'a self, values: &'a Values) -> impl FnMut(u64) -> bool + 'a;

    /// Lets go of what is bounded and not per key, before memory is measured.
    fn trim(&mut self) {}

    /// Puts one value durably, from any of many threads, the way the engine itself shares syncs. False if it
    /// has no such way.
    fn put_shared(&self, _number: u64, _values: &Values) -> bool {
        false
    }
}

/// The committing thread's end.
pub trait Committer: Send {
    /// A put, ready to be committed.
    type Put: Send;
    /// A put, committed.
    type Done: Send;

    /// Commits all of a batch; an answer for each put, in order.
    fn commit(&mut self, batch: Vec<Self::Put>) -> Vec<Self::Done>;

    /// Ends cleanly, everything durable.
    fn close(self);
}

/// A put of an engine.
pub type Put<E> = <<E as Engine>::Committer as Committer>::Put;

/// A committed put of an engine.
pub type Done<E> = <<E as Engine>::Committer as Committer>::Done;
