//! How a node with an empty directory becomes a member: a ticket, one question, one answer.
//!
//! ```text
//!   operator: cluster invite --ticket--> operator: serve --join TICKET
//!                                         Candidate --request, over TLS pinned to the ticket--> Desk (the issuer)
//!                                                   <--certificate, secrets, layout------------ Book: used tickets
//! ```
//!
//! Owns: tickets, the exchange (docs/wire-protocol.md has it byte by byte), the issuer's list of used
//! tickets, the files a joined node begins with. Must not know: placement; a joined node owns nothing until the
//! layout says so. Invariant: a ticket lets in one node, once, before it expires (decision 0042); nothing
//! is believed of the other side before the pinned authority, or the ticket's secret, has proved it.

mod book;
mod candidate;
mod desk;
mod files;
mod inquiry;
mod message;
mod pinned;
mod ticket;

pub use candidate::{Candidate, Prepared, prepare};
pub use files::kept_settings;
pub use ticket::{Invitation, Ticket, TicketError};

pub(super) use desk::Desk;
pub(super) use files::{JOINED_FILES, is_join_file};
