//! Who is who: node and cluster identities.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A node: random 64 bits, made when its cluster or its data directory is made. Shown as 16 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId(pub u64);

/// A cluster: random 128 bits. Nodes of another cluster are refused. Shown as 32 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClusterId(pub u128);

/// The text is not an identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an id: {text:?}; {digits} hexadecimal digits are expected")]
pub struct IdError {
    text: String,
    digits: usize,
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node-{self}")
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cluster-{self}")
    }
}

impl FromStr for NodeId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        exact_hex(text, 16)?;
        u64::from_str_radix(text, 16).map(NodeId).map_err(|_| IdError { text: text.into(), digits: 16 })
    }
}

impl FromStr for ClusterId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        exact_hex(text, 32)?;
        u128::from_str_radix(text, 16).map(ClusterId).map_err(|_| IdError { text: text.into(), digits: 32 })
    }
}

fn exact_hex(text: &str, digits: usize) -> Result<(), IdError> {
    if text.len() == digits && text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(());
    }
    Err(IdError { text: text.into(), digits })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_survive_their_text_form() {
        assert_eq!(NodeId(0xab).to_string().parse(), Ok(NodeId(0xab)));
        assert_eq!(ClusterId(7).to_string().parse(), Ok(ClusterId(7)));
    }

    #[test]
    fn a_sign_or_a_wrong_length_is_no_id() {
        assert!("+000000000000001".parse::<NodeId>().is_err());
        assert!("1".parse::<NodeId>().is_err());
    }
}
