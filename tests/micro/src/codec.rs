//! The messages of a PUT and a GET as bytes, as the transport encodes them, without its frame.

use super::samples::{actor, dot, filled, key, new_content};
use super::{Case, Operation, operation};
use dunlin::causal::DotSet;
use dunlin::replication::{
    Claim, Command, Condition, Known, Message, Operation as Asked, Options, ReadReply, StoreReply, Want,
};
use serde::{Deserialize, Serialize};
use std::hint::black_box;

/// The cases.
pub const CASES: &[Case] = &[
    case("forward a put: encode", || encode(forward())),
    case("forward a put: decode", || decode(&forward())),
    case("read: encode", || encode(read())),
    case("read: decode", || decode(&read())),
    case("read answer, same: encode", || encode(answer(ReadReply::Same))),
    case("read answer, same: decode", || decode(&answer(ReadReply::Same))),
    case("read answer, state: encode", || encode(answer(state()))),
    case("read answer, state: decode", || decode(&answer(state()))),
    case("replicate: encode", || encode(replicate())),
    case("replicate: decode", || decode(&replicate())),
    case("replicated: encode", || encode(replicated())),
    case("replicated: decode", || decode(&replicated())),
];

const fn case(name: &'static str, prepare: fn() -> Operation) -> Case {
    Case { group: "codec", name, rounds: 1000, prepare }
}

/// Into a buffer that is kept, as the transport does.
fn encode(message: Message) -> Operation {
    let mut buffer = Vec::new();
    operation(move || {
        buffer.clear();
        let mut serializer = rmp_serde::Serializer::new(&mut buffer);
        black_box(&message).serialize(&mut serializer).expect("a message can be encoded");
        buffer.len()
    })
}

fn decode(message: &Message) -> Operation {
    let bytes = rmp_serde::to_vec(message).expect("a message can be encoded");
    operation(move || {
        let mut deserializer = rmp_serde::Deserializer::from_read_ref(black_box(&bytes));
        Message::deserialize(&mut deserializer).expect("it was encoded so")
    })
}

fn forward() -> Message {
    let operation = Asked::Write { content: Some(new_content()), seen: None, condition: Condition::Always };
    let command = Command { key: key(1), operation, options: Options::default() };
    Message::Forward { request: 1 << 20, command, claim: Claim::Complete }
}

fn read() -> Message {
    let known = Known { live_hash: u64::MAX / 3, context_hash: u64::MAX / 5 };
    Message::Read { request: 1 << 20, key: key(1), known: Some(known), want: Want::Values, layout: 1 }
}

fn answer(reply: ReadReply) -> Message {
    Message::ReadAnswer { request: 1 << 20, reply }
}

fn state() -> ReadReply {
    ReadReply::State(filled(dot(0, 1000)))
}

/// The whole state of a key.
pub(crate) fn replicate() -> Message {
    let dot = dot(0, 1000);
    let (state, dots) = (filled(dot), DotSet::from(dot));
    Message::Replicate { request: 1 << 20, key: key(1), state, dots, hint_for: Vec::new(), layout: 1 }
}

fn replicated() -> Message {
    let reply = StoreReply::Durable { actor: actor(1), refilled: Vec::new() };
    Message::Replicated { request: 1 << 20, reply }
}
