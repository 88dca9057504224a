//! What key files are called.

use crate::store::FileName;

/// The key file of a segment.
pub(crate) fn key_file_name(segment: u32) -> FileName {
    FileName(format!("keys-{segment:08x}.idx"))
}

/// The segment a key file belongs to, if the name is a key file's.
pub(crate) fn segment_of_key_file(name: &FileName) -> Option<u32> {
    let digits = name.0.strip_prefix("keys-")?.strip_suffix(".idx")?;
    let number = u32::from_str_radix(digits, 16).ok()?;
    (key_file_name(number) == *name).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_key_file_s_exact_name_is_one() {
        assert_eq!(segment_of_key_file(&key_file_name(0xab)), Some(0xab));
        for name in ["keys-ab.idx", "keys-000000AB.idx", "keys-+00000ab.idx", "keys-000000ab.new", "identity"] {
            assert_eq!(segment_of_key_file(&FileName(name.into())), None, "{name}");
        }
    }
}
