//! RocksDB: filters on, compression off, otherwise its defaults.

use crate::data::{Key, Values, key_of};
use crate::engine::{Committer, Durable, Engine};
use rocksdb::{BlockBasedOptions, DB, DBCompressionType, Options, WriteBatch, WriteOptions};
use std::path::Path;
use std::sync::Arc;

/// Bits per key: one absent key in a hundred passes.
const FILTER_BITS: f64 = 10.0;

/// The driver's end.
pub struct Rocks {
    database: Arc<DB>,
}

/// The committing end.
pub struct RocksCommitter {
    database: Arc<DB>,
    durable: Durable,
}

impl Engine for Rocks {
    type Committer = RocksCommitter;

    fn open(directory: &Path, durable: Durable, _values: &Values) -> (Self, RocksCommitter) {
        let mut blocks = BlockBasedOptions::default();
        blocks.set_bloom_filter(FILTER_BITS, false);
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_compression_type(DBCompressionType::None);
        options.set_max_background_jobs(2);
        options.set_block_based_table_factory(&blocks);
        let database = Arc::new(DB::open(&options, directory).expect("the database opens"));
        (Rocks { database: Arc::clone(&database) }, RocksCommitter { database, durable })
    }

    fn prepare(&mut self, number: u64, values: &Values) -> (Key, Vec<u8>) {
        (key_of(number), values.of(number))
    }

    fn publish(&mut self, (): ()) {}

    fn reader<'a>(&'a self, values: &'a Values) -> impl FnMut(u64) -> bool + 'a {
        move |number| {
            let value = self.database.get_pinned(key_of(number)).expect("the key is looked up");
            value.is_some_and(|value| values.fits(number, &value))
        }
    }

    fn put_shared(&self, number: u64, values: &Values) -> bool {
        self.database.put_opt(key_of(number), values.of(number), &synced()).expect("the key is put");
        true
    }
}

fn synced() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.set_sync(true);
    options
}

impl Committer for RocksCommitter {
    type Put = (Key, Vec<u8>);
    type Done = ();

    fn commit(&mut self, batch: Vec<(Key, Vec<u8>)>) -> Vec<()> {
        let mut writes = WriteBatch::default();
        batch.iter().for_each(|(key, value)| writes.put(key, value));
        let options = if self.durable == Durable::EachCommit { synced() } else { WriteOptions::default() };
        self.database.write_opt(writes, &options).expect("the batch is committed");
        vec![(); batch.len()]
    }

    fn close(self) {
        self.database.write_opt(WriteBatch::default(), &synced()).expect("the log is synced");
    }
}
