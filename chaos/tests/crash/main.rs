//! Crash tests of the store: every prefix of its disk calls, every un-synced change kept or lost,
//! every byte flipped.

mod damage;
mod model;
mod power;
