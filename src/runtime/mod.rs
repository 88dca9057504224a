//! Floor 5: the world around a node: sockets, files, threads, clocks.
//!
//! ```text
//!   http tasks --commands--> +--------+ <--batches-- transport (QUIC)      detector thread (QUIC)
//!              <--outcomes-- | driver | --messages-> transport                 | members
//!   status <-----watch------ | (Node) | <----------- views -------------------+
//!                            +--------+ --appends--> flusher thread --answers--> driver
//!                                |------cold reads--> reader threads --answers--> driver
//!                                |------listings----> listing threads --pages---> driver
//! ```
//!
//! Each shard has a thread with a driver, its HTTP tasks, its readers; the first one has the rest, too (decision 0035).
//!
//! Owns: everything that waits. Must not know: how a node decides, nor the command line. Invariant:
//! nothing here changes what a command means; it carries what the core asks for.

mod alarm;
mod append_queue;
pub mod backup;
pub mod certificates;
mod cold_reads;
mod compaction_pace;
mod compactor;
mod control_handle;
pub mod detector;
pub mod disk;
mod driver;
mod drivers;
pub mod encryption;
mod flusher;
mod hot_cache;
pub mod http;
mod identity;
pub mod join;
mod kept_layouts;
pub mod layout_desk;
mod listings;
pub mod log_jobs;
mod membership;
pub mod metrics;
pub mod open_files;
mod scrubber;
mod serve_error;
pub mod server;
pub mod settings;
mod shards;
mod space;
pub mod status;
mod status_board;
mod transfer_estimate;
pub mod transport;
mod unknown_files;
mod upkeep;
