//! How a message looks on the wire: preamble of a stream, frame of a message.

use super::limits::{MAX_DEPTH, READ_BYTES, RETAINED_BUFFER_BYTES};
use crate::replication::Message;
use bytes::{Buf, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

/// Version of everything in this file.
pub const PROTOCOL_VERSION: u16 = 1;

/// Bytes of a preamble.
pub const PREAMBLE_BYTES: usize = 16;

/// Bytes before a frame's body: its length.
pub const FRAME_HEADER_BYTES: usize = 4;

const MAGIC: [u8; 4] = *b"DNLN";

/// The first bytes of a stream: who speaks, what follows. Said once per stream, since neither changes
/// while a connection lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preamble {
    /// What the stream carries.
    pub kind: StreamKind,
    /// The sender's process: random, new at every start.
    pub epoch: u64,
}

/// What a stream carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamKind {
    /// Messages, dialler to dialled.
    Foreground,
    /// Messages that are long or can wait, dialler to dialled.
    Bulk,
    /// Nothing but the preamble, dialled to dialler: "you are let in".
    Hello,
}

/// Why bytes are not what they should be. The peer that sent them is disconnected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The stream does not begin as ours do.
    #[error("not a Dunlin stream")]
    NotOurs,
    /// The peer speaks another version.
    #[error("protocol version {0}; {PROTOCOL_VERSION} is spoken here")]
    Version(u16),
    /// A frame is longer than allowed, or empty.
    #[error("a frame of {length} bytes; 1 to {limit} are allowed")]
    Length {
        /// What its header says.
        length: usize,
        /// The limit.
        limit: usize,
    },
    /// The body is no message.
    #[error("not a message: {0}")]
    Body(String),
}

/// Turns messages into frames. Keeps its buffer. Public for the benchmarks in `tests/micro`, as is [`Decoder`].
#[derive(Debug, Default)]
pub struct Encoder {
    buffer: Vec<u8>,
}

/// Turns the bytes of a stream into messages, however they are cut.
#[derive(Debug)]
pub struct Decoder {
    buffer: BytesMut,
    max_frame_bytes: usize,
}

impl Preamble {
    /// As bytes.
    pub fn encode(self) -> [u8; PREAMBLE_BYTES] {
        let mut bytes = [0; PREAMBLE_BYTES];
        let (head, epoch) = bytes.split_at_mut(8);
        let (magic, rest) = head.split_at_mut(4);
        magic.copy_from_slice(&MAGIC);
        let (version, kind) = rest.split_at_mut(2);
        version.copy_from_slice(&PROTOCOL_VERSION.to_le_bytes());
        kind.copy_from_slice(&[self.kind.code(), 0]);
        epoch.copy_from_slice(&self.epoch.to_le_bytes());
        bytes
    }

    /// From bytes.
    pub fn decode(bytes: [u8; PREAMBLE_BYTES]) -> Result<Self, FrameError> {
        let mut rest = &bytes[..];
        if rest.get(..4) != Some(&MAGIC[..]) {
            return Err(FrameError::NotOurs);
        }
        rest.advance(4);
        let version = rest.get_u16_le();
        if version != PROTOCOL_VERSION {
            return Err(FrameError::Version(version));
        }
        let kind = StreamKind::from_code(rest.get_u8()).ok_or(FrameError::NotOurs)?;
        rest.advance(1);
        Ok(Self { kind, epoch: rest.get_u64_le() })
    }
}

impl StreamKind {
    fn code(self) -> u8 {
        match self {
            StreamKind::Foreground => 1,
            StreamKind::Bulk => 2,
            StreamKind::Hello => 3,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        [StreamKind::Foreground, StreamKind::Bulk, StreamKind::Hello].into_iter().find(|kind| kind.code() == code)
    }
}

impl Encoder {
    /// The frame of a message, header included. Fails only for a body above `max_frame_bytes`.
    pub fn encode(&mut self, message: &Message, max_frame_bytes: usize) -> Result<Bytes, FrameError> {
        self.buffer.clear();
        self.buffer.extend_from_slice(&[0; FRAME_HEADER_BYTES]);
        let mut serializer = rmp_serde::Serializer::new(&mut self.buffer);
        message.serialize(&mut serializer).map_err(|error| FrameError::Body(error.to_string()))?;
        let length = self.buffer.len() - FRAME_HEADER_BYTES;
        let header = u32::try_from(length).ok().filter(|_| length <= max_frame_bytes);
        let Some(header) = header else {
            self.give_back();
            return Err(FrameError::Length { length, limit: max_frame_bytes });
        };
        for (byte, value) in self.buffer.iter_mut().zip(header.to_le_bytes()) {
            *byte = value;
        }
        let frame = Bytes::copy_from_slice(&self.buffer);
        self.give_back();
        Ok(frame)
    }

    fn give_back(&mut self) {
        if self.buffer.capacity() > RETAINED_BUFFER_BYTES {
            self.buffer = Vec::new();
        }
    }
}

impl Decoder {
    /// Nothing read yet. Frames above the limit are refused by their header alone.
    pub fn new(max_frame_bytes: usize) -> Self {
        Self { buffer: BytesMut::new(), max_frame_bytes }
    }

    /// Room for the next read of at most [`READ_BYTES`]. It grows with what has come, never with what a
    /// header announces.
    pub fn room(&mut self) -> bytes::buf::Limit<&mut BytesMut> {
        if self.buffer.is_empty() && self.buffer.capacity() > RETAINED_BUFFER_BYTES {
            self.buffer = BytesMut::new();
        }
        self.buffer.reserve(READ_BYTES);
        bytes::BufMut::limit(&mut self.buffer, READ_BYTES)
    }

    /// The next whole message and the bytes it took; none until more bytes have come.
    pub fn next_message(&mut self) -> Result<Option<(Message, usize)>, FrameError> {
        let Some(header) = self.buffer.first_chunk::<FRAME_HEADER_BYTES>() else { return Ok(None) };
        let length = u32::from_le_bytes(*header) as usize;
        if length == 0 || length > self.max_frame_bytes {
            return Err(FrameError::Length { length, limit: self.max_frame_bytes });
        }
        let end = FRAME_HEADER_BYTES + length;
        let Some(body) = self.buffer.get(FRAME_HEADER_BYTES..end) else { return Ok(None) };
        let message = decode_body(body)?;
        self.buffer.advance(end);
        Ok(Some((message, end)))
    }
}

fn decode_body(body: &[u8]) -> Result<Message, FrameError> {
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(body);
    deserializer.set_max_depth(MAX_DEPTH);
    Message::deserialize(&mut deserializer).map_err(|error| FrameError::Body(error.to_string()))
}

#[cfg(test)]
mod tests;
