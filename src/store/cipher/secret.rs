//! A key's 32 bytes, kept out of messages.

use std::fmt;

/// Bytes of a key.
const KEY_BYTES: usize = 32;

/// A key. It is never shown, by `Debug` neither.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretKey([u8; KEY_BYTES]);

impl SecretKey {
    /// The key of these bytes, which must come from a source of randomness.
    pub fn new(bytes: [u8; KEY_BYTES]) -> SecretKey {
        SecretKey(bytes)
    }

    /// A key as an operator writes it: 32 random bytes, or 64 hexadecimal digits and perhaps a line's end. 32 bytes of
    /// text are a password, or half the digits, and none: nothing here makes guessing one slow.
    pub fn parse(text: &[u8]) -> Option<SecretKey> {
        if let Ok(bytes) = <[u8; KEY_BYTES]>::try_from(text) {
            let is_text = bytes.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace());
            return (!is_text).then_some(SecretKey(bytes));
        }
        let digits = text.trim_ascii_end();
        let number = |pair: &[u8]| {
            let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
            Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?)
        };
        let bytes: Option<Vec<u8>> = digits.chunks(2).map(number).collect();
        bytes?.try_into().ok().map(SecretKey)
    }

    /// The bytes.
    pub(super) fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_32_bytes_or_64_digits() {
        let key = SecretKey::new([0xab; 32]);
        let digits = "aB".repeat(32);
        assert_eq!(SecretKey::parse(&[0xab; 32]), Some(key.clone()));
        assert_eq!(SecretKey::parse(digits.as_bytes()), Some(key.clone()));
        assert_eq!(SecretKey::parse(format!("{digits}\n").as_bytes()), Some(key));
        for wrong in [
            "",
            "ab",
            &"ab".repeat(31),
            &"ab".repeat(33),
            &"+b".repeat(32),
            &format!("{digits}a"),
            &"ab".repeat(16),
            "a password of 31 characters, it\n",
        ] {
            assert_eq!(SecretKey::parse(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn a_key_is_not_shown() {
        assert_eq!(format!("{:?}", SecretKey::new([0xab; 32])), "SecretKey(..)");
    }
}
