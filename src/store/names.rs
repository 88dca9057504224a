//! Which files of a data directory are the store's.

use super::FileName;
use super::checkpoint::is_checkpoint;
use super::cipher::{keys_name, new_keys_name};
use super::identity::{
    doubt_name, genesis_name, identity_name, marker_name, new_identity_name, unfinished_backup_name,
};
use super::key_file::segment_of_key_file;
use super::segment::{is_quarantine, is_unfinished, segment_of};

/// Is this the name of a file that a store makes or heeds? Others are left alone.
pub fn is_store_file(name: &FileName) -> bool {
    let markers = [marker_name(), doubt_name(), genesis_name(), unfinished_backup_name()];
    let own = [identity_name(), new_identity_name(), keys_name(), new_keys_name()];
    own.contains(name)
        || markers.contains(name)
        || segment_of(name).is_some()
        || segment_of_key_file(name).is_some()
        || is_unfinished(name)
        || is_quarantine(name)
        || is_checkpoint(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::MemoryDisk;
    use crate::store::segment::{quarantine_name, unfinished_name};
    use crate::store::{Birth, CodecOptions, Disk, Durability, Encryption, OpenOptions, SecretKey, open};
    use std::sync::Arc;

    #[test]
    fn every_file_that_a_store_makes_is_its_own_and_no_other() {
        let disk = Arc::new(MemoryDisk::default());
        let secret = SecretKey::new([1; 32]);
        let encryption = Encryption { master_keys: vec![secret.clone()], fresh_data_key: secret };
        let options = OpenOptions {
            fresh_actor: crate::causal::Actor(7),
            segment_bytes: 4096,
            durability: Durability::Fsync,
            boot: 1,
            birth: Birth::Complete,
            codec: CodecOptions { encryption: Some(encryption), ..CodecOptions::default() },
        };
        let mut log = open(disk.clone(), options).unwrap().log;
        let body = crate::store::Body::Join { dots: crate::causal::DotSet::EMPTY };
        let record = crate::store::Record { partition: crate::ring::PartitionId(1), body };
        (0..300).for_each(|_| drop(log.append(std::slice::from_ref(&record)).unwrap()));
        log.do_jobs().unwrap();
        let names = disk.list().unwrap();
        let has = |part: &str| names.iter().any(|name| name.0.contains(part));
        assert!(["identity", ".log", ".idx", "checkpoint-"].into_iter().all(has), "{names:?}");
        assert!(names.contains(&keys_name()), "{names:?}");
        assert_eq!(names.iter().find(|name| !is_store_file(name)), None);
        assert!(is_store_file(&quarantine_name(7)) && is_store_file(&unfinished_name(7)));
        assert!(is_store_file(&new_keys_name()));
        for name in ["segment-00000001.log.bak", "identity~", "layout.json", "checkpoint", "damaged-7.log"] {
            assert!(!is_store_file(&FileName(name.into())), "{name}");
        }
    }
}
