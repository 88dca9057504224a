//! Floor 5: a small client of the HTTP API, for the command line, the benchmark and chaos.
//!
//! Owns: connections kept open per node, keys in paths, telling "never sent" from "unknown". Must not
//! know: what an answer means to its caller. Invariant: a request is sent at most once.

mod connection;
mod lane;
mod request;

pub use connection::{ANSWER_TIMEOUT, Client, ClientError, IDLE_TIMEOUT, MAX_ANSWER_BYTES, MAX_IDLE_PER_NODE};
pub use hyper::{HeaderMap, Method, StatusCode};
pub use lane::{Lane, LaneAnswer};
pub use request::{Answer, Request, key_path};
