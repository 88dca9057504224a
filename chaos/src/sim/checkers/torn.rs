//! P7: a value that is shown is one that was written, whole, and to this key.

use super::Broken;
use crate::sim::oracle::{Kind, Oracle};
use crate::sim::{WriteSet, write_of};

/// Reads the values shown under a key: the writes they are, and what is wrong with the others.
pub fn check_torn<'a>(oracle: &Oracle, key: usize, values: impl Iterator<Item = &'a [u8]>) -> (WriteSet, Vec<Broken>) {
    let (mut writes, mut broken) = (WriteSet::default(), Vec::new());
    for value in values {
        match write_of(value).filter(|id| oracle.knows(*id)) {
            None => broken.push(wrong(format!("key {key} shows {} bytes that nobody wrote", value.len()))),
            Some(id) if oracle.write(id).key != key || oracle.write(id).kind == Kind::Delete => {
                broken.push(wrong(format!("key {key} shows {id:?}, which was written elsewhere")));
            }
            Some(id) => {
                if !writes.insert(id) {
                    broken.push(wrong(format!("key {key} shows {id:?} twice")));
                }
            }
        }
    }
    (writes, broken)
}

fn wrong(what: String) -> Broken {
    Broken::new("P7 no corrupt bytes", what)
}

#[cfg(test)]
mod tests {
    use super::super::histories::acknowledged;
    use super::*;
    use crate::sim::oracle::Seen;
    use crate::sim::{WriteId, value_of};

    #[test]
    fn torn_unknown_misplaced_and_doubled_values_are_reported() {
        let mut oracle = Oracle::new(2, 3);
        let a = acknowledged(&mut oracle, 0, Kind::Put, Seen::Unknown);
        let whole = value_of(a, 20);
        let check = |key, values: &[&[u8]]| check_torn(&oracle, key, values.iter().copied()).1.len();
        assert_eq!(check(0, &[&whole]), 0);
        assert_eq!(check(0, &[&whole[..9]]), 1);
        assert_eq!(check(0, &[&value_of(WriteId(7), 20)]), 1);
        assert_eq!(check(1, &[&whole]), 1);
        assert_eq!(check(0, &[&whole, &whole]), 1);
    }
}
