//! The HTTP API of a node (docs/http-api.md).
//!
//! ```text
//!  socket -> server -> service -> path, parameters, conditions, body -> Command
//!                                                                          |  core (bounded queue)
//!  socket <- server <- answer  <- read (shown, siblings), write, problem <- Outcome
//! ```
//!
//! Owns: the words of HTTP: keys in paths, knobs, tokens as headers, statuses, problems. Must not know:
//! how a command is carried out, or which thread does it. Invariant: a status never says more than the
//! outcome did: 503 is "nothing was written", 504 on a write is "unknown", and a token covers nothing
//! the client was not shown.

mod accept;
mod answer;
mod body;
mod cluster;
mod conditions;
mod core;
mod layout;
mod list;
mod list_parameters;
mod parameters;
mod path;
mod patient;
mod problem;
mod read;
mod server;
mod service;
mod shown;
mod siblings;
mod state;
mod timestamp;
mod walk;
mod write;

pub use self::core::{Asked, COMMAND_QUEUE, CoreHandle, CoreRequest};
pub use body::BodyBudget;
pub use list::MAX_LISTINGS;
pub use list_parameters::{DEFAULT_LIMIT, MAX_LIMIT};
pub use parameters::{MAX_TIMEOUT_MS, MAX_TTL_MS};
pub use problem::Code;
pub use server::{Dealt, MAX_DEALT, serve, serve_dealt, serve_shared};
pub use siblings::{MAX_CONFLICT_BYTES, MAX_ENVELOPE_BYTES};
pub use state::{
    BODY_TIMEOUT, HEADER_TIMEOUT, HttpLimits, HttpState, MAX_BODY_BYTES_HELD, MAX_CONNECTIONS, MAX_HEADER_BYTES,
    MAX_HEADERS, TokenSecrets, WRITE_TIMEOUT, system_wall_clock,
};
pub use write::{MAX_CONTENT_TYPE_BYTES, MAX_METADATA_BYTES};
