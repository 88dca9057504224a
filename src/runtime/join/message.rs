//! What is said on a connection of the join protocol: one request, one reply, each a stream of its own.

use super::ticket::Invitation;
use crate::base::NodeId;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::time::Duration;

/// The format of both messages: their first byte. Another one is refused.
const FORMAT: u8 = 1;

/// Longest request: an invitation, a signing request, two names; below 1 KiB.
pub(super) const MAX_REQUEST_BYTES: usize = 8 << 10;

/// Longest reply: the largest layout, 65,536 partitions of 512 nodes, takes 6 MiB.
pub(super) const MAX_REPLY_BYTES: usize = 16 << 20;

/// For the whole exchange, on both sides: some round trips and a write to the issuer's disk.
pub(super) const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest refusal that is shown.
const MAX_REFUSAL_CHARACTERS: usize = 1000;

/// Let me in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Request {
    pub(super) invitation: Invitation,
    /// The ticket's.
    pub(super) secret: [u8; 32],
    /// The id the node has drawn.
    pub(super) node: NodeId,
    /// What it will be called.
    pub(super) name: String,
    /// PKCS #10, DER: proves that the node has the key.
    pub(super) signing_request: ByteBuf,
}

/// What comes of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Reply {
    /// Come in.
    #[serde(rename = "a")]
    Admitted(Box<Admission>),
    /// No, and asking again does not help.
    #[serde(rename = "r")]
    Refused(String),
    /// Not now.
    #[serde(rename = "l")]
    Later(String),
}

/// What a new node begins with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Admission {
    /// PEM.
    pub(super) certificate: String,
    /// PEM; two while one replaces the other.
    pub(super) authorities: String,
    /// What context tokens are authenticated with, as `cluster.secret_file` lists it.
    pub(super) token_secrets: Vec<ByteBuf>,
    /// The layout in force, as JSON.
    pub(super) layout: String,
    /// Membership addresses of nodes that are up.
    pub(super) seeds: Vec<String>,
}

impl Reply {
    /// A refusal as it may be shown: without what moves a terminal's cursor.
    pub(super) fn shown(words: &str) -> String {
        words.chars().filter(|character| !character.is_control()).take(MAX_REFUSAL_CHARACTERS).collect()
    }
}

/// As bytes.
pub(super) fn encode<T: Serialize>(message: &T) -> Vec<u8> {
    let mut bytes = vec![FORMAT];
    bytes.extend(rmp_serde::to_vec(message).expect("a Vec takes every byte and no length is unknown"));
    bytes
}

/// From bytes; none if they are no such message.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let (&FORMAT, body) = bytes.split_first()? else { return None };
    rmp_serde::from_slice(body).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::join::ticket::tests::invitation;
    use proptest::prelude::*;

    fn request() -> Request {
        let signing_request = ByteBuf::from(vec![1; 400]);
        Request { invitation: invitation(1), secret: [7; 32], node: NodeId(9), name: "d".into(), signing_request }
    }

    #[test]
    fn a_message_survives_its_bytes_and_a_request_is_short() {
        let bytes = encode(&request());
        assert!(bytes.len() < MAX_REQUEST_BYTES / 2);
        assert_eq!(decode::<Request>(&bytes), Some(request()));
        let refusal = Reply::Refused("no".into());
        assert_eq!(decode::<Reply>(&encode(&refusal)), Some(refusal));
        assert_eq!(Reply::shown("a\u{1b}[2Jb\n"), "a[2Jb");
    }

    proptest! {
        /// Rule: no bytes panic the decoder, not even a real message with some bytes changed.
        #[test]
        fn garbage_never_panics(
            garbage in proptest::collection::vec(any::<u8>(), 0..1200),
            changes in proptest::collection::vec((any::<usize>(), any::<u8>()), 0..8),
        ) {
            let _ = (decode::<Request>(&garbage), decode::<Reply>(&garbage));
            let mut bytes = encode(&request());
            for (place, byte) in changes {
                let place = place % bytes.len();
                bytes[place] = byte;
            }
            let _ = decode::<Request>(&bytes);
        }
    }
}
