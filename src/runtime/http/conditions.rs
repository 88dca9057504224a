//! What a client says it has seen: `Dunlin-Context`, `If-Match`, `If-None-Match`.

use super::answer::CONTEXT;
use super::parameters::invalid;
use super::problem::{Code, Problem};
use crate::base::Key;
use crate::causal::{Dot, DotSet, Token, TokenSecret};
use crate::replication::Condition;
use hyper::HeaderMap;
use hyper::header::{HeaderName, IF_MATCH, IF_NONE_MATCH};

/// The conditions of a read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct ReadConditions {
    /// `If-Match`: 412 unless it holds.
    pub(super) matches: Option<EntityTags>,
    /// `If-None-Match`: 304 if it does not hold.
    pub(super) none_match: Option<EntityTags>,
}

/// What a write may supersede, and when it may happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WriteConditions {
    /// Supersede exactly this; none: what the coordinator sees.
    pub(super) seen: Option<DotSet>,
    /// Checked before anything is written.
    pub(super) condition: Condition,
}

/// The value of `If-Match` or `If-None-Match`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum EntityTags {
    /// `*`
    Any,
    /// `"t", "t"`
    Tokens(Vec<Token>),
}

/// May a tag that a proxy has weakened count? (RFC 9110: for `If-None-Match` yes, for `If-Match` no.)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WeakTags {
    Count,
    NeverMatch,
}

impl EntityTags {
    /// Has a client that shows these tags seen this version? `*` shows nothing.
    pub(super) fn cover(&self, dot: Dot) -> bool {
        match self {
            EntityTags::Any => false,
            EntityTags::Tokens(tokens) => tokens.iter().any(|token| token.context.contains(dot)),
        }
    }

    /// Does one of the tags name this state? `Any` names every state with a live version.
    pub(super) fn name(&self, live_hash: Option<u64>) -> bool {
        match (self, live_hash) {
            (EntityTags::Any, live) => live.is_some(),
            (EntityTags::Tokens(tokens), Some(live)) => tokens.iter().any(|token| token.live_hash == live),
            (EntityTags::Tokens(_), None) => false,
        }
    }
}

impl ReadConditions {
    /// Those of a GET or HEAD. A context has no meaning there; a forged one is refused all the same.
    pub(super) fn of(headers: &HeaderMap, secrets: &[TokenSecret], key: &Key) -> Result<ReadConditions, Problem> {
        context(headers, secrets, key)?;
        Ok(ReadConditions {
            matches: tags(headers, &IF_MATCH, secrets, key, WeakTags::NeverMatch)?,
            none_match: tags(headers, &IF_NONE_MATCH, secrets, key, WeakTags::Count)?,
        })
    }
}

impl WriteConditions {
    /// Those of a PUT, POST or DELETE. A context says what is superseded; without one, the entity tags
    /// do, since they are tokens too.
    pub(super) fn of(headers: &HeaderMap, secrets: &[TokenSecret], key: &Key) -> Result<WriteConditions, Problem> {
        let seen = context(headers, secrets, key)?.map(|token| token.context);
        let matches = tags(headers, &IF_MATCH, secrets, key, WeakTags::NeverMatch)?;
        let none_match = tags(headers, &IF_NONE_MATCH, secrets, key, WeakTags::NeverMatch)?;
        match (matches, none_match) {
            (None, None) => Ok(WriteConditions { seen, condition: Condition::Always }),
            (Some(EntityTags::Any), None) => Ok(WriteConditions { seen, condition: Condition::Exists }),
            (Some(EntityTags::Tokens(tokens)), None) => {
                let seen = seen.unwrap_or_else(|| union(&tokens));
                let hashes = tokens.iter().map(|token| token.live_hash).collect();
                Ok(WriteConditions { seen: Some(seen), condition: Condition::LiveHashIn(hashes) })
            }
            (None, Some(EntityTags::Any)) => Ok(WriteConditions { seen, condition: Condition::Absent }),
            (None, Some(EntityTags::Tokens(_))) => Err(invalid("If-None-Match", "names tags in a write", &["*"])),
            (Some(_), Some(_)) => Err(invalid("If-None-Match", "excludes If-Match", &["If-Match", "If-None-Match"])),
        }
    }
}

fn union(tokens: &[Token]) -> DotSet {
    let mut seen = DotSet::default();
    tokens.iter().for_each(|token| seen.union(&token.context));
    seen
}

fn context(headers: &HeaderMap, secrets: &[TokenSecret], key: &Key) -> Result<Option<Token>, Problem> {
    let mut values = headers.get_all(CONTEXT).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Problem::new(Code::TokenInvalid, "Dunlin-Context is given twice; only one context can be meant"));
    }
    open(value.to_str().unwrap_or_default(), secrets, key).map(Some)
}

fn tags(
    headers: &HeaderMap,
    name: &HeaderName,
    secrets: &[TokenSecret],
    key: &Key,
    weak: WeakTags,
) -> Result<Option<EntityTags>, Problem> {
    if !headers.contains_key(name) {
        return Ok(None);
    }
    // No token holds a comma, so a plain split is the whole grammar.
    let values = headers.get_all(name).iter().map(|value| value.to_str().unwrap_or("?"));
    let items: Vec<&str> = values.flat_map(|value| value.split(',')).map(str::trim).filter(|i| !i.is_empty()).collect();
    if items == ["*"] {
        return Ok(Some(EntityTags::Any));
    }
    let mut tokens = Vec::new();
    for item in &items {
        let (strong, tag) = item.strip_prefix("W/").map_or((true, *item), |tag| (false, tag));
        let text = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
        let token = open(text.ok_or_else(|| malformed(name))?, secrets, key)?;
        if strong || weak == WeakTags::Count {
            tokens.push(token);
        }
    }
    if items.is_empty() { Err(malformed(name)) } else { Ok(Some(EntityTags::Tokens(tokens))) }
}

fn malformed(name: &HeaderName) -> Problem {
    invalid(name.as_str(), "is malformed", &["*", "\"<token>\", ..."])
}

fn open(text: &str, secrets: &[TokenSecret], key: &Key) -> Result<Token, Problem> {
    Token::open(secrets, key, text).map_err(|error| Problem::new(Code::TokenInvalid, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causal::Actor;
    use hyper::header::HeaderValue;

    fn key() -> Key {
        Key::new("k").unwrap()
    }

    fn secrets() -> [TokenSecret; 2] {
        [TokenSecret::new([1; 32]), TokenSecret::new([2; 32])]
    }

    fn token(counter: u64) -> Token {
        let dots = DotSet::from(Dot { actor: Actor(1), counter });
        Token::of(dots.clone(), &dots)
    }

    fn sealed(counter: u64) -> String {
        token(counter).seal(&secrets()[1], &key(), &DotSet::EMPTY)
    }

    fn headers(pairs: &[(&HeaderName, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append((*name).clone(), HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn write(pairs: &[(&HeaderName, &str)]) -> Result<WriteConditions, Code> {
        WriteConditions::of(&headers(pairs), &secrets(), &key()).map_err(|problem| problem.code)
    }

    #[test]
    fn a_context_says_what_is_superseded() {
        let plain = WriteConditions { seen: None, condition: Condition::Always };
        assert_eq!(write(&[]), Ok(plain));
        let seen = write(&[(&CONTEXT, &sealed(1))]).unwrap();
        assert_eq!(seen, WriteConditions { seen: Some(token(1).context), condition: Condition::Always });
    }

    #[test]
    fn an_entity_tag_is_condition_and_context_at_once() {
        let tag = format!("\"{}\"", sealed(1));
        let expected = Condition::LiveHashIn(vec![token(1).live_hash]);
        let both = write(&[(&IF_MATCH, &tag)]).unwrap();
        assert_eq!(both, WriteConditions { seen: Some(token(1).context), condition: expected.clone() });
        let own = write(&[(&IF_MATCH, &tag), (&CONTEXT, &sealed(2))]).unwrap();
        assert_eq!(own, WriteConditions { seen: Some(token(2).context), condition: expected });
        let list = format!("{tag} , \"{}\"", sealed(2));
        let Condition::LiveHashIn(hashes) = write(&[(&IF_MATCH, &list)]).unwrap().condition else { panic!() };
        assert_eq!(hashes, [token(1).live_hash, token(2).live_hash]);
    }

    #[test]
    fn stars_ask_whether_there_is_anything() {
        assert_eq!(write(&[(&IF_MATCH, "*")]).unwrap().condition, Condition::Exists);
        assert_eq!(write(&[(&IF_NONE_MATCH, "*")]).unwrap().condition, Condition::Absent);
    }

    #[test]
    fn a_weak_tag_never_matches_a_write() {
        let weak = write(&[(&IF_MATCH, &format!("W/\"{}\"", sealed(1)))]).unwrap();
        assert_eq!(weak.condition, Condition::LiveHashIn(vec![]));
    }

    #[test]
    fn what_does_not_verify_is_refused() {
        let foreign = token(1).seal(&TokenSecret::new([3; 32]), &key(), &DotSet::EMPTY);
        for bad in [foreign.as_str(), "x", "", "\u{e9}"] {
            assert_eq!(write(&[(&CONTEXT, bad)]), Err(Code::TokenInvalid));
        }
        assert_eq!(write(&[(&CONTEXT, &sealed(1)), (&CONTEXT, &sealed(1))]), Err(Code::TokenInvalid));
        assert_eq!(write(&[(&IF_MATCH, &format!("\"{foreign}\""))]), Err(Code::TokenInvalid));
        for bad in ["", "x", "\"x", "*, *", "*, \"x\"", ","] {
            assert!(write(&[(&IF_MATCH, bad)]).is_err(), "{bad}");
        }
        assert_eq!(write(&[(&IF_MATCH, "*"), (&IF_NONE_MATCH, "*")]), Err(Code::ParameterInvalid));
        assert_eq!(write(&[(&IF_NONE_MATCH, &format!("\"{}\"", sealed(1)))]), Err(Code::ParameterInvalid));
    }

    #[test]
    fn a_read_takes_weak_tags_for_its_cache() {
        let weak = format!("W/\"{}\"", sealed(1));
        let read = ReadConditions::of(&headers(&[(&IF_NONE_MATCH, &weak)]), &secrets(), &key()).unwrap();
        assert!(read.none_match.unwrap().name(Some(token(1).live_hash)));
        assert!(ReadConditions::of(&headers(&[(&CONTEXT, "x")]), &secrets(), &key()).is_err());
    }
}
