//! Watches the room on the disk, so that puts are refused before it is full.

use super::metrics::Metrics;
use crate::node::Space;
use crate::store::Disk;
use std::sync::Arc;

/// Puts are taken again when this much more than the reserve is free, as a share of it: a disk at the edge must
/// not change its mind with every segment.
const RELEASE_SHARE: u64 = 8;

/// Compares free space with the reserve.
pub(super) struct SpaceWatch<D> {
    disk: Arc<D>,
    reserve_bytes: u64,
    space: Space,
    metrics: Arc<Metrics>,
}

impl<D: Disk> SpaceWatch<D> {
    /// `reserve_bytes` are kept free of puts; 0 keeps none.
    pub(super) fn new(disk: Arc<D>, reserve_bytes: u64, metrics: Arc<Metrics>) -> Self {
        Self { disk, reserve_bytes, space: Space::Plenty, metrics }
    }

    /// What there is room for, if that has changed. A file system that does not say keeps its last answer.
    pub(super) fn look(&mut self) -> Option<Space> {
        let (free, _) =
            self.disk.free_space().inspect_err(|error| tracing::warn!(%error, "free space unknown")).ok()?;
        self.metrics.disk_free(free);
        let wanted = match self.space {
            Space::Plenty => self.reserve_bytes,
            Space::Reserve => self.reserve_bytes.saturating_add(self.reserve_bytes / RELEASE_SHARE),
        };
        let space = if free < wanted { Space::Reserve } else { Space::Plenty };
        if space == self.space {
            return None;
        }
        match space {
            Space::Reserve => {
                tracing::error!(free, reserve = self.reserve_bytes, "disk reserve reached: puts are refused")
            }
            Space::Plenty => tracing::info!(free, "disk has room again: puts are taken"),
        }
        self.space = space;
        Some(space)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{DiskError, FileName};
    use std::sync::atomic::{AtomicU64, Ordering};

    /// A disk that only says how much of it is free.
    struct Free(AtomicU64);

    impl Disk for Free {
        type File = ();
        fn create(&self, _: &FileName) -> Result<(), DiskError> {
            unreachable!()
        }
        fn open(&self, _: &FileName) -> Result<(), DiskError> {
            unreachable!()
        }
        fn allocate(&self, (): &(), _: u64) -> Result<(), DiskError> {
            unreachable!()
        }
        fn write_at(&self, (): &(), _: u64, _: &[u8]) -> Result<(), DiskError> {
            unreachable!()
        }
        fn read_at(&self, (): &(), _: u64, _: usize) -> Result<Vec<u8>, DiskError> {
            unreachable!()
        }
        fn sync(&self, (): &()) -> Result<(), DiskError> {
            unreachable!()
        }
        fn len(&self, (): &()) -> Result<u64, DiskError> {
            unreachable!()
        }
        fn list(&self) -> Result<Vec<FileName>, DiskError> {
            unreachable!()
        }
        fn remove(&self, _: &FileName) -> Result<(), DiskError> {
            unreachable!()
        }
        fn rename(&self, _: &FileName, _: &FileName) -> Result<(), DiskError> {
            unreachable!()
        }
        fn sync_dir(&self) -> Result<(), DiskError> {
            unreachable!()
        }
        fn free_space(&self) -> Result<(u64, u64), DiskError> {
            Ok((self.0.load(Ordering::Relaxed), 1 << 40))
        }
        fn lock(&self) -> Result<(), DiskError> {
            unreachable!()
        }
        fn identity(&self) -> Result<u64, DiskError> {
            unreachable!()
        }
    }

    #[test]
    fn puts_stop_at_the_reserve_and_go_on_well_above_it() {
        let disk = Arc::new(Free(AtomicU64::new(1000)));
        let mut watch = SpaceWatch::new(disk.clone(), 800, Arc::new(Metrics::new()));
        let looks = [(1000, None), (800, None), (799, Some(Space::Reserve)), (850, None), (900, Some(Space::Plenty))];
        for (free, expected) in looks {
            disk.0.store(free, Ordering::Relaxed);
            assert_eq!(watch.look(), expected, "{free} bytes free");
        }
    }
}
