//! A set of counters in compact form: a base and the intervals above it.

use smallvec::SmallVec;
use std::fmt;

/// Counters of one actor: all of `1..=base`, and inclusive ranges above that do not touch one another.
/// The form is canonical: equal sets are equal values.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Intervals {
    base: u64,
    above: Ranges,
}

/// One is kept in place: that is what the dot of a single write needs, and every record has such a set.
type Ranges = SmallVec<[(u64, u64); 1]>;

impl Intervals {
    /// The counters `1..=base`.
    pub fn up_to(base: u64) -> Self {
        Self { base, above: Ranges::new() }
    }

    /// All of `1..=base` are in.
    pub fn base(&self) -> u64 {
        self.base
    }

    /// The inclusive ranges above the base, ascending.
    pub fn above(&self) -> &[(u64, u64)] {
        &self.above
    }

    /// No counter at all.
    pub fn is_empty(&self) -> bool {
        self.base == 0 && self.above.is_empty()
    }

    /// Every counter up to the highest is in.
    pub fn is_contiguous(&self) -> bool {
        self.above.is_empty()
    }

    /// The highest counter; 0 when empty.
    pub fn highest(&self) -> u64 {
        self.above.last().map_or(self.base, |(_, end)| *end)
    }

    /// How many counters.
    pub fn len(&self) -> u64 {
        self.above.iter().fold(self.base, |sum, (start, end)| sum.saturating_add(end - start + 1))
    }

    /// Is this counter in?
    pub fn contains(&self, counter: u64) -> bool {
        if counter <= self.base {
            return counter != 0;
        }
        let after = self.above.partition_point(|(start, _)| *start <= counter);
        after.checked_sub(1).and_then(|i| self.above.get(i)).is_some_and(|(_, end)| counter <= *end)
    }

    /// Adds one counter; 0 is no counter.
    pub fn insert(&mut self, counter: u64) {
        if counter == self.base + 1 && self.above.is_empty() {
            self.base = counter;
        } else {
            self.insert_range(counter, counter);
        }
    }

    /// Adds `start..=end`; an empty range adds nothing, and 0 is no counter.
    pub fn insert_range(&mut self, start: u64, end: u64) {
        let start = start.max(1);
        if end < start || end <= self.base {
            return;
        }
        let (mut low, mut high) = (start, end);
        // Ranges that overlap or touch the new one are a contiguous run of `above`.
        let first = self.above.partition_point(|(_, e)| e.saturating_add(1) < low);
        let last = self.above.partition_point(|(s, _)| *s <= high.saturating_add(1));
        if let Some(run) = self.above.get(first..last) {
            for (s, e) in run {
                low = low.min(*s);
                high = high.max(*e);
            }
        }
        if low <= self.base.saturating_add(1) {
            self.base = self.base.max(high);
            self.above.drain(..last.max(first));
        } else {
            self.above.drain(first..last.max(first));
            self.above.insert(first, (low, high));
        }
    }

    /// Adds every counter of `other`.
    pub fn union(&mut self, other: &Intervals) {
        if other.base > 0 {
            self.insert_range(1, other.base);
        }
        for (start, end) in &other.above {
            self.insert_range(*start, *end);
        }
    }

    /// Every counter of `self` is in `other`.
    pub fn is_subset(&self, other: &Intervals) -> bool {
        self.ranges().all(|(start, end)| other.contains_range(start, end))
    }

    /// The counters of `self` that are not in `other`.
    pub fn difference(&self, other: &Intervals) -> Intervals {
        let mut left = Intervals::default();
        for (start, end) in self.ranges() {
            let mut next = Some(start);
            for (s, e) in other.ranges() {
                let Some(from) = next.filter(|from| e >= *from && s <= end) else { continue };
                if s > from {
                    left.insert_range(from, s - 1);
                }
                next = e.checked_add(1);
            }
            if let Some(from) = next.filter(|from| *from <= end) {
                left.insert_range(from, end);
            }
        }
        left
    }

    /// The set as inclusive ranges, ascending; the base is the first.
    pub fn ranges(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        (self.base > 0).then_some((1, self.base)).into_iter().chain(self.above.iter().copied())
    }

    /// Every counter, ascending.
    pub fn counters(&self) -> impl Iterator<Item = u64> + '_ {
        self.ranges().flat_map(|(start, end)| start..=end)
    }

    fn contains_range(&self, start: u64, end: u64) -> bool {
        end <= self.base || self.above.iter().any(|(s, e)| *s <= start && end <= *e)
    }
}

impl fmt::Debug for Intervals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.base)?;
        self.above.iter().try_for_each(|(s, e)| if s == e { write!(f, "+{s}") } else { write!(f, "+{s}..{e}") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn built(ranges: &[(u64, u64)]) -> (Intervals, BTreeSet<u64>) {
        let (mut compact, mut naive) = (Intervals::default(), BTreeSet::new());
        for (start, length) in ranges {
            compact.insert_range(*start, start + length);
            naive.extend(*start.max(&1)..=start + length);
        }
        naive.remove(&0);
        (compact, naive)
    }

    fn canonical(set: &Intervals) -> bool {
        let mut before = set.base;
        set.above.iter().all(|(start, end)| {
            let apart = *start > before + 1 && start <= end;
            before = *end;
            apart
        })
    }

    proptest! {
        #[test]
        fn intervals_are_a_set_of_counters(a in prop::collection::vec((0u64..40, 0u64..6), 0..9),
                                           b in prop::collection::vec((0u64..40, 0u64..6), 0..9)) {
            let ((a, na), (b, nb)) = (built(&a), built(&b));
            prop_assert!(canonical(&a));
            prop_assert_eq!(a.counters().collect::<BTreeSet<_>>(), na.clone());
            prop_assert_eq!(a.len(), na.len() as u64);
            prop_assert_eq!(a.highest(), na.last().copied().unwrap_or(0));
            prop_assert!((0..60).all(|c| a.contains(c) == na.contains(&c)));
            let mut union = a.clone();
            union.union(&b);
            prop_assert!(canonical(&union));
            prop_assert_eq!(union.counters().collect::<BTreeSet<_>>(), &na | &nb);
            let less = a.difference(&b);
            prop_assert!(canonical(&less));
            prop_assert_eq!(less.counters().collect::<BTreeSet<_>>(), &na - &nb);
            prop_assert_eq!(a.is_subset(&b), na.is_subset(&nb));
        }
    }

    #[test]
    fn the_largest_counter_does_not_overflow() {
        let mut set = Intervals::up_to(3);
        set.insert_range(u64::MAX - 1, u64::MAX);
        set.insert_range(5, u64::MAX);
        assert_eq!(set.ranges().collect::<Vec<_>>(), [(1, 3), (5, u64::MAX)]);
        assert_eq!(Intervals::up_to(u64::MAX).difference(&set).ranges().collect::<Vec<_>>(), [(4, 4)]);
    }
}
