//! What lies in the directory, before anything is decided: files, headers, frames.

use super::identity::{FoundIdentity, Identity, genesis_name, marker_name};
use super::scan::Scan;
use super::segment::{HeaderError, SEGMENT_HEADER_BYTES, SegmentHeader, segment_name, segment_of};
use super::{Disk, DiskError, DiskErrorKind, OpenError, Sequence};
use std::collections::BTreeMap;

/// The directory as it was found.
pub(super) struct Survey {
    pub(super) identity: FoundIdentity,
    /// The last process could not vouch for the disk.
    pub(super) poisoned: bool,
    /// The operator says that this is a new cluster's directory.
    pub(super) genesis: bool,
    pub(super) segments: BTreeMap<u32, FoundSegment>,
    /// Segments whose header cannot be read.
    pub(super) headless: Vec<u32>,
    /// The highest segment number seen or spoken of.
    pub(super) highest: u32,
}

/// A segment whose header is intact.
pub(super) struct FoundSegment {
    pub(super) header: SegmentHeader,
    pub(super) scan: Scan,
}

impl Survey {
    /// Reads the directory and every segment in it.
    pub(super) fn take<D: Disk>(disk: &D) -> Result<Survey, OpenError> {
        let names = disk.list()?;
        let identity = Identity::read(disk)?;
        if let FoundIdentity::UnknownFormat(format) = identity {
            return Err(OpenError::UnknownFormat { file: "identity".into(), format });
        }
        let mut survey = Survey {
            identity,
            poisoned: names.contains(&marker_name()),
            genesis: names.contains(&genesis_name()),
            segments: BTreeMap::new(),
            headless: Vec::new(),
            highest: 0,
        };
        let mut headers = BTreeMap::new();
        for segment in names.iter().filter_map(segment_of) {
            survey.highest = survey.highest.max(segment);
            let file = disk.open(&segment_name(segment))?;
            match read_header(disk, &file, segment)? {
                Some(header) => {
                    survey.highest = survey.highest.max(header.predecessor);
                    headers.insert(segment, header);
                }
                None => survey.headless.push(segment),
            }
        }
        survey.scan_all(disk, headers)?;
        Ok(survey)
    }

    fn scan_all<D: Disk>(&mut self, disk: &D, headers: BTreeMap<u32, SegmentHeader>) -> Result<(), OpenError> {
        let ends = self.good_ends(headers.values());
        for (segment, header) in headers {
            let file = disk.open(&segment_name(segment))?;
            let length = disk.len(&file)?.min(u64::from(u32::MAX));
            let limit = ends.get(&segment).map_or(length, |end| length.min(u64::from(*end)));
            let scan = Scan::run(disk, &file, &header, limit)?;
            self.segments.insert(segment, FoundSegment { header, scan });
        }
        Ok(())
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

    /// Does a segment beyond the identity's newest look used? Then the identity is not the last one.
    pub(super) fn identity_is_stale(&self) -> bool {
        let newest = self.newest();
        let used = |found: &FoundSegment| found.scan.durable > found.header.durable_before;
        self.segments.range(newest.saturating_add(1)..).any(|(segment, found)| *segment > newest && used(found))
    }

    /// Is there a file of this segment, intact or not?
    pub(super) fn knows(&self, segment: u32) -> bool {
        self.segments.contains_key(&segment) || self.headless.contains(&segment)
    }

    /// The highest sequence that counts in each segment up to `newest`: newer ones say what was cut.
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
