//! A key's place and part of its hash in twelve bytes.

use super::Place;
use super::frame::FRAME_ALIGNMENT;

/// Bits of a hash that a slot keeps. A key that is absent costs a needless read with a probability of
/// (keys of the partition) / 2^28: one in 13,000 at 20,000 keys.
pub(super) const KEPT_BITS: u32 = 28;

const CLASS_BITS: u32 = 7;
const UNITS_BITS: u32 = 29;
const SEGMENT_AT: u32 = CLASS_BITS + UNITS_BITS;
const KEPT_AT: u32 = SEGMENT_AT + u32::BITS;

/// ```text
/// 95          68 67          36 35            7 6            0
/// | hash: 28    | segment: 32  | offset / 8: 29 | length class: 7 |
/// ```
///
/// Ordered as (hash, place). Three words and not one number, so that a slot aligns to four bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slot([u32; 3]);

impl Slot {
    /// No key: no frame is of length class 0.
    pub(super) const EMPTY: Slot = Slot([0; 3]);

    /// The slot of a key whose kept hash bits are `kept`. The place's length is rounded up to its class.
    pub(super) fn new(kept: u32, place: Place) -> Slot {
        debug_assert!(place.offset.is_multiple_of(FRAME_ALIGNMENT as u32), "frames begin at multiples of 8");
        let units = place.offset / FRAME_ALIGNMENT as u32;
        let bits = u128::from(kept) << KEPT_AT
            | u128::from(place.segment) << SEGMENT_AT
            | u128::from(units) << CLASS_BITS
            | u128::from(class_of(place.length));
        Slot([(bits >> 64) as u32, (bits >> 32) as u32, bits as u32])
    }

    /// A bound: before every slot of these hash bits, behind every slot of lower ones.
    pub(super) fn before_all_of(kept: u32) -> Slot {
        Slot([kept << (u32::BITS - KEPT_BITS), 0, 0])
    }

    pub(super) fn is_empty(self) -> bool {
        self == Slot::EMPTY
    }

    /// The kept bits of the key's hash.
    pub(super) fn kept(self) -> u32 {
        let Slot([high, ..]) = self;
        high >> (u32::BITS - KEPT_BITS)
    }

    /// The same place under other hash bits.
    pub(super) fn with_kept(self, kept: u32) -> Slot {
        let Slot([high, middle, low]) = self;
        let others = high & (u32::MAX >> KEPT_BITS);
        Slot([kept << (u32::BITS - KEPT_BITS) | others, middle, low])
    }

    /// Where the record lies; the length is at least the frame's, and at most a quarter more.
    pub(super) fn place(self) -> Place {
        let Slot([high, middle, low]) = self;
        let bits = u128::from(high) << 64 | u128::from(middle) << 32 | u128::from(low);
        let units = (bits >> CLASS_BITS) as u32 & (u32::MAX >> (u32::BITS - UNITS_BITS));
        Place {
            segment: (bits >> SEGMENT_AT) as u32,
            offset: units * FRAME_ALIGNMENT as u32,
            length: longest_of(low & (u32::MAX >> (u32::BITS - CLASS_BITS))),
        }
    }
}

/// The class of a frame's length: 1, 2, 3 units of eight bytes, then four classes to every doubling.
fn class_of(length: u32) -> u32 {
    let units = length.div_ceil(FRAME_ALIGNMENT as u32).max(1);
    if units < 4 {
        return units;
    }
    let doublings = units.ilog2() - 2;
    4 * doublings + units.div_ceil(1 << doublings)
}

/// The longest length of a class.
fn longest_of(class: u32) -> u32 {
    let units = if class < 4 { class } else { (4 + class % 4) << (class / 4 - 1) };
    units.saturating_mul(FRAME_ALIGNMENT as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::frame::MAX_FRAME_BYTES;
    use proptest::prelude::*;

    #[test]
    fn a_slot_is_twelve_bytes() {
        assert_eq!(size_of::<Slot>(), 12);
    }

    #[test]
    fn the_ends_of_every_field_come_back() {
        for kept in [0, 1, (1 << KEPT_BITS) - 1] {
            for segment in [0, 1, u32::MAX] {
                for offset in [0, 8, u32::MAX - 7] {
                    let place = Place { segment, offset, length: 8 };
                    let slot = Slot::new(kept, place);
                    assert_eq!((slot.kept(), slot.place(), slot.is_empty()), (kept, place, false));
                    assert!(slot > Slot::before_all_of(kept));
                    assert_eq!(slot.with_kept(7), Slot::new(7, place));
                }
            }
        }
    }

    #[test]
    fn the_longest_frame_is_not_rounded_beyond_itself() {
        assert_eq!(longest_of(class_of(MAX_FRAME_BYTES as u32)), MAX_FRAME_BYTES as u32);
        assert!(class_of(u32::MAX) < 1 << CLASS_BITS);
        assert_eq!(longest_of(class_of(u32::MAX)), u32::MAX);
    }

    proptest! {
        #[test]
        fn a_length_is_rounded_up_by_a_quarter_at_most_and_once(length in 1u32..=MAX_FRAME_BYTES as u32) {
            let longest = longest_of(class_of(length));
            let exact = length.next_multiple_of(8);
            prop_assert!(longest >= exact && longest <= exact + exact / 4, "{length} became {longest}");
            prop_assert_eq!(longest_of(class_of(longest)), longest);
        }

        #[test]
        fn slots_are_ordered_as_hash_and_place(
            a in (0u32..4, 0u32..3, 0u32..3), b in (0u32..4, 0u32..3, 0u32..3)
        ) {
            let slot = |(kept, segment, units): (u32, u32, u32)| {
                Slot::new(kept, Place { segment, offset: units * 8, length: 8 })
            };
            prop_assert_eq!(slot(a).cmp(&slot(b)), a.cmp(&b));
        }
    }
}
