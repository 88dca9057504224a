use super::*;
use crate::base::{HybridTime, Key, NodeId};
use crate::causal::{Actor, Content, Dot, DotSet, Filled, Version};

fn replicate(value: &[u8]) -> Message {
    let content = Content {
        value: Bytes::copy_from_slice(value),
        content_type: String::new(),
        metadata: Vec::new(),
        written_at: HybridTime::default(),
        expires_at: None,
    };
    Message::Replicate {
        request: 7,
        key: Key::new(&b"key"[..]).unwrap(),
        state: Filled {
            versions: vec![Version { dot: Dot { actor: Actor(1), counter: 1 }, content }],
            context: DotSet::EMPTY,
        },
        dots: DotSet::EMPTY,
        hint_for: vec![NodeId(3)],
        layout: 1,
    }
}

fn fed(decoder: &mut Decoder, bytes: &[u8]) {
    bytes::BufMut::put_slice(&mut decoder.room(), bytes);
}

#[test]
fn a_message_survives_the_wire_however_it_is_cut() {
    let (message, mut decoder) = (replicate(b"value"), Decoder::new(1 << 20));
    let frame = Encoder::default().encode(&message, 1 << 20).unwrap();
    for byte in &frame {
        assert_eq!(decoder.next_message(), Ok(None));
        fed(&mut decoder, &[*byte]);
    }
    assert_eq!(decoder.next_message(), Ok(Some((message, frame.len()))));
    assert_eq!(decoder.next_message(), Ok(None));
}

#[test]
fn values_travel_as_binary_and_not_as_arrays_of_numbers() {
    let frame = |length| Encoder::default().encode(&replicate(&vec![0xff; length]), 1 << 20).unwrap();
    assert_eq!(frame(2000).len() - frame(1000).len(), 1000);
    assert!(frame(1000).windows(3).any(|bytes| bytes == [0xc5, 0x03, 0xe8]), "bin 16 of 1000 bytes");
}

#[test]
fn a_frame_is_refused_by_its_header_alone() {
    let mut decoder = Decoder::new(100);
    fed(&mut decoder, &101u32.to_le_bytes());
    assert_eq!(decoder.next_message(), Err(FrameError::Length { length: 101, limit: 100 }));
    let mut decoder = Decoder::new(100);
    fed(&mut decoder, &[0; 4]);
    assert_eq!(decoder.next_message(), Err(FrameError::Length { length: 0, limit: 100 }));
}

#[test]
fn a_message_above_the_limit_is_not_sent() {
    let mut encoder = Encoder::default();
    let exact = encoder.encode(&replicate(&[0; 500]), 1 << 20).unwrap().len() - FRAME_HEADER_BYTES;
    assert!(encoder.encode(&replicate(&[0; 500]), exact).is_ok());
    assert!(matches!(encoder.encode(&replicate(&[0; 501]), exact), Err(FrameError::Length { .. })));
}

#[test]
fn garbage_and_deep_nesting_are_no_messages() {
    for body in [vec![0xc1; 9], vec![0x91; 100_000], vec![0xff], vec![0xdd, 0xff, 0xff, 0xff, 0xff]] {
        let mut decoder = Decoder::new(1 << 20);
        fed(&mut decoder, &u32::try_from(body.len()).unwrap().to_le_bytes());
        fed(&mut decoder, &body);
        assert!(matches!(decoder.next_message(), Err(FrameError::Body(_))));
    }
}

#[test]
fn a_preamble_survives_and_strangers_are_told_apart() {
    let preamble = Preamble { kind: StreamKind::Bulk, epoch: 0x0102_0304_0506_0708 };
    let bytes = preamble.encode();
    assert_eq!(Preamble::decode(bytes), Ok(preamble));
    let with = |at: usize, value: u8| {
        let mut other = bytes;
        other[at] = value;
        Preamble::decode(other)
    };
    assert_eq!(with(0, b'X'), Err(FrameError::NotOurs));
    assert_eq!(with(4, 9), Err(FrameError::Version(9)));
    assert_eq!(with(6, 9), Err(FrameError::NotOurs));
}
