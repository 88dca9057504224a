//! Why a connection is closed, as the other side is told.

use quinn::{Connection, VarInt};

/// The reason and its code on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Close {
    /// The node stops.
    Stopping,
    /// The certificate is not one of this cluster's other nodes, or there are too many peers.
    Refused,
    /// What came was not as it should be.
    Malformed,
    /// The same peer has dialled again.
    Replaced,
    /// The dialler dials again: another address, or a restarted peer.
    Redialling,
    /// Not used for a while.
    Idle,
    /// The node is on this cluster's list of banned nodes.
    Banned,
}

impl Close {
    /// The code on the wire; never given a new meaning.
    pub(crate) fn code(self) -> VarInt {
        VarInt::from_u32(match self {
            Close::Stopping => 0,
            Close::Refused => 1,
            Close::Malformed => 2,
            Close::Replaced => 3,
            Close::Redialling => 4,
            Close::Idle => 5,
            Close::Banned => 6,
        })
    }

    /// For people.
    pub(crate) fn words(self) -> &'static [u8] {
        match self {
            Close::Stopping => b"stopping",
            Close::Refused => b"refused",
            Close::Malformed => b"malformed",
            Close::Replaced => b"replaced",
            Close::Redialling => b"redialling",
            Close::Idle => b"idle",
            Close::Banned => b"banned",
        }
    }

    /// Closes.
    pub(crate) fn close(self, connection: &Connection) {
        connection.close(self.code(), self.words());
    }
}
