//! Which records hold a partition's keys: in memory, without key bytes.

use super::Place;
use super::slot::{KEPT_BITS, Slot};

/// Fullest a table gets, in percent: beyond it runs of full slots grow long.
const MAX_LOAD_PERCENT: usize = 85;

/// Emptiest a table stays, in percent: 12 / 0.55 = 21.8 bytes per key. Far enough from where growth and
/// shrinking lead (68 and 70) that a fifth of the keys must come or go between two rebuilds.
const MIN_LOAD_PERCENT: usize = 55;

/// Load after shrinking, in percent.
const SHRUNK_LOAD_PERCENT: usize = 70;

/// Homes of the smallest table.
const MIN_HOMES: usize = 8;

/// Slots behind the last home, at first and whenever they run out. At the highest load one table in
/// two hundred needs more.
const TAIL_SLOTS: usize = 16;

/// One slot per key: bits of the key's hash and the place of its newest record.
///
/// **Hashes are cut.** All keys of a partition share their hash's top bits. The index learns these from
/// the keys themselves, as their common *prefix*, and a slot keeps the [`KEPT_BITS`] behind it. Hence:
///
/// - [`Index::candidates`] may name places of other keys, and a reader compares the key it finds. A key
///   without candidates is absent.
/// - [`Index::holds`] and [`Index::remove`] are exact, for a place belongs to one key.
/// - A listing shows cut hashes: the bits not kept are zero, so a key's hash is never below the one
///   shown, and keys that cannot be told apart are neighbours under the same one. [`Index::from`] begins
///   with the whole group that `from` falls into. So a page that ends before a group, and names the
///   group's hash as the next page's beginning, misses no key below that hash and none from it on, even
///   if the prefix becomes shorter in between; but a slot at either end may hold a key outside the page.
/// - A cut hash stays good for `holds`: until the index is empty, a prefix only becomes shorter.
///
/// **Ordered linear probing.** A slot's home is its hash scaled to the table; it lies there or behind,
/// with no empty slot between, and all slots ascend by (hash, place). Tables are 55 to 85 % full and
/// grow by a quarter: 14.1 to 21.8 bytes per key. Worst case: a rebuild moves every slot of the
/// partition; keys whose hashes crowd together form one run, which a search passes slot by slot.
#[derive(Debug, Clone, Default)]
pub struct Index {
    /// The homes, then the tail.
    slots: Vec<Slot>,
    homes: usize,
    len: usize,
    /// Lengths of all places, as slots keep them.
    bytes: u64,
    prefix: Prefix,
}

/// The bits that all hashes seen since the index was last empty have in common at the top.
#[derive(Debug, Clone, Copy, Default)]
struct Prefix {
    /// The bits, the rest zero.
    base: u64,
    /// How many, at most [`MAX_PREFIX_BITS`].
    bits: u32,
}

/// The bits behind the prefix must not be fewer than a slot keeps.
const MAX_PREFIX_BITS: u32 = u64::BITS - KEPT_BITS;

impl Index {
    /// How many keys.
    pub fn len(&self) -> usize {
        self.len
    }

    /// No key at all.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How long the records are that it names, together; each length rounded up.
    pub fn record_bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes this index takes in memory, itself included.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.slots.capacity() * size_of::<Slot>()
    }

    /// Places that may hold a key of this hash, ascending: none means the key is absent, with no read.
    /// Their lengths are rounded up.
    pub fn candidates(&self, hash: u64) -> impl Iterator<Item = Place> + '_ {
        let kept = self.prefix.kept(hash).filter(|_| self.len > 0);
        let start = kept.map_or(self.slots.len(), |kept| self.search(Slot::before_all_of(kept)));
        let group = self.slots_from(start).take_while(move |slot| !slot.is_empty() && Some(slot.kept()) == kept);
        group.map(Slot::place)
    }

    /// Is this place still a key's newest record? `hash` is the key's, whole or as a listing shows it.
    pub fn holds(&self, hash: u64, place: Place) -> bool {
        self.find(hash, place).is_some()
    }

    /// Adds a slot. The place must not be in the index.
    pub fn insert(&mut self, hash: u64, place: Place) {
        let mut prefix = self.prefix;
        if self.is_empty() {
            prefix = Prefix::of(hash);
        }
        prefix.widen(hash);
        if prefix.bits != self.prefix.bits || self.is_full() {
            let homes = if self.is_full() { grown(self.homes) } else { self.homes };
            self.rebuild(homes, prefix);
        }
        let kept = self.prefix.kept(hash).expect("the prefix was widened to hold this hash");
        let slot = Slot::new(kept, place);
        self.put(slot);
        (self.len, self.bytes) = (self.len + 1, self.bytes + u64::from(slot.place().length));
    }

    /// Takes a slot away, if it is there.
    pub fn remove(&mut self, hash: u64, place: Place) {
        let Some(at) = self.find(hash, place) else { return };
        self.take(at);
        let length = self.prefix.kept(hash).map_or(0, |kept| Slot::new(kept, place).place().length);
        (self.len, self.bytes) = (self.len - 1, self.bytes - u64::from(length));
        if self.len == 0 {
            *self = Self::default();
        } else if self.homes > MIN_HOMES && self.len * 100 < self.homes * MIN_LOAD_PERCENT {
            self.rebuild((self.len * 100 / SHRUNK_LOAD_PERCENT).max(MIN_HOMES), self.prefix);
        }
    }

    /// Slots whose key's hash may be at least `from`, ascending by hash and place. Hashes are cut and
    /// lengths rounded up, as the type says.
    pub fn from(&self, from: u64) -> impl Iterator<Item = (u64, Place)> + '_ {
        let start = match self.prefix.kept(from) {
            Some(kept) if self.len > 0 => self.search(Slot::before_all_of(kept)),
            None if from > self.prefix.base => self.slots.len(),
            _ => 0,
        };
        let full = self.slots_from(start).filter(|slot| !slot.is_empty());
        full.map(|slot| (self.prefix.hash(slot.kept()), slot.place()))
    }

    fn slots_from(&self, start: usize) -> impl Iterator<Item = Slot> + '_ {
        self.slots.get(start..).unwrap_or_default().iter().copied()
    }

    fn find(&self, hash: u64, place: Place) -> Option<usize> {
        let slot = Slot::new(self.prefix.kept(hash)?, place);
        let at = self.search(slot);
        (self.slots.get(at) == Some(&slot)).then_some(at)
    }

    /// Where `slot` lies, or would have to: the first slot from its home on that is empty or not before it.
    fn search(&self, slot: Slot) -> usize {
        let home = self.home(slot);
        let before = self.slots_from(home).take_while(|other| !other.is_empty() && *other < slot).count();
        home + before
    }

    fn home(&self, slot: Slot) -> usize {
        ((slot.kept() as u64 * self.homes as u64) >> KEPT_BITS) as usize
    }

    /// Puts a slot in its place; those behind it move up to the next empty one.
    fn put(&mut self, slot: Slot) {
        let at = self.search(slot);
        let run = self.slots_from(at).take_while(|other| !other.is_empty()).count();
        if at + run >= self.slots.len() {
            self.lengthen(at + run + 1);
        }
        if let Some(run) = self.slots.get_mut(at..=at + run) {
            run.rotate_right(1);
            run.first_mut().into_iter().for_each(|first| *first = slot);
        }
    }

    /// Empties a place; those behind it that are not at home move down.
    fn take(&mut self, at: usize) {
        let rest = self.slots.get(at + 1..).unwrap_or_default().iter().zip(at + 1..);
        let run = rest.take_while(|(slot, at)| !slot.is_empty() && self.home(**slot) < *at).count();
        if let Some(run) = self.slots.get_mut(at..=at + run) {
            run.rotate_left(1);
            run.last_mut().into_iter().for_each(|last| *last = Slot::EMPTY);
        }
    }

    /// More tail, exactly as much as is said: a doubled table would be what this type is to avoid.
    fn lengthen(&mut self, needed: usize) {
        let length = needed + TAIL_SLOTS;
        self.slots.reserve_exact(length.saturating_sub(self.slots.len()));
        self.slots.resize(length, Slot::EMPTY);
    }

    fn is_full(&self) -> bool {
        (self.len + 1) * 100 > self.homes * MAX_LOAD_PERCENT
    }

    /// Lays all slots out anew, under a prefix that is no longer than the present one.
    fn rebuild(&mut self, homes: usize, prefix: Prefix) {
        let old = std::mem::take(self);
        let kept = |slot: Slot| prefix.kept(old.prefix.hash(slot.kept())).map(|kept| slot.with_kept(kept));
        *self = Index { slots: Vec::new(), homes: homes.max(MIN_HOMES), len: old.len, bytes: old.bytes, prefix };
        self.lengthen(self.homes);
        let slots = old.slots.iter().copied().filter(|slot| !slot.is_empty());
        if prefix.bits == old.prefix.bits {
            return self.fill(slots);
        }
        // Groups that merge have their places in order only within each.
        let mut slots: Vec<Slot> = slots.filter_map(kept).collect();
        slots.sort_unstable();
        self.fill(slots.into_iter());
    }

    /// Fills an empty table with ascending slots.
    fn fill(&mut self, slots: impl Iterator<Item = Slot>) {
        let mut next = 0;
        for slot in slots {
            let at = self.home(slot).max(next);
            if at >= self.slots.len() {
                self.lengthen(at + 1);
            }
            if let Some(place) = self.slots.get_mut(at) {
                *place = slot;
            }
            next = at + 1;
        }
    }
}

impl Prefix {
    /// The longest prefix of one hash.
    fn of(hash: u64) -> Prefix {
        Prefix { base: hash & !(u64::MAX >> MAX_PREFIX_BITS), bits: MAX_PREFIX_BITS }
    }

    /// Shortens the prefix to what it shares with `hash`.
    fn widen(&mut self, hash: u64) {
        self.bits = self.bits.min((self.base ^ hash).leading_zeros());
        self.base &= !(u64::MAX >> self.bits);
    }

    /// The bits of a hash that a slot keeps; none if it is outside the prefix.
    fn kept(self, hash: u64) -> Option<u32> {
        let inside = (self.base ^ hash).leading_zeros() >= self.bits;
        inside.then_some((hash << self.bits >> (u64::BITS - KEPT_BITS)) as u32)
    }

    /// The lowest hash of these kept bits.
    fn hash(self, kept: u32) -> u64 {
        self.base | u64::from(kept) << (u64::BITS - KEPT_BITS - self.bits)
    }
}

/// Equal if they show the same: tables of other sizes are equal, prefixes of other lengths are not.
impl PartialEq for Index {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.from(0).eq(other.from(0))
    }
}

impl Eq for Index {}

/// The next size of a table.
fn grown(homes: usize) -> usize {
    (homes + homes / 4).max(MIN_HOMES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Random;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::time::Instant;

    /// The place with this number; every number has its own.
    fn place(number: u32) -> Place {
        Place { segment: number >> 4, offset: (number & 15) * 8, length: 8 }
    }

    #[test]
    fn keys_that_share_a_hash_are_all_candidates() {
        let mut index = Index::default();
        index.insert(5, place(0));
        index.insert(5, place(1));
        index.insert(6 << 40, place(2));
        assert_eq!(index.candidates(5).collect::<Vec<_>>(), [place(0), place(1)]);
        index.remove(5, place(0));
        assert_eq!(index.candidates(5).collect::<Vec<_>>(), [place(1)]);
        assert_eq!(index.from(6 << 40).collect::<Vec<_>>(), [(6 << 40, place(2))]);
    }

    #[test]
    fn a_listing_begins_with_the_whole_group_of_a_hash() {
        let mut index = Index::default();
        // The first and the last share no bit, so 28 bits are kept, and the two in the middle look alike.
        for (hash, number) in [(0, 1), (7 << 36 | 9, 2), (7 << 36 | 5, 3), (1 << 63, 4)] {
            index.insert(hash, place(number));
        }
        let listed = |from| index.from(from).map(|(hash, place)| (hash, place.offset / 8)).collect::<Vec<_>>();
        assert_eq!(listed(0), [(0, 1), (7 << 36, 2), (7 << 36, 3), (1 << 63, 4)]);
        assert_eq!(listed(7 << 36 | 8), [(7 << 36, 2), (7 << 36, 3), (1 << 63, 4)]);
        assert_eq!(listed(8 << 36), [(1 << 63, 4)]);
        assert!(listed(u64::MAX).is_empty());
        assert!(index.holds(7 << 36, place(2)) && index.holds(7 << 36 | 9, place(2)));
        assert!(!index.holds(8 << 36, place(2)));
    }

    #[test]
    fn a_hash_before_the_prefix_lists_all_and_one_behind_it_nothing() {
        let mut index = Index::default();
        index.insert(5 << 60, place(1));
        index.insert((5 << 60) + 1, place(2));
        assert_eq!(index.from(4 << 60).count(), 2);
        assert_eq!(index.from(6 << 60).count(), 0);
        assert_eq!(index.candidates(6 << 60).count(), 0);
        assert_eq!(Index::default().from(0).count(), 0);
        assert_eq!(Index::default().candidates(0).count(), 0);
    }

    #[test]
    fn an_index_of_one_slice_tells_its_keys_apart_by_the_bits_behind_it() {
        let mut index = Index::default();
        let hash = |low: u64| 923 << 54 | low;
        let mut random = Random::from_seed(7);
        for number in 0..1000 {
            index.insert(hash(random.below(1 << 54)), place(number));
        }
        assert_eq!(index.prefix.bits, 10);
        assert!(index.slots.len() <= index.homes + 2 * TAIL_SLOTS, "positions are scaled to the slice");
    }

    #[test]
    fn a_table_gives_back_what_it_does_not_need() {
        let mut index = Index::default();
        let mut random = Random::from_seed(7);
        let keys: Vec<(u64, Place)> = (0..10_000).map(|n| (random.below(u64::MAX), place(n))).collect();
        keys.iter().for_each(|(hash, place)| index.insert(*hash, *place));
        for (left, (hash, place)) in (0..keys.len()).rev().zip(&keys) {
            index.remove(*hash, *place);
            let most = (left * 24).max((MIN_HOMES + 2 * TAIL_SLOTS + 2) * size_of::<Slot>()) + 512;
            assert!(index.memory_bytes() <= most, "{} bytes for {left} keys", index.memory_bytes());
        }
        assert_eq!(index.memory_bytes(), size_of::<Index>());
    }

    /// What every index must be: ascending, and without an empty slot between a home and its slot.
    fn is_well_formed(index: &Index) {
        let full: Vec<Slot> = index.slots.iter().copied().filter(|slot| !slot.is_empty()).collect();
        assert!(full.is_sorted_by(|a, b| a < b));
        assert_eq!(full.len(), index.len);
        assert_eq!(full.iter().map(|slot| u64::from(slot.place().length)).sum::<u64>(), index.bytes);
        for (at, slot) in index.slots.iter().enumerate().filter(|(_, slot)| !slot.is_empty()) {
            let home = index.home(*slot);
            assert!(home <= at && index.slots[home..at].iter().all(|slot| !slot.is_empty()));
        }
    }

    /// Everything a caller can ask, against a plain set of whole hashes.
    fn agrees(index: &Index, model: &BTreeSet<(u64, Place)>, probes: &[u64]) {
        is_well_formed(index);
        assert_eq!((index.len(), index.is_empty()), (model.len(), model.is_empty()));
        let cut = |hash: u64| index.prefix.kept(hash).map(|kept| index.prefix.hash(kept));
        let mut all: Vec<(u64, Place)> = model.iter().map(|(hash, place)| (cut(*hash).unwrap(), *place)).collect();
        all.sort_unstable();
        assert_eq!(index.from(0).collect::<Vec<_>>(), all);
        for &probe in probes {
            let like = all.iter().filter(|(hash, _)| Some(*hash) == cut(probe)).map(|(_, place)| *place);
            assert!(index.candidates(probe).eq(like), "candidates of {probe:x}");
            let beyond = index.from(probe).collect::<BTreeSet<_>>();
            for (hash, place) in model {
                let shown = (cut(*hash).unwrap(), *place);
                assert!(*hash < probe || beyond.contains(&shown), "{hash:x} is missing from {probe:x} on");
                assert!(index.holds(*hash, *place) && index.holds(shown.0, *place));
            }
            assert!(beyond.iter().all(|(hash, _)| cut(probe).is_some_and(|cut| *hash == cut) || *hash >= probe));
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Insert(u64),
        /// The key with this rank, scaled to the number of keys.
        Remove(u16),
        /// So many keys, from the lowest hash on.
        RemoveMany(u8),
    }

    /// Spread, crowded, equal but for the last bits, equal, and at the ends.
    fn hash() -> impl Strategy<Value = u64> {
        prop_oneof![
            4 => any::<u64>(),
            4 => (0u64..1 << 20).prop_map(|low| 923 << 54 | low << 20),
            4 => (0u64..64).prop_map(|low| 923 << 54 | low),
            2 => (0u64..64).prop_map(|low| !low),
            1 => Just(923 << 54),
            1 => Just(0),
            1 => Just(u64::MAX),
        ]
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            8 => hash().prop_map(Step::Insert),
            3 => any::<u16>().prop_map(Step::Remove),
            1 => (0u8..40).prop_map(Step::RemoveMany),
        ]
    }

    /// Hashes of one slice only, or of any: most partitions never see the second.
    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let sliced = |steps: Vec<Step>| {
            let slice = |step| match step {
                Step::Insert(hash) => Step::Insert(923 << 54 | hash >> 10),
                other => other,
            };
            steps.into_iter().map(slice).collect()
        };
        let any = || proptest::collection::vec(step(), 0..300);
        prop_oneof![any(), any().prop_map(sliced)]
    }

    proptest! {
        #[test]
        fn an_index_answers_as_a_set_of_whole_hashes_would(
            steps in steps(),
            probes in proptest::collection::vec(hash(), 4),
        ) {
            let (mut index, mut model) = (Index::default(), BTreeSet::new());
            for (step, number) in steps.into_iter().zip(1..) {
                let (count, skipped) = match step {
                    Step::Insert(hash) => {
                        index.insert(hash, place(number));
                        model.insert((hash, place(number)));
                        (0, 0)
                    }
                    Step::Remove(rank) => (1, (usize::from(rank) * model.len()) >> 16),
                    Step::RemoveMany(count) => (usize::from(count), 0),
                };
                for (hash, place) in model.iter().copied().skip(skipped).take(count).collect::<Vec<_>>() {
                    index.remove(hash, place);
                    index.remove(hash, place);
                    model.remove(&(hash, place));
                }
                is_well_formed(&index);
            }
            agrees(&index, &model, &probes);
        }

        /// Pages as a source of an exchange makes them, while the index changes between two of them.
        #[test]
        fn pages_have_no_gap_though_the_prefix_becomes_shorter(
            keys in proptest::collection::vec(hash(), 1..60),
            others in proptest::collection::vec(hash(), 0..60),
            page in 1usize..4,
        ) {
            let mut index = Index::default();
            let keys: Vec<(u64, Place)> = keys.into_iter().zip((0..).map(place)).collect();
            keys.iter().for_each(|(hash, place)| index.insert(*hash, *place));
            let mut others = others.into_iter().zip((1000..).map(place));
            let (mut from, mut listed) = (0, BTreeSet::new());
            loop {
                let mut slots: Vec<(u64, Place)> = Vec::new();
                let whole = |slots: &[(u64, Place)], hash| slots.last().is_none_or(|(last, _)| *last != hash);
                let mut next = None;
                for (hash, place) in index.from(from) {
                    if slots.len() >= page && whole(&slots, hash) {
                        next = Some(hash);
                        break;
                    }
                    slots.push((hash, place));
                }
                listed.extend(slots.iter().map(|(_, place)| *place));
                let missing = keys.iter().find(|(hash, place)| {
                    *hash >= from && next.is_none_or(|next| *hash < next) && !slots.iter().any(|slot| slot.1 == *place)
                });
                prop_assert_eq!(missing, None, "from {:x} to {:x?}", from, next);
                let Some(next) = next else { break };
                prop_assert!(next > from);
                from = next;
                others.next().into_iter().for_each(|(hash, place)| index.insert(hash, place));
            }
            prop_assert!(keys.iter().all(|(_, place)| listed.contains(place)));
        }
    }

    #[test]
    fn a_million_keys_cost_less_than_24_bytes_each_wherever_their_tables_are_between_two_growths() {
        let mut tables = vec![Index::default(); 1024];
        let mut random = Random::from_seed(2);
        for count in 1..=1_300_000u32 {
            let hash = random.u64();
            tables[(hash >> 54) as usize].insert(hash, place(count));
            if count >= 1_000_000 && count % 20_000 == 0 {
                let bytes: usize = tables.iter().map(Index::memory_bytes).sum();
                assert!(bytes < 24 * count as usize, "{bytes} bytes for {count} keys");
            }
        }
    }

    /// Prints the figures of docs/decisions/0023-compact-index.md; run it optimised.
    #[test]
    #[ignore = "takes a minute and half a gigabyte; run by hand, optimised"]
    fn bytes_per_key_at_many_sizes() {
        const PARTITIONS: u64 = 1024;
        let mut tables = vec![Index::default(); PARTITIONS as usize];
        let (mut random, mut count) = (Random::from_seed(1), 0u32);
        let mut hashes: Vec<u64> = Vec::new();
        println!("keys/M  bytes/key  insert/ns  hit/ns  miss/ns  rebuild/us");
        for millions in [1.0, 2.5, 5.0, 7.5, 10.0, 12.5, 15.0, 17.5, 20.0] {
            let (begun, first) = (Instant::now(), count);
            while f64::from(count) < millions * 1e6 {
                let hash = random.below(u64::MAX);
                tables[(hash >> 54) as usize].insert(hash, place(count));
                hashes.push(hash);
                count += 1;
            }
            let each = |begun: Instant, count: u32| begun.elapsed().as_nanos() / u128::from(count);
            let insert = each(begun, count - first);
            let begun = Instant::now();
            let found: usize = (0..1_000_000)
                .map(|_| hashes[random.below(u64::from(count)) as usize])
                .map(|hash| tables[(hash >> 54) as usize].candidates(hash).count())
                .sum();
            let hit = each(begun, 1_000_000);
            let begun = Instant::now();
            let misses = (0..1_000_000).map(|_| random.below(u64::MAX));
            let false_candidates: usize =
                misses.map(|hash| tables[(hash >> 54) as usize].candidates(hash).count()).sum();
            let miss = each(begun, 1_000_000);
            assert!(found >= 1_000_000 && false_candidates < 1000, "{found}, {false_candidates}");
            let bytes: usize = tables.iter().map(Index::memory_bytes).sum();
            let bytes_per_key = bytes as f64 / f64::from(count);
            let mut copies = tables[..128].to_vec();
            let begun = Instant::now();
            copies.iter_mut().for_each(|copy| copy.rebuild(grown(copy.homes), copy.prefix));
            let rebuild = begun.elapsed().as_micros() / 128;
            println!("{millions:6.1} {bytes_per_key:10.2} {insert:10} {hit:7} {miss:8} {rebuild:11}");
            assert!(bytes_per_key < 24.0);
        }
    }
}
