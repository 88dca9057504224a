//! What must be true, from what clients were told alone.
//!
//! Every write remembers the explicit set of writes its author had seen. Nothing here knows of dots,
//! clocks or contexts: if the protocol's own idea of causality is wrong, the oracle does not share it.

use super::{WriteId, WriteSet};
use dunlin::base::Time;

/// What a write does to its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Leaves a value.
    Put,
    /// Leaves nothing.
    Delete,
}

/// What the author of a write had seen when it wrote, and therefore superseded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// With a token: exactly this, the past of what was shown included.
    Exactly(WriteSet),
    /// Without one, acknowledged: at least this, by the answer's own account.
    Claimed(WriteSet),
    /// Without one, unanswered: whatever its coordinator saw.
    Unknown,
}

/// How a write ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Not answered yet.
    Open,
    /// Acknowledged.
    Acknowledged,
    /// Answered: nothing was written.
    NotWritten,
    /// Answered "unknown", or not at all.
    InDoubt,
}

/// One write of the history.
#[derive(Debug, Clone)]
pub struct Write {
    /// Number of its key.
    pub key: usize,
    /// Put or delete.
    pub kind: Kind,
    /// What it superseded.
    pub seen: Seen,
    /// When the client sent it.
    pub invoked: Time,
    /// When it was answered; never, if it was not.
    pub ended: Time,
    /// How it ended.
    pub fate: Fate,
    /// Durable copies it asked for.
    pub copies: usize,
    /// Contexts its coordinator reads first, if it carries no token.
    pub reads: usize,
    /// Only primaries count.
    pub strict: bool,
}

/// The history of all writes of a run, and what follows from it.
#[derive(Debug, Default)]
pub struct Oracle {
    writes: Vec<Write>,
    by_key: Vec<Vec<WriteId>>,
    /// When a disk was lost for good.
    losses: Vec<Time>,
    /// N of the layout.
    replicas: usize,
}

impl Oracle {
    /// An empty history over `keys` keys, each on `replicas` nodes.
    pub fn new(keys: usize, replicas: usize) -> Self {
        Self { by_key: vec![Vec::new(); keys], replicas, ..Self::default() }
    }

    /// Records a write before it is sent.
    pub fn begin(&mut self, write: Write) -> WriteId {
        let id = WriteId(self.writes.len() as u32);
        self.by_key[write.key].push(id);
        self.writes.push(write);
        id
    }

    /// Records how a write ended.
    pub fn end(&mut self, id: WriteId, fate: Fate, at: Time) {
        let write = &mut self.writes[id.0 as usize];
        write.fate = fate;
        write.ended = if fate == Fate::InDoubt { Time::NEVER } else { at };
        if fate == Fate::Acknowledged && write.seen == Seen::Unknown {
            write.seen = Seen::Claimed(WriteSet::default());
        }
    }

    /// An acknowledged write without token says that it superseded `victim`.
    pub fn claim(&mut self, id: WriteId, victim: WriteId) {
        if let Seen::Claimed(seen) = &mut self.writes[id.0 as usize].seen {
            seen.insert(victim);
        }
    }

    /// A disk and everything on it is gone.
    pub fn lose_disk(&mut self, at: Time) {
        self.losses.push(at);
    }

    /// Was any disk lost? Then a version may have survived without the knowledge of what it superseded: it
    /// is offered as itself alone (PROTOCOL R8).
    pub fn lost_any(&self) -> bool {
        !self.losses.is_empty()
    }

    /// A write.
    pub fn write(&self, id: WriteId) -> &Write {
        &self.writes[id.0 as usize]
    }

    /// Does the history have this write?
    pub fn knows(&self, id: WriteId) -> bool {
        (id.0 as usize) < self.writes.len()
    }

    /// How many writes.
    pub fn len(&self) -> usize {
        self.writes.len()
    }

    /// No write yet.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// The writes of a key, oldest first.
    pub fn of_key(&self, key: usize) -> &[WriteId] {
        &self.by_key[key]
    }

    /// How many keys.
    pub fn keys(&self) -> usize {
        self.by_key.len()
    }

    /// N of the layout.
    pub fn replicas(&self) -> usize {
        self.replicas
    }

    /// What a write is known to have superseded; nothing if that is not known.
    pub fn past(&self, id: WriteId) -> Option<&WriteSet> {
        match &self.write(id).seen {
            Seen::Exactly(seen) | Seen::Claimed(seen) => Some(seen),
            Seen::Unknown => None,
        }
    }

    /// What a client knows that was shown these writes: them, and what they had seen.
    pub fn knowledge(&self, shown: &WriteSet) -> WriteSet {
        let mut known = shown.clone();
        for id in shown.iter().filter(|id| self.knows(*id)) {
            if let Some(past) = self.past(id) {
                known.union(past);
            }
        }
        known
    }

    /// Acknowledged, and durable on more disks than were lost since. A write that asked for fewer copies
    /// than a majority is not promised to survive any loss: replacing a disk reads N-W+1 others with W
    /// the smallest that is in use (PROTOCOL R6), which here is the majority.
    pub fn protected(&self, id: WriteId) -> bool {
        let write = self.write(id);
        let lost = self.losses.iter().filter(|at| **at >= write.invoked).count();
        let safe = lost == 0 || (write.copies > self.replicas / 2 && lost < write.copies);
        write.fate == Fate::Acknowledged && safe
    }

    /// What may rightly be absent, or is there, when a key shows `shown` at `horizon`: everything shown,
    /// everything that a delete may have removed, and everything that these may have superseded.
    pub fn accounted(&self, key: usize, shown: &WriteSet, horizon: Time) -> WriteSet {
        let mut accounted = shown.clone();
        let mut open: Vec<WriteId> = shown.iter().filter(|id| self.knows(*id)).collect();
        for id in self.possible(key, horizon) {
            if self.write(id).kind == Kind::Delete && accounted.insert(id) {
                open.push(id);
            }
        }
        while let Some(id) = open.pop() {
            let victims = match self.past(id) {
                Some(past) => past.clone(),
                None => self.possible(key, horizon).collect(),
            };
            open.extend(victims.iter().filter(|victim| accounted.insert(*victim)).collect::<Vec<_>>());
        }
        accounted
    }

    /// Writes of a key that may have taken effect by `horizon`.
    fn possible(&self, key: usize, horizon: Time) -> impl Iterator<Item = WriteId> + '_ {
        self.of_key(key).iter().copied().filter(move |id| {
            let write = self.write(*id);
            write.fate != Fate::NotWritten && write.invoked <= horizon
        })
    }

    /// Everything that `survivors` are known to have superseded: none of it may be live beside them.
    pub fn dead(&self, survivors: impl Iterator<Item = WriteId>) -> WriteSet {
        let mut dead = WriteSet::default();
        for past in survivors.filter_map(|id| self.past(id)) {
            dead.union(past);
        }
        dead
    }

    /// Acknowledged strict writes of a key that a strict read of `reads` replicas begun at `begun` must
    /// cover.
    pub fn must_cover(&self, key: usize, reads: usize, begun: Time) -> impl Iterator<Item = WriteId> + '_ {
        self.of_key(key).iter().copied().filter(move |id| {
            let write = self.write(*id);
            write.strict && write.copies + reads > self.replicas && write.ended <= begun && self.protected(*id)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(seen: Seen) -> Write {
        Write {
            key: 0,
            kind: Kind::Put,
            seen,
            invoked: Time(0),
            ended: Time::NEVER,
            fate: Fate::Open,
            copies: 2,
            reads: 2,
            strict: true,
        }
    }

    fn set(ids: &[WriteId]) -> WriteSet {
        ids.iter().copied().collect()
    }

    #[test]
    fn absence_is_explained_by_a_chain_that_ends_in_something_shown() {
        let mut oracle = Oracle::new(1, 3);
        let a = oracle.begin(put(Seen::Exactly(set(&[]))));
        let b = oracle.begin(put(Seen::Exactly(set(&[a]))));
        let c = oracle.begin(put(Seen::Exactly(set(&[b]))));
        let d = oracle.begin(put(Seen::Exactly(set(&[]))));
        let accounted = oracle.accounted(0, &set(&[c]), Time(9));
        assert!(accounted.contains(a) && accounted.contains(b) && !accounted.contains(d));
    }

    #[test]
    fn a_delete_explains_only_what_it_had_seen() {
        let mut oracle = Oracle::new(1, 3);
        let a = oracle.begin(put(Seen::Exactly(set(&[]))));
        let b = oracle.begin(put(Seen::Exactly(set(&[]))));
        oracle.begin(Write { kind: Kind::Delete, ..put(Seen::Exactly(set(&[a]))) });
        let accounted = oracle.accounted(0, &set(&[]), Time(9));
        assert!(accounted.contains(a) && !accounted.contains(b));
    }

    #[test]
    fn a_write_that_failed_for_certain_explains_nothing() {
        let mut oracle = Oracle::new(1, 3);
        let a = oracle.begin(put(Seen::Exactly(set(&[]))));
        let b = oracle.begin(Write { kind: Kind::Delete, ..put(Seen::Exactly(set(&[a]))) });
        oracle.end(b, Fate::NotWritten, Time(1));
        assert!(!oracle.accounted(0, &set(&[]), Time(9)).contains(a));
    }

    #[test]
    fn an_unanswered_plain_write_that_is_shown_may_have_seen_anything_before_the_horizon() {
        let mut oracle = Oracle::new(1, 3);
        let a = oracle.begin(put(Seen::Exactly(set(&[]))));
        let b = oracle.begin(put(Seen::Unknown));
        let late = oracle.begin(Write { invoked: Time(50), ..put(Seen::Exactly(set(&[]))) });
        let accounted = oracle.accounted(0, &set(&[b]), Time(9));
        assert!(accounted.contains(a) && !accounted.contains(late));
        oracle.end(b, Fate::Acknowledged, Time(2));
        assert!(!oracle.accounted(0, &set(&[b]), Time(9)).contains(a), "its answer did not claim a");
        oracle.claim(b, a);
        assert!(oracle.accounted(0, &set(&[b]), Time(9)).contains(a));
    }

    #[test]
    fn a_lost_disk_takes_the_promise_from_writes_with_too_few_copies_only() {
        let mut oracle = Oracle::new(1, 3);
        let two = oracle.begin(put(Seen::Unknown));
        let one = oracle.begin(Write { copies: 1, ..put(Seen::Unknown) });
        oracle.end(two, Fate::Acknowledged, Time(1));
        oracle.end(one, Fate::Acknowledged, Time(1));
        assert!(oracle.protected(two) && oracle.protected(one));
        oracle.lose_disk(Time(5));
        assert!(oracle.protected(two) && !oracle.protected(one));
        oracle.lose_disk(Time(6));
        assert!(!oracle.protected(two));
    }

    #[test]
    fn a_strict_read_must_cover_what_was_acknowledged_before_it_began() {
        let mut oracle = Oracle::new(1, 3);
        let a = oracle.begin(put(Seen::Unknown));
        oracle.end(a, Fate::Acknowledged, Time(10));
        assert_eq!(oracle.must_cover(0, 2, Time(10)).collect::<Vec<_>>(), [a]);
        assert_eq!(oracle.must_cover(0, 2, Time(9)).count(), 0);
        assert_eq!(oracle.must_cover(0, 1, Time(10)).count(), 0);
    }
}
