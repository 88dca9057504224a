//! What of a key's state a client is shown, and the token that covers just that.

use crate::base::{HybridTime, Key, WallTime};
use crate::causal::{Content, Dot, DotSet, Filled, Token, TokenSecret};
use std::collections::BTreeMap;

/// One value as a client sees it: a version, or several that are equal in value, type and metadata
/// (a client's own retry after a lost answer makes such).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shown {
    /// The version that stands for all.
    pub(super) dot: Dot,
    /// What was written; it expires when the last of the equal ones does.
    pub(super) content: Content,
    /// Every version this value stands for.
    pub(super) dots: Vec<Dot>,
}

/// A key's state in the eyes of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct View {
    /// Newest first.
    pub(super) values: Vec<Shown>,
    /// Hash of all live dots.
    pub(super) live_hash: u64,
    /// Did time hide any version (PROTOCOL R16)?
    pub(super) hides_expired: bool,
    context: DotSet,
    live: DotSet,
}

impl View {
    /// The state at this moment of the reader's clock.
    pub(super) fn of(state: Filled, now: WallTime) -> View {
        let (live, live_hash) = (state.live_dots(), state.live_hash());
        let all = state.versions.len();
        let mut equal: BTreeMap<_, Shown> = BTreeMap::new();
        let mut visible = 0;
        for version in state.versions {
            if version.content.expires_at.is_some_and(|expires_at| expires_at <= now) {
                continue;
            }
            visible += 1;
            let Content { value, content_type, metadata, .. } = &version.content;
            let same = (value.clone(), content_type.clone(), metadata.clone());
            let one = Shown { dot: version.dot, content: version.content, dots: vec![version.dot] };
            let joined = match equal.remove(&same) {
                Some(other) => one.join(other),
                None => one,
            };
            equal.insert(same, joined);
        }
        let mut values: Vec<Shown> = equal.into_values().collect();
        values.sort_by_key(|shown| std::cmp::Reverse(shown.age()));
        View { values, live_hash, hides_expired: visible < all, context: state.context, live }
    }

    /// The live hash, if there is anything to see: what entity tags are compared with.
    pub(super) fn visible_hash(&self) -> Option<u64> {
        (!self.values.is_empty()).then_some(self.live_hash)
    }

    /// The token for a client that was shown these values: it covers them and what they superseded, and
    /// no version the client has not seen (PROTOCOL R4).
    pub(super) fn token<'a>(&self, secret: &TokenSecret, key: &Key, values: impl Iterator<Item = &'a Shown>) -> String {
        let shown: DotSet = values.flat_map(|value| value.dots.iter().copied()).collect();
        let context = self.context.difference(&self.live.difference(&shown));
        Token { context, live_hash: self.live_hash }.seal(secret, key, &shown)
    }
}

impl Shown {
    fn age(&self) -> (HybridTime, Dot) {
        (self.content.written_at, self.dot)
    }

    fn join(self, other: Shown) -> Shown {
        let (mut newer, older) = if self.age() >= other.age() { (self, other) } else { (other, self) };
        newer.content.expires_at = newer.content.expires_at.zip(older.content.expires_at).map(|(a, b)| a.max(b));
        newer.dots.extend(older.dots);
        newer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causal::{Actor, Version};

    fn dot(counter: u64) -> Dot {
        Dot { actor: Actor(1), counter }
    }

    fn version(counter: u64, value: &'static str, expires_ms: Option<u64>) -> Version {
        let content = Content {
            value: value.into(),
            content_type: "t/x".into(),
            metadata: Vec::new(),
            written_at: HybridTime::from_wall(WallTime(counter)),
            expires_at: expires_ms.map(WallTime),
        };
        Version { dot: dot(counter), content }
    }

    fn view(versions: Vec<Version>) -> View {
        let context = (1..10).map(dot).collect();
        View::of(Filled { versions, context }, WallTime(100))
    }

    fn covered(view: &View, values: &[Shown]) -> DotSet {
        let (secret, key) = (TokenSecret::new([1; 32]), Key::new("k").unwrap());
        let text = view.token(&secret, &key, values.iter());
        Token::open(&[secret], &key, &text).unwrap().context
    }

    #[test]
    fn equal_values_are_shown_once_and_covered_all() {
        let view = view(vec![version(1, "a", Some(500)), version(2, "b", None), version(3, "a", Some(400))]);
        let shown: Vec<_> = view.values.iter().map(|shown| (shown.dot, shown.dots.len())).collect();
        assert_eq!(shown, [(dot(3), 2), (dot(2), 1)]);
        assert_eq!(view.values[0].content.expires_at, Some(WallTime(500)));
        assert_eq!(covered(&view, &view.values), (1..10).map(dot).collect());
    }

    #[test]
    fn an_expired_version_is_neither_shown_nor_covered() {
        let view = view(vec![version(1, "a", Some(100)), version(2, "b", Some(101))]);
        assert!(view.hides_expired && view.values.len() == 1);
        let context = covered(&view, &view.values);
        assert!(!context.contains(dot(1)) && context.contains(dot(2)) && context.contains(dot(9)));
    }

    #[test]
    fn a_token_covers_only_what_was_shown() {
        let view = view(vec![version(1, "a", None), version(2, "b", None)]);
        let context = covered(&view, &view.values[..1]);
        assert!(context.contains(dot(2)) && !context.contains(dot(1)) && context.contains(dot(5)));
        assert!(covered(&view, &[]).difference(&(3..10).map(dot).collect()).is_empty());
    }
}
