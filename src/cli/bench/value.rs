//! What is written: bytes that cannot be compressed, and that say whose they are.

use crate::base::Random;
use std::str::FromStr;

/// Random bytes that all values are cut from.
const POOL_BYTES: usize = 1 << 20;

/// Longest value asked for: a node's own default limit is 1 MiB.
pub(super) const MAX_VALUE_BYTES: usize = 16 << 20;

/// A mark's length: two numbers and a checksum in hexadecimal digits.
pub(super) const MARK_BYTES: usize = 16 + 16 + 8;

/// How long values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sizes {
    /// Shortest, in bytes.
    pub(super) from: usize,
    /// Longest, in bytes; each length between is as likely.
    pub(super) to: usize,
}

/// Cuts values.
#[derive(Debug)]
pub(super) struct Values {
    pool: Vec<u8>,
    sizes: Sizes,
}

/// What a value says of itself: which write it is, and of which key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) write: u64,
    pub(super) key: u64,
}

impl Sizes {
    /// As it is written on the command line.
    pub(super) fn text(self) -> String {
        if self.from == self.to { self.from.to_string() } else { format!("{}..{}", self.from, self.to) }
    }
}

impl FromStr for Sizes {
    type Err = String;

    fn from_str(text: &str) -> Result<Sizes, String> {
        let allowed = || format!("{text:?} is not BYTES or FROM..TO, at most {MAX_VALUE_BYTES}");
        let bytes = |text: &str| text.parse::<usize>().ok().filter(|bytes| *bytes <= MAX_VALUE_BYTES);
        let (from, to) = text.split_once("..").unwrap_or((text, text));
        match (bytes(from), bytes(to)) {
            (Some(from), Some(to)) if from <= to => Ok(Sizes { from, to }),
            _ => Err(allowed()),
        }
    }
}

impl Values {
    pub(super) fn new(sizes: Sizes, random: &mut Random) -> Values {
        let mut pool = Vec::with_capacity(POOL_BYTES + sizes.to);
        while pool.len() < POOL_BYTES + sizes.to {
            pool.extend(random.u64().to_le_bytes());
        }
        Values { pool, sizes }
    }

    /// Appends a value to a request; it begins with the mark as far as it is long enough.
    pub(super) fn put(&self, out: &mut Vec<u8>, bytes: usize, mark: Mark, random: &mut Random) {
        let begin = out.len();
        let at = random.below(POOL_BYTES as u64) as usize;
        out.extend(self.pool.get(at..at + bytes).unwrap_or_default());
        if let Some(head) = out.get_mut(begin..begin + MARK_BYTES) {
            head.copy_from_slice(mark.text().as_bytes());
        }
    }

    /// The next value's length.
    pub(super) fn draw_bytes(&self, random: &mut Random) -> usize {
        random.between(self.sizes.from as u64, self.sizes.to as u64) as usize
    }
}

impl Mark {
    /// Reads a value's mark; none if it has none, or a torn one.
    pub(super) fn read(value: &[u8]) -> Option<Mark> {
        let text = std::str::from_utf8(value.get(..MARK_BYTES)?).ok()?;
        let number = |range| u64::from_str_radix(text.get(range)?, 16).ok();
        let mark = Mark { write: number(0..16)?, key: number(16..32)? };
        (mark.text() == text).then_some(mark)
    }

    fn text(self) -> String {
        let numbers = format!("{:016x}{:016x}", self.write, self.key);
        format!("{numbers}{:08x}", crc32c::crc32c(numbers.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_says_whose_it_is_and_a_torn_one_does_not() {
        let mut random = Random::from_seed(1);
        let values = Values::new("100".parse().unwrap(), &mut random);
        let (mut value, mark) = (Vec::new(), Mark { write: 1 << 40, key: 7 });
        values.put(&mut value, 100, mark, &mut random);
        assert_eq!((value.len(), Mark::read(&value)), (100, Some(mark)));
        for at in 0..MARK_BYTES {
            let mut torn = value.clone();
            torn[at] ^= 1;
            assert_eq!(Mark::read(&torn), None, "{at}");
        }
        assert_eq!(Mark::read(&value[..MARK_BYTES - 1]), None);
    }

    #[test]
    fn lengths_stay_in_their_range() {
        let mut random = Random::from_seed(1);
        let values = Values::new("10..12".parse().unwrap(), &mut random);
        let mut seen: Vec<usize> = (0..100).map(|_| values.draw_bytes(&mut random)).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen, [10, 11, 12]);
        for text in ["", "x", "9..3", "99999999"] {
            assert!(text.parse::<Sizes>().is_err(), "{text}");
        }
        assert_eq!("10..12".parse::<Sizes>().unwrap().text(), "10..12");
    }
}
