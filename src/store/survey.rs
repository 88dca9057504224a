//! What lies in the directory, before anything is decided: files, headers, the frames of the tail.

use super::checkpoint::Checkpoint;
use super::identity::{FoundIdentity, Identity, doubt_name, genesis_name, marker_name, unfinished_backup_name};
use super::scan::Scan;
use super::sealed::{SealedLog, SealedSegment};
use super::segment::{HeaderError, Origin, SEGMENT_HEADER_BYTES, SegmentHeader, segment_name, segment_of};
use super::{Disk, DiskError, DiskErrorKind, OpenError, Sequence};
use std::collections::{BTreeMap, BTreeSet};

/// The directory as it was found.
pub(super) struct Survey {
    pub(super) identity: FoundIdentity,
    /// The last process could not vouch for the disk.
    pub(super) poisoned: bool,
    /// The last process could not verify a record.
    pub(super) doubted: bool,
    /// The operator says that this is a new cluster's directory.
    pub(super) genesis: bool,
    /// What the manifest says is sealed, if there is a manifest to go by and its checkpoint is intact;
    /// otherwise nothing is, and every segment is tail.
    pub(super) sealed: Option<(SealedLog, Option<Checkpoint>)>,
    /// Sealed segments that are not as the manifest says.
    pub(super) unsound: BTreeMap<u32, Unsound>,
    /// The tail: segments with an intact header.
    pub(super) segments: BTreeMap<u32, FoundSegment>,
    /// Tail segments whose header cannot be read.
    pub(super) headless: Vec<u32>,
    /// Segments that count for nothing: compacted away, or a compaction that was not finished.
    pub(super) spent: Vec<u32>,
    /// The highest segment number seen or spoken of.
    pub(super) highest: u32,
}

/// A segment whose header is intact.
pub(super) struct FoundSegment {
    pub(super) header: SegmentHeader,
    pub(super) scan: Scan,
}

/// What is wrong with a sealed segment at first sight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unsound {
    /// No file.
    Missing,
    /// Its header is unreadable or another file's.
    Headless,
    /// Shorter than it was.
    Short,
}

/// A file of the log before it is scanned: its header, if that is intact, and its length.
type Head = (Option<SegmentHeader>, u64);

impl Survey {
    /// Reads the directory and every segment that is tail.
    pub(super) fn take<D: Disk>(disk: &D) -> Result<Survey, OpenError> {
        let names = disk.list()?;
        if names.contains(&unfinished_backup_name()) {
            return Err(OpenError::UnfinishedBackup);
        }
        let identity = Identity::read(disk)?;
        if let FoundIdentity::UnknownFormat(format) = identity {
            return Err(OpenError::UnknownFormat { file: "identity".into(), format });
        }
        let mut survey = Survey {
            sealed: read_sealed(disk, &identity)?,
            identity,
            poisoned: names.contains(&marker_name()),
            doubted: names.contains(&doubt_name()),
            genesis: names.contains(&genesis_name()),
            unsound: BTreeMap::new(),
            segments: BTreeMap::new(),
            headless: Vec::new(),
            spent: Vec::new(),
            highest: 0,
        };
        let mut heads: BTreeMap<u32, Head> = BTreeMap::new();
        for segment in names.iter().filter_map(segment_of) {
            let file = disk.open(&segment_name(segment))?;
            heads.insert(segment, (read_header(disk, &file, segment)?, disk.len(&file)?));
        }
        survey.highest = highest(&heads);
        survey.look_at_sealed(&heads);
        survey.scan_tail(disk, &heads)?;
        if survey.sealed.is_some() && survey.identity_is_stale() {
            // Nothing the manifest says is to be believed.
            survey.sealed = None;
            survey.unsound.clear();
            survey.spent.clear();
            survey.headless.clear();
            survey.scan_tail(disk, &heads)?;
        }
        Ok(survey)
    }

    /// Is each sealed segment there, with its header, as long as it was?
    fn look_at_sealed(&mut self, heads: &BTreeMap<u32, Head>) {
        let Some((sealed, _)) = &self.sealed else { return };
        for SealedSegment { segment, generation, end, .. } in &sealed.segments {
            let unsound = match heads.get(segment) {
                None => Unsound::Missing,
                Some((Some(header), length)) if header.generation == *generation => {
                    if *length >= u64::from(*end) {
                        continue;
                    }
                    Unsound::Short
                }
                Some(_) => Unsound::Headless,
            };
            self.unsound.insert(*segment, unsound);
        }
    }

    fn scan_tail<D: Disk>(&mut self, disk: &D, heads: &BTreeMap<u32, Head>) -> Result<(), OpenError> {
        let ends = self.good_ends(heads.values().filter_map(|(header, _)| header.as_ref()));
        for (segment, (header, length)) in heads {
            match self.role(*segment, header.as_ref()) {
                Role::Sealed => {}
                Role::Spent => self.spent.push(*segment),
                Role::Tail => {
                    let Some(header) = header else {
                        self.headless.push(*segment);
                        continue;
                    };
                    let file = disk.open(&segment_name(*segment))?;
                    let length = u64::from(u32::MAX).min(*length);
                    let limit = ends.get(segment).map_or(length, |end| length.min(u64::from(*end)));
                    let scan = Scan::run(disk, &file, header, limit)?;
                    self.segments.insert(*segment, FoundSegment { header: *header, scan });
                }
            }
        }
        Ok(())
    }

    fn role(&self, segment: u32, header: Option<&SegmentHeader>) -> Role {
        let Some((sealed, _)) = &self.sealed else { return Role::Tail };
        let compacted = header.is_some_and(|header| header.origin == Origin::Compacted);
        match sealed.get(segment) {
            Some(_) => Role::Sealed,
            None if compacted || segment < sealed.first_tail => Role::Spent,
            None => Role::Tail,
        }
    }

    /// Where each segment's good part ends, as its successor says. Only a segment that the identity
    /// speaks of can say so.
    fn good_ends<'a>(&self, headers: impl Iterator<Item = &'a SegmentHeader>) -> BTreeMap<u32, u32> {
        let newest = self.newest();
        headers
            .filter(|header| header.segment <= newest)
            .map(|header| (header.predecessor, header.predecessor_end))
            .collect()
    }

    /// The newest segment that counts: later ones were never answered for.
    fn newest(&self) -> u32 {
        match &self.identity {
            FoundIdentity::Known(identity) => identity.newest,
            _ => u32::MAX,
        }
    }

    /// Segments, intact or not, that were begun and never answered for.
    pub(super) fn beyond(&self, newest: u32) -> Vec<u32> {
        let known = self.segments.keys().chain(&self.headless);
        known.copied().filter(|segment| *segment > newest).collect()
    }

    /// The data keys without which something in the log cannot be read.
    pub(super) fn data_keys(&self) -> BTreeSet<u8> {
        let sealed = self.sealed.iter().flat_map(|(sealed, _)| &sealed.segments).map(|sealed| sealed.data_key);
        let tail = self.segments.values().map(|found| found.header.data_key);
        sealed.chain(tail).filter(|number| *number > 0).collect()
    }

    /// Does a segment beyond the identity's newest look used? Then the identity is not the last one.
    pub(super) fn identity_is_stale(&self) -> bool {
        let newest = self.newest();
        let used = |found: &FoundSegment| found.scan.durable > found.header.durable_before;
        self.segments.range(newest.saturating_add(1)..).any(|(segment, found)| *segment > newest && used(found))
    }

    /// Is there a file of this tail segment, intact or not, or is it sealed, or was it and is compacted away?
    pub(super) fn knows(&self, segment: u32) -> bool {
        let was_sealed = |sealed: &SealedLog| sealed.get(segment).is_some() || segment < sealed.first_tail;
        let sealed = self.sealed.as_ref().is_some_and(|(sealed, _)| was_sealed(sealed));
        sealed || self.segments.contains_key(&segment) || self.headless.contains(&segment)
    }

    /// Up to where records may rightly be missing although no list of sealed segments says so: compaction has
    /// dropped them. 0 unless a compacted segment has to be scanned, which is so only when that list, or the
    /// checkpoint that goes with it, is lost.
    pub(super) fn sparse_through(&self) -> Sequence {
        let compacted = self.segments.values().filter(|found| found.header.origin == Origin::Compacted);
        compacted.map(|found| found.header.durable_before).max().unwrap_or_default()
    }

    /// The highest sequence that counts in each tail segment up to `newest`: newer ones say what was cut.
    pub(super) fn cuts(&self, newest: u32) -> BTreeMap<u32, Sequence> {
        let mut lowest = Sequence(u64::MAX);
        let mut cuts = BTreeMap::new();
        for (segment, found) in self.segments.range(..=newest).rev() {
            cuts.insert(*segment, lowest);
            lowest = lowest.min(found.header.cut_after);
        }
        cuts
    }
}

/// What a segment's file is to recovery.
enum Role {
    Sealed,
    Tail,
    Spent,
}

/// What the manifest says is sealed. Without its checkpoint the clocks have to come from the records, and
/// all of them count as tail.
fn read_sealed<D: Disk>(
    disk: &D,
    identity: &FoundIdentity,
) -> Result<Option<(SealedLog, Option<Checkpoint>)>, OpenError> {
    let FoundIdentity::Known(identity) = identity else { return Ok(None) };
    let Some(stamp) = identity.sealed.checkpoint else { return Ok(Some((identity.sealed.clone(), None))) };
    let checkpoint = Checkpoint::read(disk, stamp)?;
    Ok(checkpoint.map(|checkpoint| (identity.sealed.clone(), Some(checkpoint))))
}

fn highest(heads: &BTreeMap<u32, Head>) -> u32 {
    let spoken_of = heads.values().filter_map(|(header, _)| header.as_ref()).map(|header| header.predecessor);
    heads.keys().copied().chain(spoken_of).max().unwrap_or(0)
}

fn read_header<D: Disk>(disk: &D, file: &D::File, segment: u32) -> Result<Option<SegmentHeader>, OpenError> {
    let bytes = match disk.read_at(file, 0, SEGMENT_HEADER_BYTES) {
        Ok(bytes) => bytes,
        Err(DiskError { kind: DiskErrorKind::Failed, .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    match SegmentHeader::decode(&bytes, segment) {
        Ok(header) => Ok(Some(header)),
        Err(HeaderError::Damaged) => Ok(None),
        Err(HeaderError::UnknownFormat(format)) => {
            Err(OpenError::UnknownFormat { file: segment_name(segment).0, format })
        }
    }
}
