//! What detectors say to each other, as bytes: a format byte, a header, then records until the end.
//! No counts are sent, so none can be believed: memory grows only with bytes that came.

use super::fingerprints::{BUCKETS, Fingerprints};
use super::member::{MAX_INCARNATION, MAX_MEMBERS};
use super::record::Record;
use crate::base::{ClusterId, NodeId};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io::Cursor;

/// Largest datagram: fits the smallest QUIC path (1,200 bytes of UDP) with its headers.
pub const MAX_DATAGRAM_BYTES: usize = 1100;

/// Largest message of a full sync: a bucket of the largest cluster, 256 records of at most 512 bytes, and
/// the header. Whoever lacks more asks again.
pub const MAX_FULL_SYNC_BYTES: usize = MAX_MEMBERS / BUCKETS * LARGEST_RECORD + 1024;

/// No record is larger, encoded: room for it at once instead of by doubling.
const LARGEST_RECORD: usize = 512;

/// The format of all messages; another one is refused.
pub(super) const FORMAT: u8 = 2;

/// What a message wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum MessageKind {
    /// Answer with `Ack`.
    #[serde(rename = "p")]
    Ping,
    /// I am here.
    #[serde(rename = "a")]
    Ack,
    /// Ping this member for me.
    #[serde(rename = "r")]
    PingRequest(NodeId),
    /// This member answered my ping.
    #[serde(rename = "f")]
    ForwardedAck(NodeId),
    /// This member has not answered my ping so far, and I am well.
    #[serde(rename = "n")]
    Nack(NodeId),
    /// What I hold, in short; answer with what differs. Streams only.
    #[serde(rename = "q")]
    SyncRequest,
    /// What I hold where we differ, as much as fits. Streams only.
    #[serde(rename = "s")]
    SyncAnswer,
}

/// The first part of every message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Header {
    /// The sender's cluster.
    pub(super) cluster: ClusterId,
    /// What it wants.
    pub(super) kind: MessageKind,
    /// Chosen by whoever began; answers repeat it.
    pub(super) sequence: u64,
    /// The sender.
    pub(super) sender: NodeId,
    /// The sender's own incarnation.
    pub(super) incarnation: u64,
    /// Whom the sender means; none: whoever is there (a seed).
    pub(super) addressee: Option<NodeId>,
    /// The incarnation of the addressee that the sender holds. If that is not the addressee's newest,
    /// its next message brings its record.
    pub(super) holds: Option<u64>,
}

/// A message that came, decoded and checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) header: Header,
    pub(super) body: Body,
}

/// What follows the header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Body {
    /// Of all messages but one.
    Records(Vec<Record>),
    /// Of a request for a full sync.
    Fingerprints(Box<Fingerprints>),
}

/// Why bytes are not a message for this node. Nothing of such a message is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MessageError {
    /// Not decodable, too long, too many records, another format, a record beyond its limits.
    Malformed,
    /// Well formed, of another cluster.
    ForeignCluster,
}

impl Message {
    /// Decodes and checks a message of at most `limit` bytes for a node of `cluster`.
    pub(super) fn decode(bytes: &[u8], limit: usize, cluster: ClusterId) -> Result<Message, MessageError> {
        let Some((&FORMAT, body)) = bytes.split_first() else { return Err(MessageError::Malformed) };
        if bytes.len() > limit {
            return Err(MessageError::Malformed);
        }
        let (header, rest): (Header, &[u8]) = decode_one(body)?;
        if header.cluster != cluster {
            return Err(MessageError::ForeignCluster);
        }
        if header.incarnation >= MAX_INCARNATION {
            return Err(MessageError::Malformed);
        }
        let body = match header.kind {
            MessageKind::SyncRequest => {
                Body::Fingerprints(Fingerprints::from_bytes(rest).ok_or(MessageError::Malformed)?.into())
            }
            _ => Body::Records(decode_records(rest, cluster)?),
        };
        Ok(Message { header, body })
    }
}

/// A message being written, up to a limit.
pub(super) struct MessageWriter {
    bytes: Vec<u8>,
    limit: usize,
}

impl MessageWriter {
    /// Begins with the header, of at most 80 bytes.
    pub(super) fn new(header: &Header, limit: usize) -> Self {
        let mut bytes = Vec::with_capacity(limit.min(MAX_DATAGRAM_BYTES));
        bytes.push(FORMAT);
        bytes.extend_from_slice(&encode_one(header));
        Self { bytes, limit }
    }

    /// Bytes still free.
    pub(super) fn room(&self) -> usize {
        self.limit.saturating_sub(self.bytes.len())
    }

    /// Appends a record if it fits.
    pub(super) fn push(&mut self, record: &Record) -> bool {
        self.push_encoded(&encode_one(record))
    }

    /// Appends a record or a body encoded before, if it fits.
    pub(super) fn push_encoded(&mut self, record: &[u8]) -> bool {
        let fits = record.len() <= self.room();
        if fits {
            self.bytes.extend_from_slice(record);
        }
        fits
    }

    /// The whole message.
    pub(super) fn finish(self) -> Bytes {
        self.bytes.into()
    }
}

/// One value as MessagePack; structs are arrays.
pub(super) fn encode_one<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(LARGEST_RECORD);
    let written = rmp_serde::encode::write(&mut bytes, value);
    written.expect("a Vec takes every byte and none of our types has an unknown length");
    bytes
}

fn decode_one<T: DeserializeOwned>(bytes: &[u8]) -> Result<(T, &[u8]), MessageError> {
    let mut decoder = rmp_serde::Deserializer::new(Cursor::new(bytes));
    let value = T::deserialize(&mut decoder).map_err(|_| MessageError::Malformed)?;
    let rest = usize::try_from(decoder.position()).ok().and_then(|read| bytes.get(read..));
    rest.map(|rest| (value, rest)).ok_or(MessageError::Malformed)
}

fn decode_records(mut rest: &[u8], cluster: ClusterId) -> Result<Vec<Record>, MessageError> {
    let mut records = Vec::new();
    while !rest.is_empty() {
        let (record, after): (Record, &[u8]) = decode_one(rest)?;
        if !record.is_valid(cluster) {
            return Err(MessageError::Malformed);
        }
        records.push(record);
        rest = after;
    }
    Ok(records)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::membership::tests::{CLUSTER, identity};
    use crate::membership::{
        Identity, MAX_ADDRESS_BYTES, MAX_NAME_BYTES, MAX_VERSION_BYTES, MAX_ZONE_BYTES, Member, MemberState,
    };
    use proptest::prelude::*;

    pub(in crate::membership) fn ping() -> Header {
        Header {
            cluster: CLUSTER,
            kind: MessageKind::Ping,
            sequence: 1,
            sender: NodeId(1),
            incarnation: 1,
            addressee: None,
            holds: None,
        }
    }

    fn largest_record() -> Member {
        let address = "a".repeat(MAX_ADDRESS_BYTES);
        let identity = Identity {
            node: NodeId(u64::MAX),
            name: "n".repeat(MAX_NAME_BYTES),
            peer_address: address.clone(),
            membership_address: address.clone(),
            http_address: address,
            zone: "z".repeat(MAX_ZONE_BYTES),
            capacity: u32::MAX,
            version: "v".repeat(MAX_VERSION_BYTES),
            actor: u64::MAX,
            layout_version: u64::MAX,
            layout_hash: u64::MAX,
            ..identity(1)
        };
        Member { identity: identity.into(), incarnation: MAX_INCARNATION - 1, state: MemberState::Suspect }
    }

    fn whole(member: &Member) -> Record {
        Record::whole(member, Some(NodeId(u64::MAX)))
    }

    /// Rule: the largest header and the two largest records, the addressee's and the sender's own, fit
    /// one datagram, so both can always be told; and a full sync holds all members.
    #[test]
    fn two_of_the_largest_records_fit_a_datagram() {
        let header = Header {
            cluster: ClusterId(u128::MAX),
            kind: MessageKind::PingRequest(NodeId(u64::MAX)),
            sequence: u64::MAX,
            sender: NodeId(u64::MAX),
            incarnation: u64::MAX,
            addressee: Some(NodeId(u64::MAX)),
            holds: Some(u64::MAX),
        };
        let mut writer = MessageWriter::new(&header, MAX_DATAGRAM_BYTES);
        assert!(MAX_DATAGRAM_BYTES - writer.room() <= 100);
        let addressee = whole(&largest_record());
        // Nobody calls itself suspect, so its own record has no accuser.
        let own = Record::whole(&largest_record().judged(MemberState::Alive), Some(NodeId(u64::MAX)));
        assert!(writer.push(&addressee) && writer.push(&own), "{} left", writer.room());
        assert!(encode_one(&addressee).len() <= LARGEST_RECORD);
    }

    /// Rule: what is written is what is read.
    #[test]
    fn a_message_survives_its_bytes() {
        let mut writer = MessageWriter::new(&ping(), MAX_DATAGRAM_BYTES);
        let member = Member { identity: identity(2).into(), ..largest_record() };
        let records = vec![whole(&member), Record::brief(&member, None)];
        assert!(records.iter().all(|record| writer.push(record)));
        let message = Message { header: ping(), body: Body::Records(records) };
        assert_eq!(Message::decode(&writer.finish(), MAX_DATAGRAM_BYTES, CLUSTER), Ok(message));
    }

    /// Rule: another cluster's message is told from garbage, before its records are looked at.
    #[test]
    fn another_clusters_message_is_foreign() {
        let bytes = MessageWriter::new(&ping(), MAX_DATAGRAM_BYTES).finish();
        assert_eq!(Message::decode(&bytes, MAX_DATAGRAM_BYTES, ClusterId(99)), Err(MessageError::ForeignCluster));
    }

    /// Rule: a message over its limit, of another format, cut short or with a record beyond its limits
    /// is refused as a whole.
    #[test]
    fn a_broken_message_is_refused_as_a_whole() {
        let too_long = Identity { zone: "z".repeat(MAX_ZONE_BYTES + 1), ..identity(1) };
        let refused = [
            Member { identity: too_long.into(), incarnation: 1, state: MemberState::Alive },
            Member { identity: Identity { cluster: ClusterId(99), ..identity(1) }.into(), ..largest_record() },
            Member { incarnation: MAX_INCARNATION, ..largest_record() },
        ];
        for record in refused.iter().map(whole) {
            let mut writer = MessageWriter::new(&ping(), MAX_DATAGRAM_BYTES);
            assert!(writer.push(&record));
            assert_eq!(Message::decode(&writer.finish(), MAX_DATAGRAM_BYTES, CLUSTER), Err(MessageError::Malformed));
        }
        let whole = MessageWriter::new(&ping(), MAX_DATAGRAM_BYTES).finish();
        for cut in 0..whole.len() {
            assert_eq!(Message::decode(&whole[..cut], MAX_DATAGRAM_BYTES, CLUSTER), Err(MessageError::Malformed));
        }
        assert_eq!(Message::decode(&whole, whole.len() - 1, CLUSTER), Err(MessageError::Malformed));
    }

    proptest! {
        /// Rule: no bytes panic the decoder, not even a real message with some bytes changed.
        #[test]
        fn garbage_never_panics(
            garbage in proptest::collection::vec(any::<u8>(), 0..1200),
            changes in proptest::collection::vec((any::<usize>(), any::<u8>()), 0..8),
        ) {
            let _ = Message::decode(&garbage, MAX_DATAGRAM_BYTES, CLUSTER);
            let mut writer = MessageWriter::new(&ping(), MAX_DATAGRAM_BYTES);
            writer.push(&whole(&Member { identity: identity(2).into(), incarnation: 3, state: MemberState::Down }));
            let mut bytes = writer.finish().to_vec();
            for (place, byte) in changes {
                let place = place % bytes.len();
                bytes[place] = byte;
            }
            let _ = Message::decode(&bytes, MAX_DATAGRAM_BYTES, CLUSTER);
        }
    }
}
