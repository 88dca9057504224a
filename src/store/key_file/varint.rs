//! Numbers of as many bytes as they need: seven bits in each, the lowest first (LEB128).

/// Most bytes a 64-bit number takes.
const MAX_VARINT_BYTES: usize = 10;

/// Appends a number.
pub(super) fn put_varint(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// Takes a number from the front; none if the bytes end too early or it is larger than 64 bits.
pub(super) fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for (at, byte) in bytes.iter().enumerate().take(MAX_VARINT_BYTES) {
        let seven = u64::from(byte & 0x7f);
        let shift = 7 * at as u32;
        if seven > u64::MAX >> shift {
            return None;
        }
        number |= seven << shift;
        if *byte < 0x80 {
            *bytes = bytes.get(at + 1..)?;
            return Some(number);
        }
    }
    None
}

/// Takes `count` bytes from the front; none if there are fewer.
pub(super) fn take_bytes<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_width_of_number_comes_back() {
        for number in (0..64).flat_map(|bit| [(1 << bit) - 1, 1 << bit, u64::MAX >> bit]) {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, number);
            bytes.push(9);
            let mut rest = bytes.as_slice();
            assert_eq!(take_varint(&mut rest), Some(number));
            assert_eq!(rest, [9]);
        }
    }

    #[test]
    fn a_number_that_does_not_end_or_does_not_fit_is_none() {
        let too_large = [[0xff; 9].as_slice(), &[2]].concat();
        for mut bytes in [[].as_slice(), &[0x80], &[0xff; 20], &too_large] {
            assert_eq!(take_varint(&mut bytes), None);
        }
    }
}
