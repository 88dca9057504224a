//! Every command is answered exactly once, and in time.

use super::Broken;
use dunlin::base::Time;
use std::collections::BTreeMap;

/// Commands that wait for their answer.
#[derive(Debug, Default)]
pub struct Requests {
    open: BTreeMap<u64, Open>,
}

#[derive(Debug, Clone, Copy)]
struct Open {
    node: usize,
    due: Time,
}

/// What is to be said of a command whose time is over.
#[derive(Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// It was answered, or its node died.
    Settled,
    /// Its node was paused meanwhile: look again then.
    Later(Time),
    /// It should have been answered by now.
    Overdue(Broken),
}

impl Requests {
    /// A command is sent to a node, to be answered by `due`.
    pub fn sent(&mut self, request: u64, node: usize, due: Time) {
        self.open.insert(request, Open { node, due });
    }

    /// An answer comes from a node. A second one, or one that nobody asked for, is a violation.
    pub fn answered(&mut self, request: u64, node: usize) -> Option<Broken> {
        match self.open.remove(&request) {
            Some(open) if open.node == node => None,
            other => {
                let what = format!("node {node} answers request {request}, which waits as {other:?}");
                Some(Broken::new("exactly one answer", what))
            }
        }
    }

    /// A process is gone: nobody is answered by it any more. Returns the commands it leaves open.
    pub fn died(&mut self, node: usize) -> Vec<u64> {
        let (gone, left) = std::mem::take(&mut self.open).into_iter().partition(|(_, open)| open.node == node);
        self.open = left;
        BTreeMap::into_keys(gone).collect()
    }

    /// A process stood still for some time: its commands have that much longer.
    pub fn delayed(&mut self, node: usize, until: Time, margin: std::time::Duration) {
        for open in self.open.values_mut().filter(|open| open.node == node) {
            open.due = open.due.max(until + margin);
        }
    }

    /// Looks at a command whose time may be over.
    pub fn overdue(&self, request: u64, now: Time) -> Unanswered {
        match self.open.get(&request) {
            None => Unanswered::Settled,
            Some(open) if open.due > now => Unanswered::Later(open.due),
            Some(open) => {
                let what = format!("request {request} at node {} is open past its time-out", open.node);
                Unanswered::Overdue(Broken::new("answered in time", what))
            }
        }
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// None is open.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_answer_and_a_missing_one_are_reported() {
        let mut requests = Requests::default();
        requests.sent(1, 0, Time(10));
        requests.sent(2, 0, Time(10));
        assert_eq!(requests.answered(1, 0), None);
        assert!(requests.answered(1, 0).is_some());
        assert_eq!(requests.overdue(1, Time(11)), Unanswered::Settled);
        assert!(matches!(requests.overdue(2, Time(11)), Unanswered::Overdue(_)));
        requests.delayed(0, Time(20), std::time::Duration::ZERO);
        assert_eq!(requests.overdue(2, Time(11)), Unanswered::Later(Time(20)));
        assert_eq!(requests.died(0), [2]);
        assert_eq!(requests.overdue(2, Time(21)), Unanswered::Settled);
    }
}
