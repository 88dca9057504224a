//! A slice of the flips of `chaos flips`.

use chaos::crash::{Coverage, Leaving, Secrecy, flip};

/// A second's worth of an unoptimised build.
const SLICE: Coverage = Coverage { every: 9, all_bits_every: 16 };

#[test]
fn a_flipped_byte_costs_at_most_the_record_that_it_is_in() {
    let stores = Secrecy::ALL.map(|secrecy| [(Leaving::Crash, secrecy), (Leaving::Close, secrecy)]);
    for (seed, (leaving, secrecy)) in (1..).zip(stores.concat()) {
        let (flips, broken) = flip(seed, leaving, secrecy, SLICE);
        assert_eq!(broken, None, "\n{flips}");
        for kind in ["segment", "keys", "checkpoint", "identity"] {
            assert!(flips.files.get(kind).is_some_and(|file| file.bytes > 0), "no {kind} was flipped:\n{flips}");
        }
        let segments = flips.files["segment"];
        assert!(segments.reset > 0 && segments.gone > 0 && segments.kept > 0, "nothing was hit:\n{flips}");
    }
}
