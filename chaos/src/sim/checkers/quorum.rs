//! P1: a success counts as many copies as were asked for, and a strict one no hint.

use super::Broken;
use dunlin::replication::{Outcome, Quorum, Sloppiness};

/// Judges what a success says of itself: W and R are of the N that it names.
pub fn check_quorum(outcome: &Outcome, [w, r]: [Quorum; 2], sloppiness: Sloppiness) -> Vec<Broken> {
    let (got, asked, hinted, replicas) = match outcome {
        Outcome::Read(read) => (read.answers, r, read.hinted, read.replicas),
        Outcome::Written(written) => (written.acks, w, written.hinted, written.replicas),
        _ => return Vec::new(),
    };
    let wanted = match asked {
        Quorum::Count(count) => usize::from(count),
        Quorum::Majority | Quorum::All => asked.of(replicas).unwrap_or(replicas),
    };
    let strict = sloppiness == Sloppiness::Strict;
    let faults = [
        (got < wanted, format!("{got} copies counted, {wanted} asked for")),
        (strict && hinted > 0, format!("a strict request counts {hinted} hints")),
        (strict && got > replicas, format!("{got} copies counted on {replicas} replicas")),
    ];
    faults.into_iter().filter(|(wrong, _)| *wrong).map(|(_, what)| Broken::new("P1 durable", what)).collect()
}

/// Judges an acknowledgement by the logs themselves: so many nodes have a durable record of the write.
pub fn check_durable(acks: usize, durable_on: usize) -> Option<Broken> {
    let what = || format!("{acks} copies counted, {durable_on} nodes have a durable record");
    (durable_on < acks).then(|| Broken::new("P1 durable", what()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use dunlin::causal::Filled;
    use dunlin::replication::ReadResult;

    #[test]
    fn an_acknowledgement_ahead_of_the_logs_is_reported() {
        assert_eq!(check_durable(2, 2), None);
        assert_eq!(check_durable(2, 3), None);
        assert!(check_durable(2, 1).is_some());
    }

    #[test]
    fn too_few_answers_and_hints_in_a_strict_success_are_reported() {
        let read =
            |answers, hinted| Outcome::Read(ReadResult { state: Filled::default(), answers, replicas: 3, hinted });
        assert_eq!(check_quorum(&read(2, 0), [Quorum::Majority; 2], Sloppiness::Strict), []);
        assert_eq!(check_quorum(&read(1, 0), [Quorum::Majority; 2], Sloppiness::Strict).len(), 1);
        assert_eq!(check_quorum(&read(2, 1), [Quorum::Majority; 2], Sloppiness::Strict).len(), 1);
        assert_eq!(check_quorum(&read(4, 0), [Quorum::Majority; 2], Sloppiness::Strict).len(), 1);
        assert_eq!(check_quorum(&read(2, 1), [Quorum::Majority; 2], Sloppiness::Sloppy), []);
    }
}
