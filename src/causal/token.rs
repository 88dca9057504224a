//! What a client carries between a read and a write: opaque, authenticated, bound to its key.

use super::{Actor, Dot, DotSet, Intervals};
use crate::base::{Key, Mutation, broken};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::fmt;

/// Longest token text accepted. A healthy cluster's tokens stay far below (API.md section 2).
pub const MAX_TOKEN_BYTES: usize = 1024;

/// First byte of every token.
const FORMAT: u8 = 1;

/// A forged counter would silently erase later writes: 16 bytes make forging hopeless.
const TAG_BYTES: usize = 16;

/// The context a client has seen, with the hash of the live dots it was shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// What a write with this token supersedes.
    pub context: DotSet,
    /// What conditions compare.
    pub live_hash: u64,
}

/// A cluster's secret for tokens: 32 bytes, the same on all nodes.
#[derive(Clone)]
pub struct TokenSecret([u8; 32]);

/// A token that is not to be believed. It is refused (400), never ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not base64url, too long, truncated or of an unknown format.
    #[error("not a context token of this cluster's format")]
    Malformed,
    /// The tag does not fit key, contents and secret.
    #[error("the context token does not verify for this key; tokens are bound to their key and cluster")]
    Forged,
}

impl TokenSecret {
    /// Wraps the 32 secret bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    fn tag(&self, key: &Key, body: &[u8]) -> [u8; TAG_BYTES] {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(&(key.as_bytes().len() as u64).to_le_bytes());
        hasher.update(key.as_bytes());
        hasher.update(body);
        let mut tag = [0; TAG_BYTES];
        hasher.finalize_xof().fill(&mut tag);
        tag
    }
}

impl fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSecret(..)")
    }
}

impl Token {
    /// The text handed to a client. `shown` are the live dots the client was shown: above the size
    /// limit, other intervals are dropped, never rounded up (PROTOCOL R14): an under-claim gives at
    /// worst a passing false sibling.
    pub fn seal(&self, secret: &TokenSecret, key: &Key, shown: &DotSet) -> String {
        let whole = self.encode(secret, key);
        if whole.len() <= MAX_TOKEN_BYTES {
            return whole;
        }
        let mut context = DotSet::default();
        for (actor, counters) in self.context.iter() {
            context.insert_all(actor, &Intervals::up_to(counters.base()));
        }
        context.union(shown);
        let bases = Token { context, live_hash: self.live_hash }.encode(secret, key);
        if bases.len() <= MAX_TOKEN_BYTES {
            return bases;
        }
        Token { context: shown.clone(), live_hash: self.live_hash }.encode(secret, key)
    }

    /// Reads a client's text; the first of `secrets` that verifies counts (two during a rotation).
    pub fn open(secrets: &[TokenSecret], key: &Key, text: &str) -> Result<Token, TokenError> {
        if text.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::Malformed);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| TokenError::Malformed)?;
        let (body, tag) = bytes.split_last_chunk::<TAG_BYTES>().ok_or(TokenError::Malformed)?;
        // blake3::Hash compares in constant time; the tag must not be guessed byte by byte.
        let padded = |tag: &[u8; TAG_BYTES]| {
            let mut wide = [0; 32];
            wide.iter_mut().zip(tag).for_each(|(to, from)| *to = *from);
            blake3::Hash::from_bytes(wide)
        };
        let verified = secrets.iter().any(|secret| padded(&secret.tag(key, body)) == padded(tag));
        if !verified && !broken(Mutation::TokenNotVerified) {
            return Err(TokenError::Forged);
        }
        decode(body).ok_or(TokenError::Malformed)
    }

    fn encode(&self, secret: &TokenSecret, key: &Key) -> String {
        let mut body = vec![FORMAT];
        body.extend(self.live_hash.to_le_bytes());
        put_varint(&mut body, self.context.iter().count() as u64);
        for (Actor(actor), counters) in self.context.iter() {
            body.extend(actor.to_le_bytes());
            put_varint(&mut body, counters.base());
            put_varint(&mut body, counters.above().len() as u64);
            let mut before = counters.base();
            for (start, end) in counters.above() {
                put_varint(&mut body, start - before);
                put_varint(&mut body, end - start);
                before = *end;
            }
        }
        let tag = secret.tag(key, &body);
        body.extend(tag);
        URL_SAFE_NO_PAD.encode(body)
    }
}

fn decode(body: &[u8]) -> Option<Token> {
    let (format, mut rest) = body.split_first()?;
    if *format != FORMAT {
        return None;
    }
    let live_hash = take_u64(&mut rest)?;
    let mut context = DotSet::default();
    for _ in 0..take_varint(&mut rest)? {
        let actor = Actor(take_u64(&mut rest)?);
        let mut counters = Intervals::up_to(take_varint(&mut rest)?);
        let mut before = counters.base();
        for _ in 0..take_varint(&mut rest)? {
            let start = before.checked_add(take_varint(&mut rest)?)?;
            before = start.checked_add(take_varint(&mut rest)?)?;
            counters.insert_range(start, before);
        }
        context.insert_all(actor, &counters);
    }
    rest.is_empty().then_some(Token { context, live_hash })
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn take_varint(from: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = from.split_first()?;
        *from = rest;
        let bits = u64::from(byte & 0x7f);
        value |= bits.checked_shl(shift).filter(|shifted| shifted >> shift == bits)?;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn take_u64(from: &mut &[u8]) -> Option<u64> {
    let (bytes, rest) = from.split_first_chunk::<8>()?;
    *from = rest;
    Some(u64::from_le_bytes(*bytes))
}

impl Token {
    /// The token of a state a client was shown.
    pub fn of(context: DotSet, live: &DotSet) -> Token {
        let dots: Vec<Dot> = live.dots().collect();
        Token { context, live_hash: super::live_hash(dots.into_iter()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(text: &str) -> Key {
        Key::new(text.to_owned()).unwrap()
    }

    fn contexts() -> impl Strategy<Value = DotSet> {
        prop::collection::vec((any::<u64>(), 1u64..200), 0..12)
            .prop_map(|dots| dots.into_iter().map(|(a, counter)| Dot { actor: Actor(a % 5), counter }).collect())
    }

    proptest! {
        #[test]
        fn a_token_comes_back_for_its_key_alone(context in contexts(), live_hash in any::<u64>()) {
            let (secret, other) = (TokenSecret::new([1; 32]), TokenSecret::new([2; 32]));
            let token = Token { context, live_hash };
            let text = token.seal(&secret, &key("a"), &DotSet::EMPTY);
            prop_assert_eq!(Token::open(&[other.clone(), secret.clone()], &key("a"), &text), Ok(token));
            prop_assert_eq!(Token::open(std::slice::from_ref(&secret), &key("b"), &text), Err(TokenError::Forged));
            prop_assert_eq!(Token::open(&[other], &key("a"), &text), Err(TokenError::Forged));
        }

        #[test]
        fn one_changed_character_is_refused(context in contexts(), at in any::<prop::sample::Index>()) {
            let secret = TokenSecret::new([1; 32]);
            let text = Token { context, live_hash: 1 }.seal(&secret, &key("a"), &DotSet::EMPTY);
            let mut bytes = text.clone().into_bytes();
            let at = at.index(bytes.len());
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(bytes).unwrap();
            let secrets = [secret];
            prop_assert!(Token::open(&secrets, &key("a"), &forged).is_err());
            prop_assert!(Token::open(&secrets, &key("a"), &text[..at]).is_err());
        }

        #[test]
        fn any_text_is_refused_without_a_panic(text in ".{0,80}", bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            prop_assert!(Token::open(&[TokenSecret::new([1; 32])], &key("a"), &text).is_err());
            let _ = decode(&bytes);
        }
    }

    #[cfg(feature = "mutants")]
    #[test]
    fn a_token_taken_unverified_is_noticed() {
        let text =
            Token { context: DotSet::EMPTY, live_hash: 1 }.seal(&TokenSecret::new([2; 32]), &key("a"), &DotSet::EMPTY);
        let open = || Token::open(&[TokenSecret::new([1; 32])], &key("a"), &text);
        assert_eq!(open(), Err(TokenError::Forged));
        crate::base::mutation::activate(Some(Mutation::TokenNotVerified));
        let opened = open();
        crate::base::mutation::activate(None);
        assert!(opened.is_ok(), "the fault is not in the program: the test above would not show it");
    }

    #[test]
    fn above_the_limit_a_token_claims_less_never_more() {
        let secret = TokenSecret::new([1; 32]);
        let dot = |actor, counter| Dot { actor: Actor(actor), counter };
        let context: DotSet = (1..2000).map(|c| dot(c % 3, c * 5)).chain((1..9).map(|c| dot(7, c))).collect();
        let shown = DotSet::from(dot(1, 9995));
        let text = Token { context: context.clone(), live_hash: 3 }.seal(&secret, &key("a"), &shown);
        let token = Token::open(&[secret], &key("a"), &text).unwrap();
        assert!(text.len() <= MAX_TOKEN_BYTES && token.context.is_subset(&context));
        assert!(shown.is_subset(&token.context) && token.context.contains(dot(7, 8)));
    }
}
