//! fjall, with its defaults but for compression, which no engine here uses.

use crate::data::{Key, Values, key_of};
use crate::engine::{Committer, Durable, Engine};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use std::path::Path;

/// The driver's end.
pub struct Fjall {
    database: Database,
    keys: Keyspace,
}

/// The committing end.
pub struct FjallCommitter {
    database: Database,
    keys: Keyspace,
    durable: Durable,
}

impl Engine for Fjall {
    type Committer = FjallCommitter;

    fn open(directory: &Path, durable: Durable, _values: &Values) -> (Self, FjallCommitter) {
        let database = Database::builder(directory).open().expect("the database opens");
        let keys = database.keyspace("keys", KeyspaceCreateOptions::default).expect("the keyspace opens");
        (Fjall { database: database.clone(), keys: keys.clone() }, FjallCommitter { database, keys, durable })
    }

    fn prepare(&mut self, number: u64, values: &Values) -> (Key, Vec<u8>) {
        (key_of(number), values.of(number))
    }

    fn publish(&mut self, (): ()) {}

    fn reader<'a>(&'a self, values: &'a Values) -> impl FnMut(u64) -> bool + 'a {
        move |number| {
            let value = self.keys.get(key_of(number)).expect("the key is looked up");
            value.is_some_and(|value| values.fits(number, &value))
        }
    }

    fn put_shared(&self, number: u64, values: &Values) -> bool {
        self.keys.insert(key_of(number), values.of(number)).expect("the key is put");
        self.database.persist(PersistMode::SyncData).expect("the journal is synced");
        true
    }
}

impl Committer for FjallCommitter {
    type Put = (Key, Vec<u8>);
    type Done = ();

    fn commit(&mut self, batch: Vec<(Key, Vec<u8>)>) -> Vec<()> {
        let mode = (self.durable == Durable::EachCommit).then_some(PersistMode::SyncData);
        let mut writes = self.database.batch().durability(mode);
        let count = batch.len();
        batch.into_iter().for_each(|(key, value)| writes.insert(&self.keys, key, value));
        writes.commit().expect("the batch is committed");
        vec![(); count]
    }

    fn close(self) {
        self.database.persist(PersistMode::SyncAll).expect("the journal is synced");
    }
}
