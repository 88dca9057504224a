//! Which keys' records are compressed how.

use super::Compression;
use crate::base::Key;

/// Compression by key prefix: of several prefixes that fit a key the longest counts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CompressionRules {
    /// The longest prefix first.
    rules: Vec<(Vec<u8>, Compression)>,
}

impl CompressionRules {
    /// Rules for these prefixes; keys that none fits are not compressed. Of a prefix that comes twice the first
    /// counts.
    pub fn new(rules: impl IntoIterator<Item = (Vec<u8>, Compression)>) -> CompressionRules {
        let mut rules: Vec<_> = rules.into_iter().collect();
        rules.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        CompressionRules { rules }
    }

    /// What records of a key get, and with the empty prefix what those without a key do.
    pub(super) fn of(&self, key: Option<&Key>) -> Compression {
        let key = key.map_or(&[][..], Key::as_bytes);
        let fits = |prefix: &[u8]| key.starts_with(prefix);
        self.rules.iter().find(|(prefix, _)| fits(prefix)).map_or(Compression::None, |(_, compression)| *compression)
    }
}

/// The same for all keys.
impl From<Compression> for CompressionRules {
    fn from(compression: Compression) -> Self {
        CompressionRules::new([(Vec::new(), compression)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_that_fits_counts() {
        let rules = CompressionRules::new([
            (b"".to_vec(), Compression::Lz4),
            (b"logs/".to_vec(), Compression::Zstd),
            (b"logs/raw/".to_vec(), Compression::None),
        ]);
        let of = |key: &'static str| rules.of(Some(&Key::new(key).unwrap()));
        assert_eq!(of("log"), Compression::Lz4);
        assert_eq!(of("logs/1"), Compression::Zstd);
        assert_eq!(of("logs/raw/1"), Compression::None);
        assert_eq!(rules.of(None), Compression::Lz4);
        assert_eq!(CompressionRules::default().of(None), Compression::None);
    }
}
