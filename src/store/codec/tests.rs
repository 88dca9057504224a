use super::block::decompress;
use super::*;
use crate::base::HybridTime;
use crate::causal::{Actor, Content, Dot, DotSet, Object, Version};
use crate::ring::PartitionId;
use crate::store::Body;
use proptest::prelude::*;

const ALGORITHMS: &[Compression] = if cfg!(feature = "runtime") {
    &[Compression::None, Compression::Lz4, Compression::Zstd]
} else {
    &[Compression::None, Compression::Lz4]
};

fn codec(rules: impl Into<CompressionRules>) -> Codec {
    Codec::new(rules.into(), DataKeys::default())
}

fn put(key: &str, value: Vec<u8>) -> Record {
    let dot = Dot { actor: Actor(7), counter: 1 };
    let content = Content {
        value: value.into(),
        content_type: "text/plain".into(),
        metadata: vec![],
        written_at: HybridTime(1),
        expires_at: None,
    };
    let object = Object { versions: vec![Version { dot, content }], leftover: DotSet::EMPTY };
    let key = Key::new(key.to_owned()).unwrap();
    Record { partition: PartitionId(3), body: Body::Object { key, object, dots: dot.into(), minted: Some(1) } }
}

/// Bytes that do not repeat.
fn noise(length: usize) -> Vec<u8> {
    let mut random = crate::base::Random::from_seed(length as u64);
    (0..length).map(|_| random.u64() as u8).collect()
}

proptest! {
    #[test]
    fn what_is_encoded_comes_back_under_any_rules(
        pieces in proptest::collection::vec("[a-z]{1,9}", 0..200),
        written in proptest::sample::select(ALGORITHMS),
        since in proptest::sample::select(ALGORITHMS),
    ) {
        let record = put("k", pieces.join(" ").into_bytes());
        let Stored { encoding, bytes } = codec(written).encode(&record);
        prop_assert_eq!(codec(since).decode(encoding, &bytes), Ok(record.clone()));
        let again = codec(since).encode_again(&Key::new("k").unwrap(), encoding, bytes).unwrap();
        prop_assert_eq!(&again, &codec(since).encode(&record));
        prop_assert_eq!(codec(written).decode(again.encoding, &again.bytes), Ok(record));
    }

    #[test]
    fn no_bytes_make_a_decoder_panic_or_give_more_than_is_allowed(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        compression in proptest::sample::select(ALGORITHMS),
    ) {
        let plain = decompress(compression, &bytes, 1000);
        prop_assert!(plain.is_none_or(|plain| plain.len() <= 1000));
        let record = codec(Compression::None).decode(Encoding { compression, data_key: 0 }, &bytes);
        prop_assert!(record.is_err());
    }
}

#[test]
fn what_repeats_becomes_shorter() {
    let record = put("k", b"all work and no play ".repeat(50));
    let plain = codec(Compression::None).encode(&record).bytes.len();
    for compression in &ALGORITHMS[1..] {
        let stored = codec(*compression).encode(&record);
        assert_eq!(stored.encoding.compression, *compression);
        assert!(stored.bytes.len() * 4 < plain, "{compression:?}");
    }
}

#[test]
fn what_does_not_pay_is_stored_as_it_is() {
    let short = put("k", b"aaaaaaaaaaaaaaaaaaaaaaaa".to_vec());
    // A tenth of it repeats.
    let dense = put("k", [noise(900), vec![7; 100]].concat());
    for record in [short, dense, put("k", noise(5000))] {
        for compression in ALGORITHMS {
            assert_eq!(codec(*compression).encode(&record), codec(Compression::None).encode(&record));
        }
    }
}

#[test]
fn a_block_that_lies_about_its_length_is_refused() {
    let record = put("k", b"all work and no play ".repeat(50));
    for compression in &ALGORITHMS[1..] {
        let Stored { encoding, bytes } = codec(*compression).encode(&record);
        let honest = u32::from_le_bytes(bytes[..4].try_into().unwrap());
        for lie in [0, honest - 1, honest + 1, MAX_PAYLOAD_BYTES as u32 + 1, u32::MAX] {
            let lying = [&lie.to_le_bytes(), &bytes[4..]].concat();
            assert_eq!(codec(Compression::None).decode(encoding, &lying), Err(Undecodable::NotCompressed), "{lie}");
        }
    }
}

#[test]
fn what_is_too_long_to_be_read_back_is_not_made_to_fit() {
    let plain = vec![0; MAX_PAYLOAD_BYTES + 1];
    assert_eq!(compressed(Compression::Lz4, plain).0, Compression::None);
}

#[test]
fn only_flags_that_can_be_decoded_are_known() {
    for flags in 0..=u16::MAX {
        if let Some(encoding) = Encoding::of_flags(flags) {
            assert_eq!(encoding.flags(), flags);
            assert!(ALGORITHMS.contains(&encoding.compression));
        }
    }
}

/// Records between blank lines, as `apt-cache dumpavail` prints them; every so many of them.
fn sample(every: usize) -> Vec<Record> {
    let file = std::env::var("DUNLIN_SAMPLE").expect("DUNLIN_SAMPLE names a file of records between blank lines");
    let text = std::fs::read(file).unwrap();
    let text = String::from_utf8_lossy(&text);
    let values = text.split("\n\n").filter(|value| !value.is_empty()).step_by(every);
    values.zip(0..).map(|(value, number)| put(&format!("package/{number:08}"), value.into())).collect()
}

/// Microseconds for each of `count`, the best of three rounds.
fn microseconds(count: usize, mut round: impl FnMut()) -> f64 {
    let once = |_| {
        let begin = std::time::Instant::now();
        round();
        begin.elapsed().as_secs_f64() * 1e6 / count as f64
    };
    (0..3).map(once).fold(f64::MAX, f64::min)
}

#[test]
#[ignore = "measures a file; run in release with DUNLIN_SAMPLE set"]
fn microseconds_and_bytes_of_each_algorithm() {
    let records = sample(6);
    let plain: usize = records.iter().map(|record| codec(Compression::None).encode(record).bytes.len()).sum();
    println!("{} records of {} bytes", records.len(), plain / records.len());
    for compression in ALGORITHMS {
        let codec = codec(*compression);
        let stored: Vec<Stored> = records.iter().map(|record| codec.encode(record)).collect();
        let bytes: usize = stored.iter().map(|stored| stored.bytes.len()).sum();
        let skipped = stored.iter().filter(|stored| stored.encoding == Encoding::PLAIN).count();
        let write = microseconds(records.len(), || records.iter().for_each(|record| drop(codec.encode(record))));
        let read = microseconds(records.len(), || {
            stored.iter().for_each(|Stored { encoding, bytes }| drop(codec.decode(*encoding, bytes).unwrap()));
        });
        let share = bytes as f64 / plain as f64;
        println!("{compression:?}: {share:.3}, {skipped} as they are, {write:.2} us to encode, {read:.2} to decode");
    }
}
