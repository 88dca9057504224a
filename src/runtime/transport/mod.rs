//! Messages between nodes over QUIC: best effort, authenticated, bounded. docs/wire-protocol.md has the page.
//!
//! ```text
//!   node --send--> Peer: queue, bulk queue --one connection per direction--> Reader --Received--> node
//!                        one task: dial, write                Acceptor: who are you?
//! ```
//!
//! Owns: the data endpoint's socket, connections, queues; how a message looks on the wire. Must not know:
//! what messages mean, who is a member, what is up. Invariant: a message is delivered whole, once or not
//! at all, under the identity that TLS has proved; whatever one peer does costs the others nothing.

mod accept;
mod close;
mod counters;
mod endpoint;
mod frame;
mod inboxes;
pub mod limits;
mod peer;
mod peers;
mod queue;
mod reader;
mod received;
mod refusal;

pub use counters::TransportCounters;
pub use endpoint::TransportError;
pub use frame::{
    Decoder, Encoder, FRAME_HEADER_BYTES, FrameError, PREAMBLE_BYTES, PROTOCOL_VERSION, Preamble, StreamKind,
};
pub use peers::{Transport, TransportConfig};
pub use received::Received;

pub(super) use accept::{Acceptor, Guests};
pub(super) use close::Close;
pub(super) use counters::Counters;
pub(super) use endpoint::{DialError, EndpointKeys, JOIN_PROTOCOL, Purpose, dial, guest_settings, open};
pub(super) use refusal::{NO_SUCH_PROTOCOL, advice, alert_of};
