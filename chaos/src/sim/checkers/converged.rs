//! P4: after faults end, replicas are equal and no hint remains.

use super::Broken;

/// What one replica says of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    /// Number of the node.
    pub node: usize,
    /// Hash of the clock.
    pub clock_hash: u64,
    /// Whether it counts itself complete.
    pub complete: bool,
    /// Order-free hash of (key, live dots).
    pub data_hash: u64,
    /// Keys that have seen more than the clock.
    pub leftovers: usize,
    /// Keys it holds.
    pub keys: usize,
}

/// Whether keys may go on naming dots that no replica has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leftovers {
    /// No: whatever a client was shown is still somewhere.
    None,
    /// Yes: a disk was lost, and with it a dot that a client had seen. Until dead actors are sealed
    /// (PROTOCOL R10) such a dot stays a gap, and a key that names it stays, at those replicas that
    /// were handed the client's context.
    OfLostDisks,
}

/// Judges a healed cluster: per partition the holdings of its primaries, per node the hints it holds.
pub fn check_converged(partitions: &[Vec<Holding>], hints: &[usize], leftovers: Leftovers) -> Vec<Broken> {
    let mut broken = Vec::new();
    for (partition, holdings) in partitions.iter().enumerate() {
        let Some(first) = holdings.first() else { continue };
        for holding in holdings {
            let wrong = fault_of(first, holding, leftovers);
            broken.extend(wrong.map(|w| unequal(format!("partition {partition}: {w}: {first:?} and {holding:?}"))));
        }
    }
    let held = hints.iter().enumerate().filter(|(_, hints)| **hints > 0);
    broken.extend(held.map(|(node, hints)| unequal(format!("node {node} still holds {hints} hints"))));
    broken
}

fn fault_of(first: &Holding, holding: &Holding, leftovers: Leftovers) -> Option<&'static str> {
    let settled = leftovers == Leftovers::None;
    let faults = [
        (!holding.complete, "never complete"),
        (holding.clock_hash != first.clock_hash, "clocks differ"),
        (holding.data_hash != first.data_hash, "data differ"),
        (settled && holding.keys != first.keys, "numbers of keys differ"),
        (settled && holding.leftovers > 0, "leftovers remain"),
    ];
    faults.into_iter().find(|(wrong, _)| *wrong).map(|(_, name)| name)
}

fn unequal(what: String) -> Broken {
    Broken::new("P4 converges", what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holding() -> Holding {
        Holding { node: 0, clock_hash: 5, complete: true, data_hash: 6, leftovers: 0, keys: 2 }
    }

    #[test]
    fn every_difference_is_reported() {
        let good = holding();
        assert_eq!(
            check_converged(&[vec![good.clone(), Holding { node: 1, ..holding() }]], &[0, 0], Leftovers::None),
            []
        );
        let bad = [
            Holding { clock_hash: 9, ..holding() },
            Holding { complete: false, ..holding() },
            Holding { data_hash: 9, ..holding() },
            Holding { leftovers: 1, ..holding() },
            Holding { keys: 3, ..holding() },
        ];
        for one in bad {
            assert_eq!(check_converged(&[vec![good.clone(), one]], &[0], Leftovers::None).len(), 1);
        }
        assert_eq!(check_converged(&[vec![good]], &[0, 3], Leftovers::None).len(), 1);
        let left = Holding { leftovers: 1, ..holding() };
        assert_eq!(check_converged(&[vec![left.clone()]], &[0], Leftovers::OfLostDisks), []);
        assert_eq!(check_converged(&[vec![left]], &[0], Leftovers::None).len(), 1);
    }
}
