//! What plain writes say of themselves: the only place where the harness looks into a context.
//!
//! A write without token supersedes what its coordinator saw, which no client can know. Its answer's
//! context says it. Counters are looked up one by one, not with `DotSet::contains`, which a mutation breaks.

use super::WriteId;
use dunlin::causal::{Dot, DotSet};
use std::collections::BTreeMap;

/// Dots of values and contexts of plain writes, as clients were shown them.
#[derive(Debug, Default)]
pub(super) struct Claims {
    /// Per key: the dots known so far.
    dots: BTreeMap<usize, BTreeMap<WriteId, Dot>>,
    /// Per key: the contexts answered to plain writes.
    contexts: BTreeMap<usize, Vec<(WriteId, DotSet)>>,
}

impl Claims {
    /// A value was shown or acknowledged under this dot. Returns the plain writes that claim to have
    /// superseded it, and whether the value had another dot before.
    pub(super) fn learn(&mut self, key: usize, write: WriteId, dot: Dot) -> Learned {
        match self.dots.entry(key).or_default().insert(write, dot) {
            Some(before) if before == dot => return Learned::Nothing,
            Some(_) => return Learned::SecondDot,
            None => {}
        }
        let contexts = self.contexts.get(&key).map_or(&[][..], Vec::as_slice);
        Learned::ClaimedBy(contexts.iter().filter(|(by, c)| *by != write && has(c, dot)).map(|(by, _)| *by).collect())
    }

    /// A plain write was acknowledged with this context. Returns the known writes it claims.
    pub(super) fn claim(&mut self, key: usize, write: WriteId, context: DotSet) -> Vec<WriteId> {
        let dots = self.dots.entry(key).or_default();
        let claimed = dots.iter().filter(|(other, dot)| **other != write && has(&context, **dot));
        let claimed = claimed.map(|(other, _)| *other).collect();
        self.contexts.entry(key).or_default().push((write, context));
        claimed
    }
}

/// What a value's dot told.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Learned {
    /// It was known.
    Nothing,
    /// The value had another dot before: one write was minted twice.
    SecondDot,
    /// New, and claimed by these plain writes.
    ClaimedBy(Vec<WriteId>),
}

fn has(context: &DotSet, dot: Dot) -> bool {
    context
        .of(dot.actor)
        .is_some_and(|counters| counters.ranges().any(|(low, high)| (low..=high).contains(&dot.counter)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use dunlin::causal::Actor;

    fn dot(counter: u64) -> Dot {
        Dot { actor: Actor(1), counter }
    }

    #[test]
    fn claims_are_found_whichever_comes_first() {
        let mut claims = Claims::default();
        let (a, b, plain) = (WriteId(0), WriteId(1), WriteId(2));
        assert_eq!(claims.learn(0, a, dot(1)), Learned::ClaimedBy(vec![]));
        assert_eq!(claims.claim(0, plain, [dot(1), dot(2), dot(3)].into_iter().collect()), [a]);
        assert_eq!(claims.learn(0, b, dot(2)), Learned::ClaimedBy(vec![plain]));
        assert_eq!(claims.learn(0, b, dot(2)), Learned::Nothing);
        assert_eq!(claims.learn(0, b, dot(9)), Learned::SecondDot);
    }
}
