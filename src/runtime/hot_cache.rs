//! Hot records in memory, decoded: a hit costs no system call, no checksum and no decoding.
//!
//! A record is kept under its place. What lies at a place never changes, and no segment number is used twice in the
//! life of a process, so that nothing here can be out of date: a record that was superseded, or that compaction has
//! moved, is not asked for at that place any more, and soon goes.

use super::metrics::{Lookup, Metrics};
use crate::store::{Place, Record};
use quick_cache::Weighter;
use quick_cache::unsync::{Cache, DefaultLifecycle};
use std::sync::Arc;
use xxhash_rust::xxh3::Xxh3DefaultBuilder;

/// What a record takes in memory besides the bytes of its frame: structures, counters, the cache's own slots. A
/// generous estimate, measured with values of 100 bytes.
const RECORD_OVERHEAD_BYTES: u64 = 400;

/// Longer records are not kept: one would push out hundreds of others, and to read it again is cheap by the byte.
const MAX_RECORD_BYTES: u32 = 256 << 10;

/// Segment and offset: the length that an index has of a record is rounded.
type Address = (u32, u32);

/// A record, and the bytes of its frame.
type Held = (u32, Arc<Record>);

/// Records by the frequency of their reads, within a number of bytes.
pub(super) struct HotCache {
    /// None: there is to be no cache.
    records: Option<Cache<Address, Held, ByBytes, Xxh3DefaultBuilder>>,
    /// What the metrics have been told of its size: they show the sum of all caches.
    told_bytes: u64,
    metrics: Arc<Metrics>,
}

/// A record weighs what it takes in memory.
struct ByBytes;

impl Weighter<Address, Held> for ByBytes {
    fn weight(&self, _: &Address, (frame_bytes, _): &Held) -> u64 {
        u64::from(*frame_bytes) + RECORD_OVERHEAD_BYTES
    }
}

impl HotCache {
    /// Holds at most so many bytes; nothing with 0.
    pub(super) fn new(bytes: u64, metrics: Arc<Metrics>) -> HotCache {
        let records = (bytes > 0).then(|| {
            let records = usize::try_from(bytes / (2 * RECORD_OVERHEAD_BYTES)).unwrap_or(usize::MAX);
            Cache::with(records, bytes, ByBytes, Xxh3DefaultBuilder::new(), DefaultLifecycle::default())
        });
        HotCache { records, told_bytes: 0, metrics }
    }

    /// The record at a place, if it is here.
    pub(super) fn get(&self, place: Place) -> Option<Arc<Record>> {
        let found = self.records.as_ref()?.get(&(place.segment, place.offset)).map(|(_, record)| Arc::clone(record));
        self.metrics.looked_up_in_cache(if found.is_some() { Lookup::Hit } else { Lookup::Miss });
        found
    }

    /// A record was read: it stays for as long as it is read more often than others.
    pub(super) fn admit(&mut self, place: Place, record: &Arc<Record>) {
        let Some(records) = self.records.as_mut().filter(|_| place.length <= MAX_RECORD_BYTES) else { return };
        records.insert((place.segment, place.offset), (place.length, Arc::clone(record)));
        let before = std::mem::replace(&mut self.told_bytes, records.weight());
        self.metrics.cached(before, self.told_bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::PartitionId;
    use crate::store::Body;

    fn place(number: u32) -> Place {
        Place { segment: 1 + number / 1000, offset: 8 * (number % 1000), length: 200 }
    }

    fn record(number: u32) -> Arc<Record> {
        Arc::new(Record { partition: PartitionId(number), body: Body::Complete })
    }

    #[test]
    fn a_record_is_found_at_its_place_whatever_length_is_asked_for() {
        let mut cache = HotCache::new(1 << 20, Arc::default());
        cache.admit(place(7), &record(7));
        assert_eq!(cache.get(Place { length: 248, ..place(7) }), Some(record(7)));
        assert_eq!((cache.get(place(8)), cache.get(Place { segment: 9, ..place(7) })), (None, None));
    }

    #[test]
    fn a_cache_of_no_bytes_holds_nothing() {
        let mut cache = HotCache::new(0, Arc::default());
        cache.admit(place(7), &record(7));
        assert_eq!(cache.get(place(7)), None);
    }

    #[test]
    fn it_never_holds_more_than_its_bytes_and_no_long_record() {
        const BYTES: u64 = 60_000;
        let mut cache = HotCache::new(BYTES, Arc::default());
        for number in 0..1000 {
            cache.admit(place(number), &record(number));
            assert!(cache.records.as_ref().unwrap().weight() <= BYTES);
        }
        assert!(cache.records.as_ref().unwrap().weight() > BYTES / 2);
        let long = Place { length: MAX_RECORD_BYTES + 8, ..place(1000) };
        cache.admit(long, &record(0));
        assert_eq!(cache.get(long), None);
    }

    #[test]
    fn what_is_read_again_and_again_outlives_what_is_read_once() {
        let mut cache = HotCache::new(60_000, Arc::default());
        let read = |cache: &mut HotCache, number| {
            if cache.get(place(number)).is_none() {
                cache.admit(place(number), &record(number));
            }
        };
        for number in 100..5000 {
            read(&mut cache, number % 20);
            read(&mut cache, number);
        }
        let kept = (0..20).filter(|number| cache.get(place(*number)).is_some()).count();
        assert!(kept >= 18, "{kept} of the 20 hot records are left");
    }
}
