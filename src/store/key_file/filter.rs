//! Which keys a file certainly does not hold, told by one read of 64 bytes: a blocked Bloom filter.

use super::layout::Seat;
use crate::store::cipher::Seal;
use crate::store::frame::u32_at;
use xxhash_rust::xxh3::xxh3_64;

/// One line: its bits and their checksum. Lines are read and verified one by one.
pub(super) const LINE_BYTES: usize = 64;

const BIT_BYTES: usize = 60;
const BITS: u64 = BIT_BYTES as u64 * 8;

/// With six bits set for a key, about one absent key in a hundred is taken for present.
const BITS_PER_KEY: u64 = 10;
const BITS_SET: u32 = 6;

/// Bits of the mixed hash that choose one bit of a line.
const CHOICE_BITS: u32 = 10;

/// A filter while its file is written.
pub(super) struct Filter {
    lines: Vec<[u8; BIT_BYTES]>,
}

impl Filter {
    /// An empty filter for so many different keys.
    pub(super) fn for_keys(keys: u64) -> Filter {
        let lines = (keys * BITS_PER_KEY).div_ceil(BITS);
        Filter { lines: vec![[0; BIT_BYTES]; lines as usize] }
    }

    /// Adds the key of this hash.
    pub(super) fn insert(&mut self, hash: u64) {
        let number = line_of(hash, self.lines.len() as u64);
        if let Some(line) = self.lines.get_mut(number as usize) {
            bits_of(hash).for_each(|(byte, mask)| line.get_mut(byte).into_iter().for_each(|byte| *byte |= mask));
        }
    }

    /// The lines as they are written, the first at `seat`.
    pub(super) fn into_lines(self, seat: Seat) -> impl Iterator<Item = [u8; LINE_BYTES]> {
        self.lines.into_iter().zip(0..).map(move |(bits, number)| {
            let sum = seat_of(seat, number).checksum(&bits);
            let mut line = [0; LINE_BYTES];
            let (body, end) = line.split_at_mut(BIT_BYTES);
            body.copy_from_slice(&bits);
            end.copy_from_slice(&sum.to_le_bytes());
            line
        })
    }
}

/// The hash by which a filter knows a key. With a data key it is a keyed one: the other would tell whoever has the
/// file which of the keys he can think of are there.
pub(super) fn key_hash(seal: &Seal, key: &[u8]) -> u64 {
    seal.key.as_ref().map_or_else(|| xxh3_64(key), |data_key| data_key.filter_hash(key))
}

/// Which of so many lines speaks of the key of this hash. By the low bits: the high ones choose the
/// partition, and a node has few of those.
pub(super) fn line_of(hash: u64, lines: u64) -> u64 {
    ((hash & u64::from(u32::MAX)) * lines.min(u64::from(u32::MAX))) >> 32
}

/// Where a line lies in a filter that begins at `seat`.
pub(super) fn seat_of(seat: Seat, number: u64) -> Seat {
    Seat { offset: seat.offset + number * LINE_BYTES as u64, ..seat }
}

/// Does the line at `seat` allow the key of this hash? None if it is damaged.
pub(super) fn line_allows(seat: Seat, line: &[u8], hash: u64) -> Option<bool> {
    let bits = line.get(..BIT_BYTES)?;
    if u32_at(line, BIT_BYTES)? != seat.checksum(bits) {
        return None;
    }
    Some(bits_of(hash).all(|(byte, mask)| bits.get(byte).is_some_and(|bits| bits & mask != 0)))
}

/// The bits of a key in its line, as byte and mask.
fn bits_of(hash: u64) -> impl Iterator<Item = (usize, u8)> {
    let mixed = mix(hash);
    (0..BITS_SET).map(move |choice| {
        let chosen = mixed >> (choice * CHOICE_BITS) & ((1 << CHOICE_BITS) - 1);
        let bit = (chosen * BITS) >> CHOICE_BITS;
        ((bit / 8) as usize, 1 << (bit % 8))
    })
}

/// The finalizer of splitmix64: every bit of the hash moves every bit of the choice.
fn mix(hash: u64) -> u64 {
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Random;

    const SEAT: Seat = Seat { segment: 1, generation: 2, offset: 4096 };

    fn allows(lines: &[[u8; LINE_BYTES]], hash: u64) -> bool {
        let number = line_of(hash, lines.len() as u64);
        line_allows(seat_of(SEAT, number), &lines[number as usize], hash).unwrap()
    }

    fn false_positives_in_ten_thousand(keys: u64, hash: impl Fn(&mut Random) -> u64) -> usize {
        let mut random = Random::from_seed(keys);
        let held: Vec<u64> = (0..keys).map(|_| hash(&mut random)).collect();
        let mut filter = Filter::for_keys(keys);
        held.iter().for_each(|hash| filter.insert(*hash));
        let lines: Vec<_> = filter.into_lines(SEAT).collect();
        assert!(held.iter().all(|hash| allows(&lines, *hash)));
        (0..10_000).filter(|_| allows(&lines, hash(&mut random))).count()
    }

    #[test]
    fn no_key_that_is_there_is_denied_and_few_that_are_not_are_allowed() {
        for keys in [100, 5_000, 100_000] {
            let wrong = false_positives_in_ten_thousand(keys, Random::u64);
            assert!(wrong <= 200, "{keys} keys: {wrong} in 10,000");
        }
    }

    #[test]
    fn keys_of_a_single_partition_are_told_apart_as_well() {
        let wrong = false_positives_in_ten_thousand(20_000, |random| random.u64() >> 16 | 77 << 48);
        assert!(wrong <= 200, "{wrong} in 10,000");
    }

    #[test]
    fn a_damaged_or_displaced_line_says_nothing() {
        let mut filter = Filter::for_keys(3);
        filter.insert(5);
        let line = filter.into_lines(SEAT).next().unwrap();
        assert_eq!(line_allows(SEAT, &line, 5), Some(true));
        assert_eq!(line_allows(seat_of(SEAT, 1), &line, 5), None);
        for bit in 0..LINE_BYTES * 8 {
            let mut flipped = line;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(line_allows(SEAT, &flipped, 5), None, "bit {bit}");
        }
    }
}
