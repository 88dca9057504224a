//! The ticket: one line that an operator carries from a cluster to a new node.

use crate::base::{ClusterId, NodeId};
use crate::runtime::certificates::{Authority, CertificateError};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The first byte of every ticket.
const FORMAT: u8 = 1;

/// Enough to find a cut or mistyped line; the secret is what proves.
const CHECKSUM_BYTES: usize = 4;

/// Longest line that is looked at: a ticket has some 400 characters.
const MAX_TICKET_CHARACTERS: usize = 4096;

/// What the secrets of invitations are derived for.
const SECRET_CONTEXT: &str = "dunlin 1 secret of an authority's invitations";

/// What an operator has granted: one node, once, until then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitation {
    /// Random: tells it from all others.
    pub number: u64,
    /// The cluster that is joined.
    pub cluster: ClusterId,
    /// The one node that may take it: so it is used once, although no two nodes agree on anything.
    pub issuer: NodeId,
    /// What the node must be called; empty: its own affair.
    pub name: String,
    /// The zone it gets unless its settings name one.
    pub zone: String,
    /// Until when, in seconds since 1970.
    pub expires: u64,
}

/// An invitation with everything a node needs that knows nothing else.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// What is granted.
    pub invitation: Invitation,
    /// Proves that who has the authority's key has granted it. Known to whoever has the ticket.
    secret: [u8; 32],
    /// Fingerprint of the cluster's authority.
    pub(super) authority: [u8; 32],
    /// Where the issuer is dialled, `host:port`: its data endpoint.
    pub issuer_address: String,
    /// Membership addresses of some nodes.
    pub seeds: Vec<String>,
}

/// Why a text is no ticket.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    /// Nothing like one.
    #[error("this is no ticket; `dunlin cluster invite` prints one")]
    NoTicket,
    /// Of another version.
    #[error("this ticket has format {0}, this version knows {FORMAT}; make it with the version that the nodes run")]
    OtherFormat(u8),
    /// Cut or altered.
    #[error("this ticket is cut or altered; copy the whole line that `dunlin cluster invite` printed")]
    Damaged,
    /// Its time is over.
    #[error(
        "this ticket expired {0} s ago by this machine's clock; get a new one with `dunlin cluster invite`, or correct \
         the clock"
    )]
    Expired(u64),
}

impl Invitation {
    /// Has its time passed?
    pub(super) fn is_expired(&self, now: u64) -> bool {
        now > self.expires
    }

    /// What proves it, to who has the authority's key.
    pub(super) fn secret(&self, authority: &Authority) -> [u8; 32] {
        let bytes = rmp_serde::to_vec(self).expect("a Vec takes every byte and no length is unknown");
        *blake3::keyed_hash(&authority.derived_secret(SECRET_CONTEXT), &bytes).as_bytes()
    }
}

impl Ticket {
    /// Grants what the invitation says.
    pub fn new(
        authority: &Authority,
        invitation: Invitation,
        issuer_address: String,
        seeds: Vec<String>,
    ) -> Result<Self, CertificateError> {
        let (secret, fingerprint) = (invitation.secret(authority), authority.fingerprint()?);
        Ok(Self { invitation, secret, authority: fingerprint, issuer_address, seeds })
    }

    /// Reads the line. Says nothing of its time.
    pub fn parse(text: &str) -> Result<Self, TicketError> {
        let text = text.trim();
        if text.is_empty() || text.len() > MAX_TICKET_CHARACTERS {
            return Err(TicketError::NoTicket);
        }
        let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        if !text.bytes().all(is_digit) {
            return Err(TicketError::NoTicket);
        }
        // A line that was cut may end within a group of digits.
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| TicketError::Damaged)?;
        match bytes.first() {
            Some(&FORMAT) => {}
            Some(other) => return Err(TicketError::OtherFormat(*other)),
            None => return Err(TicketError::NoTicket),
        }
        let (content, sum) = bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or(TicketError::Damaged)?;
        if checksum(content) != *sum {
            return Err(TicketError::Damaged);
        }
        rmp_serde::from_slice(content.get(1..).unwrap_or_default()).map_err(|_| TicketError::Damaged)
    }

    /// Is there still time?
    pub fn check_time(&self) -> Result<(), TicketError> {
        let now = unix_seconds();
        match self.invitation.is_expired(now) {
            true => Err(TicketError::Expired(now.saturating_sub(self.invitation.expires))),
            false => Ok(()),
        }
    }

    pub(super) fn secret(&self) -> [u8; 32] {
        self.secret
    }
}

/// The line.
impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = vec![FORMAT];
        bytes.extend(rmp_serde::to_vec(self).map_err(|_| fmt::Error)?);
        bytes.extend(checksum(&bytes));
        f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

/// Without the secret: this is for logs.
impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { invitation, issuer_address, seeds, .. } = self;
        f.debug_struct("Ticket")
            .field("invitation", invitation)
            .field("issuer_address", issuer_address)
            .field("seeds", seeds)
            .finish_non_exhaustive()
    }
}

fn checksum(content: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let hash = *blake3::hash(content).as_bytes();
    hash.first_chunk().copied().unwrap_or_default()
}

/// The wall clock, as tickets count.
pub(super) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(in crate::runtime::join) const CLUSTER: ClusterId = ClusterId(0xc1);

    pub(in crate::runtime::join) fn invitation(number: u64) -> Invitation {
        let expires = unix_seconds() + 600;
        Invitation { number, cluster: CLUSTER, issuer: NodeId(7), name: "d".into(), zone: "east".into(), expires }
    }

    fn ticket() -> Ticket {
        let authority = Authority::generate(CLUSTER).unwrap();
        Ticket::new(&authority, invitation(1), "db1:7400".into(), vec!["db1:7401".into()]).unwrap()
    }

    #[test]
    fn a_ticket_survives_its_line_and_white_space_around() {
        let ticket = ticket();
        assert_eq!(Ticket::parse(&format!(" {ticket}\n")), Ok(ticket));
    }

    #[test]
    fn a_bad_line_is_told_apart() {
        let ticket = ticket();
        let line = ticket.to_string();
        for text in ["", "hello, world", "serve --join", &"A".repeat(MAX_TICKET_CHARACTERS + 1)] {
            assert_eq!(Ticket::parse(text), Err(TicketError::NoTicket), "{text}");
        }
        for cut in 3..line.len() {
            assert_eq!(Ticket::parse(&line[..cut]), Err(TicketError::Damaged), "{cut}");
        }
        let mut bytes = URL_SAFE_NO_PAD.decode(&line).unwrap();
        bytes[0] = 2;
        assert_eq!(Ticket::parse(&URL_SAFE_NO_PAD.encode(bytes)), Err(TicketError::OtherFormat(2)));
        let late = Ticket { invitation: Invitation { expires: 1, ..invitation(1) }, ..ticket };
        assert!(matches!(late.check_time(), Err(TicketError::Expired(_))));
    }

    #[test]
    fn a_ticket_in_a_log_keeps_its_secret() {
        let ticket = ticket();
        let shown = format!("{ticket:?}");
        assert!(
            shown.contains("db1:7401") && !shown.contains("secret") && !shown.contains(&format!("{:?}", ticket.secret))
        );
    }

    #[test]
    fn whoever_alters_an_invitation_cannot_prove_it() {
        let (one, two) = (Authority::generate(CLUSTER).unwrap(), Authority::generate(CLUSTER).unwrap());
        let secret = invitation(1).secret(&one);
        let again = Authority::from_pem(CLUSTER, one.certificate_pem(), &one.key_pem()).unwrap();
        assert_eq!(invitation(1).secret(&again), secret);
        assert_ne!(invitation(1).secret(&two), secret);
        assert_ne!(invitation(2).secret(&one), secret);
        assert_ne!(Invitation { name: "e".into(), ..invitation(1) }.secret(&one), secret);
    }

    proptest! {
        /// Rule: no text panics the reader.
        #[test]
        fn garbage_never_panics(text in "\\PC{0,200}", bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Ticket::parse(&text);
            let mut framed = vec![FORMAT];
            framed.extend(&bytes);
            framed.extend(checksum(&framed));
            prop_assert!(Ticket::parse(&URL_SAFE_NO_PAD.encode(framed)).is_err());
        }
    }
}
