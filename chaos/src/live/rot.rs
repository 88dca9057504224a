//! Bytes of a running node's sealed segments change behind its back.

use dunlin::base::Random;
use std::fs::{File, read_dir};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Segments of so many bytes are sealed soon; the least that is allowed.
pub(super) const SEGMENT_BYTES: &str = "1MiB";

/// One sealed segment in so many rots.
const ROTTEN_ONE_IN: u64 = 3;

/// Bytes changed in each.
const BYTES_EACH: u64 = 40;

/// What was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rot {
    pub(super) segments: usize,
    pub(super) bytes: u64,
}

/// Changes bytes of some of the sealed segments in a node's data directory.
pub(super) fn rot(data: &Path, random: &mut Random) -> io::Result<Rot> {
    let mut sealed: Vec<PathBuf> = Vec::new();
    for entry in read_dir(data)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let number = name.strip_prefix("keys-").and_then(|rest| rest.strip_suffix(".idx"));
        sealed.extend(number.map(|number| data.join(format!("segment-{number}.log"))));
    }
    sealed.sort();
    let mut rot = Rot { segments: 0, bytes: 0 };
    for path in sealed {
        if random.below(ROTTEN_ONE_IN) > 0 && rot.segments > 0 {
            continue;
        }
        // Compaction may have taken it away this instant.
        if let Ok(file) = File::options().read(true).write(true).open(path) {
            rot.bytes += change(&file, random)?;
            rot.segments += 1;
        }
    }
    Ok(rot)
}

fn change(file: &File, random: &mut Random) -> io::Result<u64> {
    let length = file.metadata()?.len();
    for _ in 0..BYTES_EACH {
        let (at, mut byte) = (random.below(length.max(1)), [0]);
        file.read_exact_at(&mut byte, at)?;
        file.write_all_at(&[byte[0] ^ (1 << random.below(8))], at)?;
    }
    Ok(BYTES_EACH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sealed_segments_rot() {
        let directory = std::env::temp_dir().join(format!("dunlin-rot-{}", std::process::id()));
        std::fs::create_dir(&directory).unwrap();
        for name in ["segment-00000001.log", "keys-00000001.idx", "segment-00000002.log", "identity"] {
            std::fs::write(directory.join(name), [7; 5000]).unwrap();
        }
        let rot = rot(&directory, &mut Random::from_seed(1)).unwrap();
        assert_eq!(rot, Rot { segments: 1, bytes: BYTES_EACH });
        let intact = |name: &str| std::fs::read(directory.join(name)).unwrap() == [7; 5000];
        assert!(!intact("segment-00000001.log"));
        assert!(["keys-00000001.idx", "segment-00000002.log", "identity"].into_iter().all(intact));
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
