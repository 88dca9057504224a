//! A new actor while the log is open.

use super::identity::Identity;
use super::{AppendError, Disk, Log};
use crate::base::{Mutation, broken};
use crate::causal::Actor;
use std::sync::Arc;

impl<D: Disk> Log<D> {
    /// Goes on under `actor`, which must be fresh: the one before may have forgotten something and mints no more
    /// (PROTOCOL R8, R9). Durable when this returns; clocks and records stay as they are, all counters begin at 0.
    /// No record with a dot of the old actor's minting may be appended afterwards. `Full`: nothing has changed, try
    /// again later.
    pub fn renew(&mut self, actor: Actor) -> Result<(), AppendError> {
        if broken(Mutation::RepairKeepsActor) {
            return Ok(());
        }
        let next = Identity { actor, durable: self.durable, ..self.identity.clone() };
        self.replace_manifest(next)?;
        Arc::make_mut(&mut self.tracker).renew(actor);
        Ok(())
    }

    /// Under which dots are minted.
    pub fn actor(&self) -> Actor {
        self.identity.actor
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causal::{Dot, DotSet};
    use crate::ring::PartitionId;
    use crate::store::key_file::key_file_name;
    use crate::store::memory::MemoryDisk;
    use crate::store::{Birth, Body, CodecOptions, Durability, OpenOptions, Opened, Opening, Record, open};

    const PARTITION: PartitionId = PartitionId(3);

    fn opened(disk: &Arc<MemoryDisk>, actor: u64) -> Opened<MemoryDisk> {
        let options = OpenOptions {
            fresh_actor: Actor(actor),
            segment_bytes: 4096,
            durability: Durability::Fsync,
            boot: 1,
            birth: Birth::Complete,
            codec: CodecOptions::default(),
        };
        open(disk.clone(), options).unwrap()
    }

    /// The own counter's next step, as a record.
    fn minted(actor: u64, counter: u64) -> Record {
        let dots = DotSet::from(Dot { actor: Actor(actor), counter });
        Record { partition: PARTITION, body: Body::Void { dots, minted: counter } }
    }

    /// What an opening finds after `before` records of actor 7, a renewal and `after` records of actor 8.
    fn counter_after(before: u64, after: u64) -> (Actor, u64) {
        let disk = Arc::new(MemoryDisk::default());
        let mut log = opened(&disk, 7).log;
        (1..=before).for_each(|counter| drop(log.append(&[minted(7, counter)]).unwrap()));
        log.renew(Actor(8)).unwrap();
        (1..=after).for_each(|counter| drop(log.append(&[minted(8, counter)]).unwrap()));
        let crashed = opened(&Arc::new(disk.copied()), 9).recovered;
        log.close().unwrap();
        let closed = opened(&disk, 9).recovered;
        let found = |recovered: &crate::store::Recovered| {
            assert_eq!(recovered.opening, Opening::Kept);
            (recovered.actor, recovered.tables[&PARTITION].minted)
        };
        assert_eq!(found(&crashed), found(&closed));
        assert_eq!(closed.tables[&PARTITION].clock.len(), before + after, "clocks stay");
        found(&closed)
    }

    #[test]
    fn the_counters_of_the_actor_before_do_not_count() {
        assert_eq!(counter_after(5, 0), (Actor(8), 0));
        assert_eq!(counter_after(5, 2), (Actor(8), 2));
    }

    #[test]
    fn a_renewal_while_a_segment_is_being_sealed_counts_whatever_the_job_has_written() {
        let disk = Arc::new(MemoryDisk::default());
        let mut log = opened(&disk, 7).log;
        let mut counter = 0;
        while log.next_sealing().is_none() {
            counter += 1;
            log.append(&[minted(7, counter)]).unwrap();
        }
        let sealing = loop {
            let mut job = log.next_job().unwrap();
            job.run();
            if disk.open(&key_file_name(1)).is_ok() {
                break job;
            }
            log.finish_job(job).unwrap();
        };
        log.renew(Actor(8)).unwrap();
        let sealed = log.identity.sealed.clone();
        log.finish_job(sealing).unwrap();
        assert_eq!(log.identity.sealed, sealed, "its checkpoint has the counters of the actor before");
        log.append(&[minted(8, 1)]).unwrap();
        log.do_jobs().unwrap();
        assert!(log.identity.sealed.through > sealed.through, "it is sealed again");
        let recovered = opened(&Arc::new(disk.copied()), 9).recovered;
        assert_eq!((recovered.opening, recovered.actor), (Opening::Kept, Actor(8)));
        let table = &recovered.tables[&PARTITION];
        assert_eq!((table.minted, table.clock.len()), (1, counter + 1));
    }

    #[cfg(feature = "mutants")]
    #[test]
    fn an_actor_kept_by_a_repair_is_noticed() {
        crate::base::mutation::activate(Some(Mutation::RepairKeepsActor));
        let outcome = std::panic::catch_unwind(the_counters_of_the_actor_before_do_not_count);
        crate::base::mutation::activate(None);
        assert!(outcome.is_err());
    }

    #[test]
    fn a_renewal_in_any_segment_counts_from_there() {
        // A record takes about 60 bytes: these lie in one segment, on both sides of its end, or several apart.
        for (before, after) in [(200, 3), (3, 200), (200, 200)] {
            assert_eq!(counter_after(before, after), (Actor(8), after));
        }
    }
}
