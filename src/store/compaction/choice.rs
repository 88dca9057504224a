//! Which segments are worth compacting together.

use super::estimate::{Encrypted, Estimate};
use std::collections::BTreeSet;

/// So many small segments are made one although nothing in them is superseded: every opening reads the key
/// file of each. Fewer are not worth the copying, which each of them pays again and again.
const WORTH_JOINING: usize = 8;

/// A segment below this share of a usual one is small.
const SMALL_SHARE: f64 = 0.5;

/// Most segments compacted at once: bounds the key files and segments open at a time.
const MAX_INPUTS: usize = 16;

/// Most bytes compacted at once, whatever they are thought to hold: offsets in the output are 32 bits.
const MAX_INPUT_BYTES: f64 = (1u64 << 31) as f64;

/// The inputs of the next compaction; none if nothing is worth it. Condemned ones come first, then those that are not
/// encrypted as new ones are or hold less than `lowest_share` of current records, those that hold least before
/// others; small ones fill up the output, whose size should be a usual segment's.
pub(super) fn choose(
    estimates: &[Estimate],
    condemned: &BTreeSet<u32>,
    lowest_share: f64,
    segment_bytes: f64,
) -> BTreeSet<u32> {
    let worth = |estimate: &Estimate| if condemned.contains(&estimate.segment) { -1.0 } else { estimate.live_share() };
    let (mut sparse, others): (Vec<&Estimate>, Vec<&Estimate>) = estimates
        .iter()
        .partition(|estimate| worth(estimate) < lowest_share || estimate.encrypted == Encrypted::Otherwise);
    sparse.sort_by(|a, b| worth(a).total_cmp(&worth(b)).then(a.segment.cmp(&b.segment)));
    let mut small: Vec<&Estimate> =
        others.into_iter().filter(|estimate| estimate.file_bytes < segment_bytes * SMALL_SHARE).collect();
    small.sort_by(|a, b| a.file_bytes.total_cmp(&b.file_bytes).then(a.segment.cmp(&b.segment)));
    if sparse.is_empty() && small.len() < WORTH_JOINING {
        return BTreeSet::new();
    }
    let (mut chosen, mut live, mut bytes) = (BTreeSet::new(), 0.0, 0.0);
    for estimate in sparse.into_iter().chain(small) {
        live += estimate.live_bytes;
        bytes += estimate.file_bytes;
        if !chosen.is_empty() && (live > segment_bytes || bytes > MAX_INPUT_BYTES || chosen.len() >= MAX_INPUTS) {
            break;
        }
        chosen.insert(estimate.segment);
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn estimate(segment: u32, live_bytes: f64, file_bytes: f64) -> Estimate {
        Estimate { segment, live_bytes, file_bytes, encrypted: Encrypted::AsNewOnes }
    }

    fn chosen(estimates: &[Estimate]) -> Vec<u32> {
        choose(estimates, &BTreeSet::new(), 0.7, 100.0).into_iter().collect()
    }

    #[test]
    fn a_condemned_segment_comes_first_whatever_it_holds() {
        let estimates = [estimate(1, 10.0, 100.0), estimate(2, 95.0, 100.0), estimate(3, 90.0, 100.0)];
        let chosen = choose(&estimates, &BTreeSet::from([2]), 0.7, 100.0);
        assert_eq!(chosen.into_iter().collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn nothing_is_chosen_from_a_log_that_is_worth_keeping() {
        assert!(chosen(&[]).is_empty());
        assert!(chosen(&[estimate(1, 70.0, 100.0), estimate(2, 10.0, 10.0)]).is_empty());
    }

    #[test]
    fn the_emptiest_come_first_and_fill_one_segment() {
        let estimates = [estimate(1, 60.0, 100.0), estimate(2, 30.0, 100.0), estimate(3, 90.0, 100.0)];
        assert_eq!(chosen(&estimates), [1, 2]);
        let estimates = [estimate(1, 60.0, 100.0), estimate(2, 30.0, 100.0), estimate(3, 50.0, 100.0)];
        assert_eq!(chosen(&estimates), [2, 3]);
    }

    #[test]
    fn a_segment_that_is_not_encrypted_as_new_ones_are_is_worth_it_however_full() {
        let estimates =
            [estimate(1, 100.0, 100.0), Estimate { encrypted: Encrypted::Otherwise, ..estimate(2, 100.0, 100.0) }];
        assert_eq!(chosen(&estimates), [2]);
    }

    #[test]
    fn a_segment_longer_than_the_others_is_chosen_alone() {
        assert_eq!(chosen(&[estimate(1, 300.0, 1000.0)]), [1]);
    }

    #[test]
    fn small_segments_are_joined_once_there_are_several_or_on_the_way() {
        let small: Vec<Estimate> = (1..9).map(|segment| estimate(segment, 5.0, 5.0)).collect();
        assert!(chosen(&small[..7]).is_empty());
        assert_eq!(chosen(&small).len(), 8);
        let mut mixed = small[..3].to_vec();
        mixed.push(estimate(9, 0.0, 100.0));
        assert_eq!(chosen(&mixed), [1, 2, 3, 9]);
    }
}
