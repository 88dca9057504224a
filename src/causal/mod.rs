//! Floor 1: causality. Every write is a dot in its partition's clock, and that clock is the truth.
//!
//! Owns: dots, exact dot sets (clocks and contexts), objects with their siblings, the token a client
//! carries. Must not know: nodes, messages, disks, time-outs. Invariant: a dot is in the clock if and
//! only if its effect is in the store; contexts are exact sets and never claim a dot nobody showed.
//!
//! Sources: Gonçalves, Almeida, Baquero, Fonte, "DottedDB" (SRDS 2017); "Concise server-wide causality
//! management" (2014); Preguiça et al., "Dotted version vectors" (2012); riak_core `dvvset.erl`.

mod dot;
mod dot_set;
mod intervals;
mod object;
mod token;

pub use dot::{Actor, Dot};
pub use dot_set::DotSet;
pub use intervals::Intervals;
pub use object::{Content, Filled, Object, Outline, Version, bytes_of, bytes_of_all, entry_hash, live_hash};
pub use token::{MAX_TOKEN_BYTES, Token, TokenError, TokenSecret};
