//! A message on its way: as it is, or encoded as on the wire.

use super::swarm::Passage;
use dunlin::replication::Message;
use std::rc::Rc;
use xxhash_rust::xxh3::xxh3_64;

/// One message, shared by all its receivers.
#[derive(Debug, Clone)]
pub(super) enum Parcel {
    /// As it is.
    Direct(Rc<Message>),
    /// Encoded.
    Encoded(Rc<[u8]>),
}

impl Parcel {
    /// Packs a message; an error says that its encoding does not come back as it went in.
    pub(super) fn pack(message: Message, passage: Passage) -> Result<Parcel, String> {
        if passage == Passage::Direct {
            return Ok(Parcel::Direct(Rc::new(message)));
        }
        let bytes = rmp_serde::to_vec(&message).map_err(|error| format!("{message:?} cannot be encoded: {error}"))?;
        let parcel = Parcel::Encoded(bytes.into());
        match parcel.unpack()? {
            back if back == message => Ok(parcel),
            back => Err(format!("{message:?} comes back as {back:?}")),
        }
    }

    /// The message again.
    pub(super) fn unpack(&self) -> Result<Message, String> {
        match self {
            Parcel::Direct(message) => Ok(Message::clone(message)),
            Parcel::Encoded(bytes) => {
                rmp_serde::from_slice(bytes).map_err(|error| format!("cannot be decoded: {error}"))
            }
        }
    }
}

/// A number that tells messages apart well enough for a trace, without encoding them.
pub(super) fn fingerprint(message: &Message) -> u64 {
    let numbers: [u64; 4] = match message {
        Message::Forward { request, command, .. } => [*request, command.key.hash64(), command.options.timeout_ms, 0],
        Message::Forwarded { request, .. } => [*request, 0, 0, 0],
        Message::Read { request, key, known, .. } => [*request, key.hash64(), known.map_or(0, |k| k.context_hash), 0],
        Message::ReadAnswer { request, .. } => [*request, 0, 0, 0],
        Message::Replicate { request, key, state, dots, .. } => {
            [*request, key.hash64(), state.context.hash64() ^ state.live_hash(), dots.hash64()]
        }
        Message::Replicated { request, .. } => [*request, 0, 0, 0],
        Message::ClockQuery { session, clocks } => {
            [*session, clocks.len() as u64, clocks.iter().fold(0, |sum, clock| sum ^ clock.clock_hash), 0]
        }
        Message::ClockAnswer { session, clocks, .. } => {
            [*session, clocks.len() as u64, clocks.iter().fold(0, |sum, report| sum ^ report.clock.hash64()), 0]
        }
        Message::Pull { session, dots, listing_from, .. } => [*session, dots.hash64(), listing_from.unwrap_or(1), 0],
        Message::Pulled { session, objects, next, .. } => {
            let states = objects.iter().fold(0, |sum, object| sum ^ object.state.live_hash());
            [*session, objects.len() as u64, states, next.unwrap_or(1)]
        }
        Message::List { request, query, partitions } => {
            [*request, query.limit as u64, xxh3_64(&query.from), partitions.len() as u64]
        }
        Message::Listed { request, page, refused } => {
            let keys = page.iter().flat_map(|page| &page.keys).fold(0, |sum, key| sum ^ key.hash64());
            [*request, keys, u64::from(page.is_some()), refused.len() as u64]
        }
        Message::Layout(message) => [xxh3_64(format!("{message:?}").as_bytes()), 0, 0, 0],
    };
    let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    xxh3_64(&bytes)
}
