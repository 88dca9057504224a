//! Which compression a payload has, as a frame's flags say it.

/// How a payload is made shorter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// LZ4: cheap to write, next to nothing to read.
    Lz4,
    /// Zstandard: a fifth shorter than LZ4, several times its work.
    Zstd,
}

/// How a payload is stored: what the flags of its frame say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct Encoding {
    pub(in crate::store) compression: Compression,
    /// Under which data key it is encrypted; 0 for none.
    pub(in crate::store) data_key: u8,
}

impl Encoding {
    /// As it is.
    pub(in crate::store) const PLAIN: Encoding = Encoding { compression: Compression::None, data_key: 0 };

    /// The flags of a frame.
    pub(in crate::store) fn flags(self) -> u16 {
        let compression = match self.compression {
            Compression::None => 0,
            Compression::Lz4 => 1,
            Compression::Zstd => 2,
        };
        u16::from_le_bytes([compression, self.data_key])
    }

    /// What flags say; none if this program cannot decode it.
    pub(in crate::store) fn of_flags(flags: u16) -> Option<Encoding> {
        let [compression, data_key] = flags.to_le_bytes();
        let compression = match compression {
            0 => Compression::None,
            1 => Compression::Lz4,
            2 if cfg!(feature = "runtime") => Compression::Zstd,
            _ => return None,
        };
        Some(Encoding { compression, data_key })
    }
}
