//! The accounts of a load: what became of every record, and every failure.

use super::outcome::{Class, Doubt};
use serde::Serialize;
use std::collections::BTreeMap;

/// Failures kept in full; beyond, they are only counted. Enough to see a pattern, little enough to read.
const MAX_TOLD_FAILURES: usize = 200;

/// What is known of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// No request was sent that could have written it: it must not be there.
    NotWritten,
    /// It may or may not be there.
    InDoubt,
    /// It must be there.
    Acknowledged,
}

/// A failed request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Failure {
    pub(super) class: Class,
    /// Since the run began.
    pub(super) at_ms: u64,
    /// Since the last kill before it; none if there was none.
    pub(super) after_kill_ms: Option<u64>,
    pub(super) node: String,
    /// The status or the error, and its detail.
    pub(super) what: String,
    pub(super) record: usize,
    /// The primaries of its key. A node that is none of them passes the request on to one.
    pub(super) primaries: Vec<String>,
}

/// The accounts.
#[derive(Debug, Default)]
pub(super) struct Book {
    states: Vec<Option<State>>,
    /// Requests sent.
    pub(super) attempts: u64,
    /// Records acknowledged.
    pub(super) acknowledged: u64,
    /// Records that needed more than one request.
    pub(super) retried: u64,
    /// Records whose request was never acknowledged though nothing stood against it.
    pub(super) given_up: u64,
    /// How long acknowledged requests took, in microseconds.
    pub(super) latencies_us: Vec<u32>,
    counts: BTreeMap<Class, u64>,
    told: Vec<Failure>,
    /// When the scenario last killed something.
    last_kill_ms: Option<u64>,
    /// From a kill to the last failure after it that is not excused.
    window_ms: u64,
}

impl Book {
    /// Nodes are being killed: failures may come from it, for a while. No restart excuses any.
    pub(super) fn killed(&mut self, at_ms: u64) {
        self.last_kill_ms = Some(at_ms);
    }

    /// A request failed.
    pub(super) fn failed(&mut self, class: Class, at_ms: u64, node: String, what: String, record: usize) {
        let after_kill_ms = self.last_kill_ms.map(|kill_ms| at_ms.saturating_sub(kill_ms));
        *self.counts.entry(class).or_default() += 1;
        if !class.excused() {
            // Without any kill there is nothing to excuse it: the window is open from the beginning.
            self.window_ms = self.window_ms.max(after_kill_ms.unwrap_or(at_ms));
        }
        if self.told.len() < MAX_TOLD_FAILURES {
            self.told.push(Failure { class, at_ms, after_kill_ms, node, what, record, primaries: Vec::new() });
        }
    }

    /// What became of a record. Doubt remains until it is acknowledged.
    pub(super) fn settle(&mut self, record: usize, outcome: Result<u32, Doubt>) {
        if self.states.len() <= record {
            self.states.resize(record + 1, None);
        }
        let before = self.states[record];
        self.states[record] = match outcome {
            Ok(latency_us) => {
                self.acknowledged += u64::from(before != Some(State::Acknowledged));
                self.latencies_us.push(latency_us);
                Some(State::Acknowledged)
            }
            Err(_) if matches!(before, Some(State::Acknowledged | State::InDoubt)) => before,
            Err(Doubt::InDoubt) => Some(State::InDoubt),
            Err(Doubt::NothingWritten) => Some(State::NotWritten),
        };
    }

    /// Records that were tried.
    pub(super) fn tried(&self) -> Vec<(usize, State)> {
        self.states.iter().enumerate().filter_map(|(record, state)| Some((record, (*state)?))).collect()
    }

    /// How many records are in this state.
    pub(super) fn count(&self, state: State) -> u64 {
        self.states.iter().filter(|found| **found == Some(state)).count() as u64
    }

    /// How many requests failed in this way.
    pub(super) fn failures(&self, class: Class) -> u64 {
        self.counts.get(&class).copied().unwrap_or(0)
    }

    /// How many requests failed that were not in flight at a killed node, sent or passed on to it.
    pub(super) fn other_failures(&self) -> u64 {
        self.counts.iter().filter(|(class, _)| !class.excused()).map(|(_, count)| count).sum()
    }

    /// From a kill to the last failure after it that is not excused, in milliseconds.
    pub(super) fn window_ms(&self) -> u64 {
        self.window_ms
    }

    /// The first failures of a class.
    pub(super) fn told(&self) -> &[Failure] {
        &self.told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubt_remains_until_the_record_is_acknowledged() {
        let mut book = Book::default();
        book.settle(1, Err(Doubt::NothingWritten));
        assert_eq!(book.tried(), [(1, State::NotWritten)]);
        book.settle(1, Err(Doubt::InDoubt));
        book.settle(1, Err(Doubt::NothingWritten));
        assert_eq!((book.tried(), book.count(State::InDoubt)), (vec![(1, State::InDoubt)], 1));
        book.settle(1, Ok(5));
        book.settle(1, Err(Doubt::InDoubt));
        book.settle(1, Ok(5));
        assert_eq!((book.tried(), book.acknowledged), (vec![(1, State::Acknowledged)], 1));
    }

    #[test]
    fn failures_are_timed_from_the_last_kill_and_those_at_killed_nodes_apart() {
        let mut book = Book::default();
        let fail = |book: &mut Book, class, at_ms| book.failed(class, at_ms, "n".into(), String::new(), 0);
        book.killed(1_000);
        fail(&mut book, Class::AtKilled, 9_000);
        fail(&mut book, Class::PassedToKilled, 9_000);
        assert_eq!((book.other_failures(), book.window_ms()), (0, 0));
        fail(&mut book, Class::Unknown, 1_700);
        book.killed(5_000);
        fail(&mut book, Class::NotWritten, 5_100);
        assert_eq!((book.other_failures(), book.window_ms()), (2, 700));
        assert_eq!((book.failures(Class::AtKilled), book.failures(Class::Rejected)), (1, 0));
        assert_eq!(book.told().last().and_then(|failure| failure.after_kill_ms), Some(100));
    }

    #[test]
    fn a_failure_before_any_kill_has_no_excuse() {
        let mut book = Book::default();
        book.failed(Class::Unknown, 30_000, "n".into(), String::new(), 0);
        assert_eq!(book.window_ms(), 30_000);
    }
}
