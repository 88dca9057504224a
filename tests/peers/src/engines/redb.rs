//! redb: a B-tree, one transaction for each batch. Its cache is cut from 1 GiB to what the others have.

use crate::data::{Key, Values, key_of};
use crate::engine::{Committer, Durable, Engine};
use redb::{Database, Durability, ReadableDatabase, TableDefinition};
use std::path::Path;
use std::sync::Arc;

const TABLE: TableDefinition<'static, &'static [u8], &'static [u8]> = TableDefinition::new("keys");

/// What fjall keeps in memory by default, and RocksDB about the same.
const CACHE_BYTES: usize = 32 << 20;

/// The driver's end.
pub struct Redb {
    database: Arc<Database>,
}

/// The committing end.
pub struct RedbCommitter {
    database: Arc<Database>,
    durable: Durable,
}

impl RedbCommitter {
    fn write(&self, batch: &[(Key, Vec<u8>)], durability: Durability) {
        let mut transaction = self.database.begin_write().expect("a transaction begins");
        transaction.set_durability(durability).expect("the durability is possible");
        {
            let mut table = transaction.open_table(TABLE).expect("the table opens");
            for (key, value) in batch {
                table.insert(key.as_slice(), value.as_slice()).expect("the key is put");
            }
        }
        transaction.commit().expect("the batch is committed");
    }
}

impl Engine for Redb {
    type Committer = RedbCommitter;

    fn open(directory: &Path, durable: Durable, _values: &Values) -> (Self, RedbCommitter) {
        let database = Database::builder().set_cache_size(CACHE_BYTES).create(directory.join("redb"));
        let database = Arc::new(database.expect("the database opens"));
        let committer = RedbCommitter { database: Arc::clone(&database), durable };
        committer.write(&[], Durability::Immediate);
        (Redb { database }, committer)
    }

    fn prepare(&mut self, number: u64, values: &Values) -> (Key, Vec<u8>) {
        (key_of(number), values.of(number))
    }

    fn publish(&mut self, (): ()) {}

    fn reader<'a>(&'a self, values: &'a Values) -> impl FnMut(u64) -> bool + 'a {
        let transaction = self.database.begin_read().expect("a transaction begins");
        let table = transaction.open_table(TABLE).expect("the table opens");
        move |number| {
            let value = table.get(key_of(number).as_slice()).expect("the key is looked up");
            value.is_some_and(|value| values.fits(number, value.value()))
        }
    }
}

impl Committer for RedbCommitter {
    type Put = (Key, Vec<u8>);
    type Done = ();

    fn commit(&mut self, batch: Vec<(Key, Vec<u8>)>) -> Vec<()> {
        let durability = if self.durable == Durable::EachCommit { Durability::Immediate } else { Durability::None };
        self.write(&batch, durability);
        vec![(); batch.len()]
    }

    fn close(self) {
        self.write(&[], Durability::Immediate);
    }
}
