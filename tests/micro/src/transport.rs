//! Frames: what is written to a stream, and what is read from one.

use super::codec::replicate;
use super::{Case, Operation, operation};
use bytes::BufMut;
use dunlin::runtime::transport::{Decoder, Encoder};
use std::hint::black_box;
use std::iter;

/// The cases.
pub const CASES: &[Case] = &[
    case("frame 1 replicate", 1000, || encode(1)),
    case("frame 64 replicates", 50, || encode(64)),
    case("unframe 1 replicate", 1000, || decode(1)),
    case("unframe 64 replicates", 50, || decode(64)),
];

/// Longer than any frame here.
const MAX_FRAME_BYTES: usize = 1 << 20;

const fn case(name: &'static str, rounds: u32, prepare: fn() -> Operation) -> Case {
    Case { group: "transport", name, rounds, prepare }
}

fn encode(messages: usize) -> Operation {
    let (mut encoder, message) = (Encoder::default(), replicate());
    operation(move || {
        let frame = |_| encoder.encode(black_box(&message), MAX_FRAME_BYTES).expect("it is short");
        (0..messages).map(frame).collect::<Vec<_>>()
    })
}

/// All of them come with one read.
fn decode(messages: usize) -> Operation {
    let frame = Encoder::default().encode(&replicate(), MAX_FRAME_BYTES).expect("it is short");
    let (bytes, mut decoder) = (frame.repeat(messages), Decoder::new(MAX_FRAME_BYTES));
    operation(move || {
        decoder.room().put_slice(black_box(&bytes));
        let next = || decoder.next_message().expect("it was framed so");
        let decoded: Vec<_> = iter::from_fn(next).collect();
        assert_eq!(decoded.len(), messages, "one read has room for all");
        decoded
    })
}
