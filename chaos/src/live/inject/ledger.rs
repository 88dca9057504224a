//! What each key must hold, by the answers that its writer was given.

use std::collections::BTreeMap;

/// What a key holds: a value, or nothing.
pub(super) type State = Option<Vec<u8>>;

/// One key's end, as its only writer knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Entry {
    /// What the last answered write left.
    answered: State,
    /// What a later write leaves that was never answered.
    open: Option<State>,
}

/// All keys written to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ledger {
    entries: BTreeMap<String, Entry>,
    /// Writes answered.
    pub(super) answered: u64,
}

impl Ledger {
    /// A write is about to be sent.
    pub(super) fn begin(&mut self, key: &str, state: State) {
        self.entries.entry(key.to_owned()).or_default().open = Some(state);
    }

    /// It was answered: done.
    pub(super) fn done(&mut self, key: &str) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        if let Some(state) = entry.open.take() {
            entry.answered = state;
            self.answered += 1;
        }
    }

    /// It was answered: nothing was written.
    pub(super) fn refused(&mut self, key: &str) {
        self.entries.entry(key.to_owned()).or_default().open = None;
    }

    /// The keys.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Keys with a value that was answered for.
    pub(super) fn held(&self) -> Vec<String> {
        let held = self.entries.iter().filter(|(_, entry)| entry.answered.is_some() && entry.open.is_none());
        held.map(|(key, _)| key.clone()).collect()
    }

    /// Says what is wrong if a key holds this.
    pub(super) fn judge(&self, key: &str, found: &State) -> Result<(), String> {
        let entry = self.entries.get(key).cloned().unwrap_or_default();
        if *found == entry.answered || entry.open.as_ref() == Some(found) {
            return Ok(());
        }
        let told = |state: &State| match state {
            None => "nothing".to_owned(),
            Some(value) => String::from_utf8_lossy(value.get(..32).unwrap_or(value)).into_owned(),
        };
        let open = entry.open.as_ref().map_or(String::new(), |state| format!(", or {}", told(state)));
        Err(format!("{key} holds {:?}; it should hold {:?}{open}", told(found), told(&entry.answered)))
    }

    /// The entries of another writer, who has keys of its own.
    pub(super) fn merge(&mut self, other: Ledger) {
        self.entries.extend(other.entries);
        self.answered += other.answered;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> State {
        Some(text.as_bytes().to_vec())
    }

    #[test]
    fn an_answered_write_must_be_there_and_an_open_one_may() {
        let mut ledger = Ledger::default();
        ledger.begin("k", value("1"));
        assert!(ledger.judge("k", &None).is_ok() && ledger.judge("k", &value("1")).is_ok());
        ledger.done("k");
        assert!(ledger.judge("k", &None).is_err(), "a lost write went unnoticed");
        ledger.begin("k", value("2"));
        assert!(ledger.judge("k", &value("1")).is_ok() && ledger.judge("k", &value("2")).is_ok());
        ledger.refused("k");
        assert!(ledger.judge("k", &value("2")).is_err(), "a refused write went unnoticed");
    }

    #[test]
    fn what_was_deleted_must_not_be_back() {
        let mut ledger = Ledger::default();
        ledger.begin("k", value("1"));
        ledger.done("k");
        ledger.begin("k", None);
        ledger.done("k");
        assert!(ledger.judge("k", &None).is_ok());
        assert!(ledger.judge("k", &value("1")).is_err(), "a deleted value went unnoticed");
        assert_eq!((ledger.held(), ledger.answered), (vec![], 2));
    }
}
